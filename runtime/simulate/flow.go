package simulate

import (
	"fmt"

	"plantao/runtime/conversation"
)

// flow is n8n: it is asked turns, and answers in the response, by the API at any replica, twice, late, or not at all.
type flow struct {
	asked []question // every turn it was ever asked, by holding
}

type question struct {
	turn    conversation.TurnRef
	token   string
	answers int
}

// ask keeps a question. The same holding asked again is the same question.
func (f *flow) ask(t conversation.Turn) {
	for _, q := range f.asked {
		if q.turn == t.TurnRef {
			return
		}
	}
	f.asked = append(f.asked, question{turn: t.TurnRef, token: t.Token})
}

// answer is what the flow says: often the same, so that a read-back cannot tell by the text alone.
func (w *world) answer() []conversation.Part {
	var parts []conversation.Part
	for range []int{0, 1, 1, 2, 2, 3}[w.draw(6)] {
		parts = append(parts, conversation.Part{Text: []string{"sim", "não", "bom dia"}[w.draw(3)]})
	}
	return parts
}

// answerByAPI is a flow that answers a turn it was asked, mostly a recent one, at some replica.
func (w *world) answerByAPI() string {
	if len(w.flow.asked) == 0 {
		return ""
	}
	r := w.awake()
	if r == nil {
		return ""
	}
	i := len(w.flow.asked) - 1 - w.draw(min(len(w.flow.asked), 6))
	q := &w.flow.asked[i]
	what := fmt.Sprintf("flow answers turn %s/%d gen %d at %s", q.turn.Conversation, q.turn.No, q.turn.Gen, r.name)
	if q.answers++; q.answers > 1 {
		w.fault(faultSecond)
	}
	found, err := r.line.FindTurn(w.ctx, q.turn.Conversation, q.turn.No, q.token)
	if err == nil && found.State != conversation.TurnRunning {
		err = conversation.ErrTurnClosed
	}
	if err == nil {
		parts := w.answer()
		what += fmt.Sprintf(" with %d parts", len(parts))
		err = r.line.Reply(w.ctx, found.TurnRef, q.token, parts)
	}
	if refusal(err) != nil {
		w.fault(faultLateAnswer)
	}
	return what + outcome(err)
}

// extend is a flow that asks for more time.
func (w *world) extend() string {
	if len(w.flow.asked) == 0 || w.draw(3) > 0 {
		return ""
	}
	r := w.awake()
	if r == nil {
		return ""
	}
	q := w.flow.asked[len(w.flow.asked)-1-w.draw(min(len(w.flow.asked), 6))]
	_, err := r.line.Extend(w.ctx, q.turn, q.token, hours(2*leaseHours), hours(10*deadlineHours))
	what := fmt.Sprintf("flow asks for more time for turn %s/%d gen %d at %s", q.turn.Conversation, q.turn.No, q.turn.Gen, r.name)
	return what + outcome(err)
}
