package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"plantao/runtime/conversation"
	"plantao/runtime/routing"
)

// planBatch is how many due plans one query lists.
const planBatch = 500

const (
	// soonest is when a plan is due that should be looked at again at once.
	soonest = time.Millisecond
	// sayWithin is how long it is tried to tell a customer something.
	sayWithin = 5 * time.Minute
)

// crew is who a plan's target may mean: a team, or one human.
type crew struct{ tenant, team, id string }

// further does what plans want next: offers a conversation to a human, or gives it to the next target. Of two replicas one is refused:
// every move names the epoch, and an offer is made to a conversation that has none.
func (d *Dispatcher) further(ctx context.Context) error {
	var failures error
	known := map[crew][]conversation.Mate{} // read once for all that are due
	for {
		list, err := d.c.Store.DuePlans(ctx, planBatch)
		if err != nil {
			return errors.Join(failures, err)
		}
		for _, due := range list {
			if err := d.furtherOne(ctx, due, known); err != nil && !outrun(err) {
				failures = errors.Join(failures, fmt.Errorf("plan of conversation %s: %w", due.Conversation, err))
			}
		}
		if len(list) < planBatch || failures != nil {
			return failures
		}
	}
}

func (d *Dispatcher) furtherOne(ctx context.Context, due conversation.DuePlan, known map[crew][]conversation.Mate) error {
	mates, err := d.mates(ctx, due, known)
	if err != nil {
		return err
	}
	move, err := d.c.Rules.Next(ctx, due, mates)
	if err != nil {
		return err
	}
	due.Plan = move.Plan
	switch {
	case move.Offer != "":
		return d.offer(ctx, due, move.Offer, mates)
	case move.Pass:
		return d.onward(ctx, due)
	}
	_, err = d.c.Store.KeepPlan(ctx, due)
	return err
}

// mates are the humans of the plan's target.
func (d *Dispatcher) mates(ctx context.Context, due conversation.DuePlan, known map[crew][]conversation.Mate) ([]conversation.Mate, error) {
	var of crew
	switch t := due.Target(); {
	case due.Next || due.State == conversation.Offered:
		return nil, nil
	case t.Kind == conversation.TargetTeam:
		of = crew{tenant: due.Tenant, team: t.ID}
	case t.Kind == conversation.TargetLast && due.LastHuman != "":
		of = crew{tenant: due.Tenant, id: due.LastHuman}
	default:
		return nil, nil
	}
	if list, ok := known[of]; ok {
		return list, nil
	}
	list, err := d.c.Store.Mates(ctx, of.tenant, of.team, of.id)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 && of.team != "" && due.Now.Sub(due.Since) < d.c.Poll+time.Second { // at its first look
		d.c.Logger.WarnContext(ctx, "nobody is in the team, so the conversation waits in its queue; look at the team's name in the rules and its agents in chatwoot",
			"conversation", due.Conversation, "team", of.team, "rule", due.Rule, "rules", due.Version)
	}
	known[of] = list
	return list, nil
}

// offer offers the conversation to a human. Until they accept, the queue has it.
func (d *Dispatcher) offer(ctx context.Context, due conversation.DuePlan, human string, mates []conversation.Mate) error {
	result, err := d.c.Store.Do(ctx, conversation.Command{
		Verb: conversation.VerbOffer, Tenant: due.Tenant, Conversation: due.Conversation, IfEpoch: due.Epoch, Actor: conversation.Router,
		To: conversation.Owner{Kind: conversation.OwnedByHuman, ID: human}, Wait: due.Target().Reserve, Else: conversation.ElseReturn,
		Reason: routing.ReasonRule + due.Rule, RuleVersion: due.Version, Plan: &due.Plan,
	})
	if errors.Is(err, conversation.ErrAtCapacity) { // another conversation was faster: the next human is asked at once
		due.Plan.Wait = soonest
		_, err = d.c.Store.KeepPlan(ctx, due)
		return err
	}
	if err != nil {
		return err
	}
	// The list serves those that are due after this one.
	if i := slices.IndexFunc(mates, func(m conversation.Mate) bool { return m.ID == human }); i >= 0 {
		mates[i].Offers++
		mates[i].OfferedAt = due.Now
	}
	d.c.Logger.InfoContext(ctx, "conversation offered", "conversation", due.Conversation, "to", "human:"+human, "until", result.Conversation.Offer.Until,
		"rule", due.Rule, "rules", due.Version)
	d.c.Changed()
	return nil
}

// onward gives the conversation to the next target, and says what is to be said.
func (d *Dispatcher) onward(ctx context.Context, due conversation.DuePlan) error {
	t := due.Target()
	if t.Kind == conversation.TargetSay || t.Owner() == due.Owner { // it stays where it is
		if say := t.Say; say != "" {
			if strings.Contains(say, conversation.PlaceInQueue) {
				place, err := d.c.Store.Place(ctx, due.Tenant, due.Owner.ID, due.Conversation)
				if err != nil {
					return err
				}
				say = strings.ReplaceAll(say, conversation.PlaceInQueue, strconv.Itoa(place))
			}
			_, _, err := d.c.Store.Say(ctx, conversation.Said{
				Tenant: due.Tenant, Conversation: due.Conversation, Kind: conversation.SaidByRouter, By: "router", IfEpoch: due.Epoch,
				Source: fmt.Sprintf("plan/%s/%d/%d", due.Conversation, due.Epoch, due.Step), Parts: []conversation.Part{{Text: say}},
				Within: sayWithin,
			})
			if err != nil {
				return err
			}
			d.Wake("local")
		}
		_, err := d.c.Store.KeepPlan(ctx, due)
		return err
	}
	result, err := d.c.Store.Do(ctx, conversation.Command{
		Verb: conversation.VerbPass, Tenant: due.Tenant, Conversation: due.Conversation, IfEpoch: due.Epoch, Actor: conversation.Router,
		To: t.Owner(), Reason: routing.ReasonRule + due.Rule, RuleVersion: due.Version, Say: t.Say, Plan: &due.Plan,
	})
	if errors.Is(err, conversation.ErrAtCapacity) { // an AI that has no room
		due.Plan.Next, due.Plan.Wait = true, soonest
		_, err = d.c.Store.KeepPlan(ctx, due)
		return err
	}
	if err != nil {
		return err
	}
	d.c.Logger.InfoContext(ctx, "conversation given to the next target of its rule", "conversation", due.Conversation,
		"owner", result.Conversation.Owner, "epoch", result.Conversation.Epoch, "rule", due.Rule, "rules", due.Version)
	d.c.Changed()
	d.Wake("local")
	return nil
}
