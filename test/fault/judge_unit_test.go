package fault

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

// sound is evidence in which everything is as it should be: a message answered in two parts, one of which was on its way when
// a human took the conversation.
func sound() *evidence {
	second := func(n int) time.Time { return time.Unix(1_700_000_000+int64(n), 0) }
	turn := turnRef{"1", 1}
	q := asked{At: second(1)}
	q.Turn.Conversation, q.Turn.No, q.Turn.Epoch, q.Turn.Gen = "1", 1, 1, 1
	q.Messages = []conversation.Message{{ID: "A"}}
	text := func(part int) string { return said{"1", 1, 1, 1, 7, part}.String() }
	return &evidence{
		Acked: []string{"A", "B"},
		Inbox: map[string]inboxRow{"A": {"1", "done", "", 1}, "B": {"1", "human", "human_stretch", 0}},
		Turns: map[turnRef]turnRow{turn: {1, "done"}},
		Parts: []partRow{{turn, 1, "sent", text(1), second(2)}, {turn, 2, "sent", text(2), second(4)}},
		Audit: map[string][]auditRow{"1": {{1, second(0), "inbound", 0, 0}, {2, second(0), "claim", 0, 1}, {3, second(5), "take", 1, 2}}},
		Asked: []asked{q}, Receipts: []receipt{{Text: text(1), At: second(3)}, {Text: text(2), At: second(7)}},
		Takes: []take{{"1", 2, 3, second(6)}},
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	problems, after := sound().judge()
	require.Empty(t, problems)
	require.Equal(t, aftermath{most: 1, takes: 1}, after)
	for name, c := range map[string]struct {
		kind  string
		spoil func(*evidence)
	}{
		"not in the inbox":          {lost, func(e *evidence) { delete(e.Inbox, "B") }},
		"still waits":               {lost, func(e *evidence) { e.Inbox["B"] = inboxRow{"1", "pending", "", 0} }},
		"done by no turn":           {lost, func(e *evidence) { e.Turns[turnRef{"1", 1}] = turnRow{1, "failed"} }},
		"a part read twice":         {twice, func(e *evidence) { e.Receipts = append(e.Receipts, e.Receipts[0]) }},
		"two answers":               {twice, func(e *evidence) { e.Receipts = append(e.Receipts, receipt{Text: said{"1", 1, 2, 1, 8, 3}.String()}) }},
		"answered by two turns":     {twice, again},
		"two parts after the take":  {leaked, func(e *evidence) { e.Receipts[0].At = e.Receipts[1].At }},
		"let out after the take":    {lateGate, func(e *evidence) { e.Parts[1].Intent = e.Audit["1"][2].At.Add(1) }},
		"read and never let out":    {lateGate, func(e *evidence) { e.Parts[1].Intent = time.Time{} }},
		"an unknown text was read":  {twice, func(e *evidence) { e.Receipts[0].Text = "oi" }},
		"let out, epoch over, lost": {lateGate, func(e *evidence) { e.Parts[1].Intent, e.Receipts = e.Audit["1"][2].At.Add(1), nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := sound()
			c.spoil(e)
			problems, _ := e.judge()
			require.NotEmpty(t, problems)
			for _, p := range problems {
				require.Equal(t, c.kind, p.Kind, p.What)
			}
		})
	}
}

// again lets a second turn answer the same message.
func again(e *evidence) {
	q := e.Asked[0]
	q.Turn.No = 2
	e.Asked = append(e.Asked, q)
	e.Receipts = append(e.Receipts, receipt{Text: said{"1", 2, 1, 1, 8, 1}.String(), At: e.Receipts[0].At})
}
