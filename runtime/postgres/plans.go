package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	putPlanSQL  = query("put_plan")
	keepPlanSQL = query("keep_plan")
	planOfSQL   = query("plan_of")
	planNowSQL  = query("plan_now")
	duePlansSQL = query("due_plans")
	matesSQL    = query("mates")
	offeredSQL  = query("offered")
)

// DuePlans implements conversation.Plans.
func (s *Store) DuePlans(ctx context.Context, limit int) ([]conversation.DuePlan, error) {
	return collect(ctx, s, "list due plans", func(row pgx.CollectableRow) (conversation.DuePlan, error) {
		var (
			d    conversation.DuePlan
			body []byte
		)
		err := row.Scan(&d.Conversation, &body, &d.Tenant, &d.Channel, &d.State, &d.Owner.Kind, &d.Owner.ID, &d.Epoch, &d.Now,
			&d.LastHuman, &d.LastHumanAt, &d.Rules)
		if err == nil {
			err = json.Unmarshal(body, &d.Plan)
		}
		return d, err
	}, duePlansSQL, limit)
}

// Mates implements conversation.Plans.
func (s *Store) Mates(ctx context.Context, tenant, team, id string) ([]conversation.Mate, error) {
	return collect(ctx, s, "list team "+team, func(row pgx.CollectableRow) (conversation.Mate, error) {
		var (
			m              conversation.Mate
			offered, freed *time.Time
		)
		err := row.Scan(&m.ID, &m.Email, &m.Presence, &m.Capacity, &m.Given, &m.Active, &m.Offers, &offered, &freed)
		m.OfferedAt, m.FreedAt = value(offered), value(freed)
		return m, err
	}, matesSQL, tenant, team, id)
}

// Place implements conversation.Plans.
func (s *Store) Place(ctx context.Context, tenant, queue string, id conversation.ID) (place int, err error) {
	err = again(ctx, func() error { return s.pool.QueryRow(ctx, placeSQL, tenant, queue, id).Scan(&place) })
	if err != nil {
		return 0, fmt.Errorf("find the place of conversation %s: %w", id, err)
	}
	return place, nil
}

// KeepPlan implements conversation.Plans.
func (s *Store) KeepPlan(ctx context.Context, d conversation.DuePlan) (bool, error) {
	body, err := json.Marshal(d.Plan)
	if err != nil {
		return false, fmt.Errorf("write plan: %w", err)
	}
	ok, err := s.one(ctx, keepPlanSQL, d.Conversation, d.Epoch, string(body), orNull(d.Wait))
	if err != nil {
		return false, fmt.Errorf("keep the plan of conversation %s: %w", d.Conversation, err)
	}
	return ok, nil
}

// planOf reads the plan of a conversation that is locked; nil if it has none that is not void.
func (p *pipe) planOf(ctx context.Context, c conversation.Conversation) (*conversation.Plan, error) {
	var (
		body     []byte
		answered int
	)
	found, err := p.ask(ctx, func(r pgx.Row) error { return r.Scan(&body, &answered) }, planOfSQL, c.ID, c.Epoch)
	if err != nil || !found {
		return nil, err
	}
	plan := &conversation.Plan{}
	if err := json.Unmarshal(body, plan); err != nil {
		return nil, fmt.Errorf("read the plan of conversation %s: %w", c.ID, err)
	}
	if plan.Answered != answered { // those that failed before are no longer in a row with what fails now
		plan.Failed, plan.Answered = 0, answered
	}
	return plan, nil
}

// plan writes what is tried next, in the epoch the conversation has now.
func (p *pipe) plan(c conversation.Conversation, plan conversation.Plan) error {
	body, err := json.Marshal(plan)
	if err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	p.queue(putPlanSQL, c.ID, c.Tenant, c.Epoch, string(body), orNull(plan.Wait))
	return nil
}
