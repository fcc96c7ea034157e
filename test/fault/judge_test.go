package fault

import (
	"fmt"
	"slices"
	"time"
)

// evidence is everything about the conversations of a round: what clients and the phone saw, and what the database says.
type evidence struct {
	Acked    []string // ids of messages some replica answered 200 to
	Inbox    map[string]inboxRow
	Turns    map[turnRef]turnRow
	Parts    []partRow
	Audit    map[string][]auditRow // by conversation, in order
	Receipts []receipt
	Asked    []asked
	Takes    []take
}

type inboxRow struct {
	Conversation string
	State        string
	Reason       string
	Turn         int // zero: none
}

type turnRef struct {
	Conversation string
	No           int
}

type turnRow struct {
	Epoch int64
	State string
}

type partRow struct {
	turnRef
	Part   int
	State  string
	Text   string
	Intent time.Time // zero: none
}

type auditRow struct {
	Seq       int64
	At        time.Time
	Verb      string
	EpochFrom int64
	EpochTo   int64
}

// take is a take as the human who did it saw it.
type take struct {
	Conversation string
	Epoch        int64 // afterwards
	Seq          int64 // audit entry
	At           time.Time
}

// problem is an invariant that does not hold.
type problem struct {
	Kind         string
	Conversation string
	What         string
}

// The kinds of problem.
const (
	lost      = "acked-messages-lost"
	twice     = "answered-twice"
	leaked    = "parts-after-a-take"
	lateGate  = "intents-after-take"
	doubled   = "double-turns"
	stranded  = "stranded"
	invariant = "router-check"
	died      = "router-died-by-itself"
)

// aftermath is what customers read after a take was acknowledged.
type aftermath struct {
	most  int // parts, after one take
	takes int // that were followed by any
}

// judge says what is wrong.
func (e *evidence) judge() ([]problem, aftermath) {
	leaks, after := e.leaks()
	return slices.Concat(e.lost(), e.twice(), leaks, e.lateIntents()), after
}

// lost finds acknowledged messages that are not there, or not where a message may end.
func (e *evidence) lost() (problems []problem) {
	for _, id := range e.Acked {
		row, ok := e.Inbox[id]
		switch {
		case !ok:
			problems = append(problems, problem{lost, "", fmt.Sprintf("message %s was answered 200 and is not in the inbox", id)})
		case !e.final(row):
			problems = append(problems, problem{lost, row.Conversation, fmt.Sprintf("message %s ended as %s (%s) in turn %d, %s", id,
				row.State, row.Reason, row.Turn, e.Turns[turnRef{row.Conversation, row.Turn}].State)})
		}
	}
	return problems
}

// final says whether a message may stand like this for ever.
func (e *evidence) final(row inboxRow) bool {
	turn := e.Turns[turnRef{row.Conversation, row.Turn}]
	switch row.State {
	case "human", "ignored":
		return true
	case "dead":
		return turn.State == "failed"
	case "done":
		// A turn that lost its conversation after part of the answer had gone out has answered.
		return turn.State == "done" || turn.State == "cancelled" && e.sent(turnRef{row.Conversation, row.Turn})
	}
	return false
}

func (e *evidence) sent(t turnRef) bool {
	return slices.ContainsFunc(e.Parts, func(p partRow) bool { return p.turnRef == t && p.State == "sent" })
}

// twice finds what a customer read twice: one part, two answers to one turn, or one message answered by two turns.
func (e *evidence) twice() (problems []problem) {
	parts, answers, turns := map[string]string{}, map[turnRef]int64{}, map[string]map[int]bool{}
	answered := map[turnRef]bool{}
	for _, r := range e.Receipts {
		s, err := parseSaid(r.Text)
		if err != nil {
			problems = append(problems, problem{twice, "", err.Error()})
			continue
		}
		t := turnRef{s.Conversation, s.No}
		part := fmt.Sprintf("part %d of turn %d", s.Part, s.No)
		if before, ok := parts[s.Conversation+part]; ok {
			problems = append(problems, problem{twice, s.Conversation, fmt.Sprintf("%s was read twice: %q, %q", part, before, r.Text)})
		}
		parts[s.Conversation+part] = r.Text
		if before, ok := answers[t]; ok && before != s.Answer {
			problems = append(problems, problem{twice, s.Conversation, fmt.Sprintf("turn %d got answers %d and %d", s.No, before, s.Answer)})
		}
		answers[t], answered[t] = s.Answer, true
	}
	for _, q := range e.Asked {
		if !answered[turnRef{q.Turn.Conversation, q.Turn.No}] {
			continue
		}
		for _, m := range q.Messages {
			if turns[m.ID] == nil {
				turns[m.ID] = map[int]bool{}
			}
			turns[m.ID][q.Turn.No] = true
			if len(turns[m.ID]) == 2 {
				problems = append(problems, problem{twice, q.Turn.Conversation, fmt.Sprintf("message %s was answered by two turns, the later is %d", m.ID, q.Turn.No)})
			}
		}
	}
	return problems
}

// leaks finds parts of an earlier epoch that were read after a take was acknowledged: one is allowed, if it was let out before.
func (e *evidence) leaks() (problems []problem, all aftermath) {
	for _, t := range e.Takes {
		after := 0
		for _, r := range e.Receipts {
			s, err := parseSaid(r.Text)
			if err != nil || s.Conversation != t.Conversation || s.Epoch >= t.Epoch || !r.At.After(t.At) {
				continue
			}
			after++
			if taken, intent := e.at(t), e.intent(s); intent.IsZero() || intent.After(taken) {
				problems = append(problems, problem{lateGate, t.Conversation, fmt.Sprintf("%q was let out at %s, and the take was at %s", r.Text, intent, taken)})
			}
		}
		all.most = max(all.most, after)
		all.takes += min(1, after)
		if after > 1 {
			problems = append(problems, problem{leaked, t.Conversation, fmt.Sprintf("%d parts were read after the take to epoch %d", after, t.Epoch)})
		}
	}
	return problems, all
}

// at is when the take was decided, by the database's clock.
func (e *evidence) at(t take) time.Time {
	for _, a := range e.Audit[t.Conversation] {
		if a.Seq == t.Seq {
			return a.At
		}
	}
	return time.Time{}
}

// intent is when the part was let out, by the database's clock.
func (e *evidence) intent(s said) time.Time {
	for _, p := range e.Parts {
		if p.Conversation == s.Conversation && p.No == s.No && p.Part == s.Part {
			return p.Intent
		}
	}
	return time.Time{}
}

// lateIntents finds parts that were let out after their turn's epoch had ended.
func (e *evidence) lateIntents() (problems []problem) {
	for _, p := range e.Parts {
		epoch := e.Turns[p.turnRef].Epoch
		for _, a := range e.Audit[p.Conversation] {
			if a.EpochFrom <= epoch && epoch < a.EpochTo && p.Intent.After(a.At) {
				problems = append(problems, problem{lateGate, p.Conversation, fmt.Sprintf("part %d of turn %d, epoch %d, was let out at %s; %s ended the epoch at %s",
					p.Part, p.No, epoch, p.Intent, a.Verb, a.At)})
			}
		}
	}
	return problems
}
