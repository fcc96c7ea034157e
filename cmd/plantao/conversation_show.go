package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

func newShowCommand(p *program) *cobra.Command {
	var opts routerOptions
	cmd := &cobra.Command{
		Use: "show ID", Short: p.text.Say(text.ShowShort), Long: codes(p, text.ShowLong), Args: oneConversation,
		RunE: func(cmd *cobra.Command, args []string) error { return runShow(cmd.Context(), p, opts, args[0]) },
	}
	opts.add(p, cmd.Flags())
	return cmd
}

func runShow(ctx context.Context, p *program, opts routerOptions, id string) error {
	r, err := p.reach(ctx, opts)
	if err != nil {
		return err
	}
	defer r.close()
	c, err := r.get(ctx, id)
	if err != nil {
		return err
	}
	if opts.JSON {
		return p.json(c)
	}
	p.sayMessage(p.duty(c))
	fmt.Fprintln(p.out)
	table(p.out, p.facts(c))
	fmt.Fprintln(p.out)
	p.sayMessage(nextMove(c, opts))
	return nil
}

// facts are the lines about one conversation; what there is not has none.
func (p *program) facts(c api.Conversation) [][]cell {
	say := p.text.Say
	var rows [][]cell
	fact := func(there bool, name text.Key, value string) {
		if there {
			rows = append(rows, cells(say(name), value))
		}
	}
	fact(true, text.FactChannel, printable(c.Channel))
	fact(true, text.FactContact, strings.TrimSpace(printable(c.Contact.Name)+" <"+printable(c.Contact.ID)+">"))
	fact(true, text.FactState, p.stateWord(c.State))
	fact(true, text.FactSince, say(text.FactSinceIs, at(c.OwnerSince), p.since(c.OwnerSince)))
	fact(c.Waiting, text.FactWaiting, say(text.FactWaitingIs))
	fact(c.LastOwner != string(conversation.OwnedByNone), text.FactBefore, printable(c.LastOwner))
	fact(c.LastAI != "", text.FactHandback, "ai:"+printable(c.LastAI))
	fact(c.Held != "", text.FactHeld, p.ownerWord(c.Held))
	fact(c.MergedInto != "", text.FactMerged, printable(c.MergedInto))
	if s := c.Silence; s != nil {
		fact(true, text.FactSilence, say(text.FactSilenceIs, span(seconds(s.AfterSeconds)), at(s.Until)))
	}
	if o := c.Offer; o != nil {
		fact(true, text.FactOffer, say(text.FactOfferIs, printable(o.To), at(o.Until), p.otherwise(o.Else)))
	}
	if q := c.Request; q != nil {
		fact(true, text.FactRequest, say(text.FactRequestIs, printable(q.By), at(q.Until), p.otherwise(q.Else)))
	}
	if t := c.Turn; t != nil {
		fact(true, text.FactTurn, say(text.FactTurnIs, t.No, printable(t.Agent), p.turnWord(t.State), at(t.Deadline)))
		if a := t.Ambiguous; a != nil {
			fact(true, text.FactAmbiguous, say(text.FactAmbiguousIs, a.Part, at(a.Since), printable(a.Sender), p.reasonWord(a.Reason)))
		}
	}
	return rows
}

// otherwise is what happens when nobody answers an offer or a request.
func (p *program) otherwise(policy string) string {
	switch conversation.Otherwise(policy) {
	case conversation.ElseQueue:
		return p.text.Say(text.ElseQueue)
	case conversation.ElseReturn:
		return p.text.Say(text.ElseReturn)
	case conversation.ElseIgnore:
		return p.text.Say(text.ElseIgnore)
	}
	return printable(policy)
}

// turnWords are the open states of a turn in the catalogue.
var turnWords = map[conversation.TurnState]text.Key{
	conversation.TurnRunning: text.TurnRunning, conversation.TurnReplied: text.TurnReplied,
	conversation.TurnSending: text.TurnSending, conversation.TurnAmbiguous: text.TurnAmbiguous,
}

func (p *program) turnWord(state string) string {
	if key, ok := turnWords[conversation.TurnState(state)]; ok {
		return p.text.Say(key)
	}
	return printable(state)
}

// nextMove is the command an operator would want now. An ambiguous part comes first: it keeps the AI silent until somebody
// says what became of it.
func nextMove(c api.Conversation, opts routerOptions) text.Message {
	suffix := opts.suffix()
	if t := c.Turn; t != nil && t.Ambiguous != nil {
		if !t.Ambiguous.Finished {
			container := "plantao-" + opts.Stack + "-" + printable(t.Ambiguous.Sender)
			return text.New(text.MoveRestart, printable(t.Ambiguous.Sender), container, c.ID, t.No, t.Ambiguous.Part, suffix)
		}
		return text.New(text.MoveSettle, c.ID, t.No, t.Ambiguous.Part, suffix)
	}
	switch conversation.State(c.State) {
	case conversation.Offered:
		if c.Offer != nil {
			return text.New(text.MoveOffer, c.ID, printable(c.Offer.To), suffix)
		}
	case conversation.HumanActive:
		return text.New(text.MoveHandback, c.ID, suffix)
	case conversation.Suspended:
		return text.New(text.MoveResume, c.ID, suffix)
	case conversation.Closed:
		if c.MergedInto != "" {
			return text.New(text.MoveMerged, c.MergedInto, suffix)
		}
		return text.New(text.MoveClosed, c.ID, suffix)
	}
	return text.New(text.MoveTake, c.ID, suffix)
}
