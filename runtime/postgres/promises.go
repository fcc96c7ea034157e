package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"plantao/runtime/conversation"
)

var (
	insertPromisesSQL = query("insert_promises")
	judgePromisesSQL  = query("judge_promises")
	listPromisesSQL   = query("promises")
)

// promise queues what a claim promises, behind the audit entry that made it.
func (p *pipe) promise(after conversation.Conversation, promises []conversation.Promise, rules string) {
	var (
		kinds, names = make([]string, len(promises)), make([]string, len(promises))
		since, due   = make([]time.Time, len(promises)), make([]time.Time, len(promises))
	)
	for i, m := range promises {
		kinds[i], names[i], since[i], due[i] = string(m.Kind), m.Name, m.Since, m.Due
	}
	p.queue(insertPromisesSQL, after.ID, after.Version, rules, kinds, names, since, due)
}

func scanPromise(row pgx.CollectableRow) (conversation.PromiseRecord, error) {
	var (
		r     conversation.PromiseRecord
		ended *time.Time
	)
	err := row.Scan(&r.ID, &r.Tenant, &r.Conversation, &r.Seq, &r.Kind, &r.Name, &r.RuleVersion, &r.Since, &r.Due, &r.State, &ended)
	r.EndedAt = value(ended)
	return r, err
}

// JudgePromises implements conversation.Promises.
func (s *Store) JudgePromises(ctx context.Context, limit int) ([]conversation.PromiseRecord, error) {
	return collect(ctx, s, "judge promises", scanPromise, judgePromisesSQL, limit)
}

// ListPromises implements conversation.Promises. Which index serves depends on the filter, so this one is planned each time.
func (s *Store) ListPromises(ctx context.Context, f conversation.PromiseFilter) ([]conversation.PromiseRecord, error) {
	var list []conversation.PromiseRecord
	err := s.transact(ctx, func(p *pipe) error {
		p.queue("set local plan_cache_mode = force_custom_plan")
		p.queue(listPromisesSQL, f.Tenant, f.State, f.Conversation, f.After, bounded(f.Limit)).
			Query(func(rows pgx.Rows) (err error) {
				list, err = pgx.CollectRows(rows, scanPromise)
				return err
			})
		return p.commit(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("list promises: %w", err)
	}
	return list, nil
}
