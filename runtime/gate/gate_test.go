package gate

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var errDown = errors.New("database is down")

// store is an outbox of one turn that remembers what it was told. down says whether a call fails, and whether it has its
// effect all the same, as when the connection breaks after the commit.
type store struct {
	conversation.Outbox
	mu     sync.Mutex // held over every effect on intent and told
	parts  []conversation.QueuedPart
	intent int // the part that passed and whose fate is open; zero: none
	owner  bool
	told   []string
	down   func(call string) (fails, effect bool)
}

func (s *store) Media(_ context.Context, _ string, id int64) (conversation.Content, error) {
	if id == 0 {
		return conversation.Content{}, conversation.ErrNotFound
	}
	err := s.call("media", func() {})
	return conversation.Content{ID: id, Bytes: []byte("content")}, err
}

func (s *store) call(name string, effect func()) error {
	fails, anyway := false, false
	if s.down != nil {
		fails, anyway = s.down(name)
	}
	if !fails || anyway {
		s.mu.Lock()
		effect()
		s.mu.Unlock()
	}
	if fails {
		return errDown
	}
	return nil
}

func (s *store) QueuedParts(context.Context, conversation.TurnRef) ([]conversation.QueuedPart, error) {
	return s.parts, nil
}

func (s *store) Pass(_ context.Context, p conversation.PartRef, _ conversation.Process, _ time.Duration) (passed bool, err error) {
	err = s.call("pass", func() {
		passed = s.owner && s.intent == 0
		if passed {
			s.intent = p.Part
		}
	})
	return passed && err == nil, err
}

func (s *store) settle(name string, part int) (ours bool, err error) {
	err = s.call(name, func() {
		ours = s.intent == part
		if ours {
			s.intent = 0
			s.told = append(s.told, name)
		}
	})
	return ours, err
}

func (s *store) Sent(_ context.Context, p conversation.PartRef, _ conversation.Delivery) (bool, error) {
	return s.settle("sent", p.Part)
}

func (s *store) Unsent(_ context.Context, p conversation.PartRef) (bool, error) {
	return s.settle("unsent", p.Part)
}

func (s *store) Unknown(_ context.Context, p conversation.PartRef, _ string) (bool, error) {
	return s.settle("unknown", p.Part)
}

func (s *store) Cancel(context.Context, conversation.TurnRef, string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner {
		return conversation.ErrTurnClosed
	}
	s.told = append(s.told, "cancel")
	return nil
}

func (s *store) Fail(_ context.Context, _ conversation.TurnRef, f conversation.Failure) error {
	return s.call("fail", func() { s.told = append(s.told, "fail "+f.Reason) })
}

// sender answers with the errors of its list, then with success.
type sender struct {
	conversation.Sender
	errs  []error
	sends []string
	late  time.Duration // how much later than allowed the last send was
}

func (s *sender) SendText(_ context.Context, _, _, text string, notAfter time.Time) (conversation.Delivery, error) {
	s.late = time.Since(notAfter)
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		return conversation.Delivery{}, err
	}
	s.sends = append(s.sends, text)
	return conversation.Delivery{MessageID: text}, nil
}

func (s *sender) SendMedia(ctx context.Context, _, _ string, m conversation.Content, kind conversation.MediaKind, caption string, notAfter time.Time) (conversation.Delivery, error) {
	return s.SendText(ctx, "", "", string(kind)+" "+string(m.Bytes)+" "+caption, notAfter)
}

type noObserver struct{}

func (noObserver) PartTried(string, time.Duration) {}

func send(ctx context.Context, st *store, se *sender) conversation.Outcome {
	g := New(Config{Store: st, Sender: se, Lease: 9 * time.Second, Observer: noObserver{}, Logger: slog.New(slog.DiscardHandler)})
	return g.Send(ctx, conversation.Turn{Expires: time.Now().Add(time.Hour)})
}

func twoParts() *store {
	return &store{owner: true, parts: []conversation.QueuedPart{{No: 1, Text: "um"}, {No: 2, Text: "dois"}}}
}

func TestPartsGoOutInOrder(t *testing.T) {
	t.Parallel()
	st, se := twoParts(), &sender{}
	require.Equal(t, conversation.OutcomeDone, send(t.Context(), st, se))
	require.Equal(t, []string{"um", "dois"}, se.sends)
	require.Equal(t, []string{"sent", "sent"}, st.told)
	require.InDelta(t, -6*time.Second, se.late, float64(time.Second), "local trust ends a third before the lease")
}

func TestWhatIsToldOfAFailedSend(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		err     error
		outcome conversation.Outcome
		told    []string
	}{
		{"nothing written", &conversation.SendError{Outcome: conversation.SendNothing, Err: errDown}, conversation.OutcomeDone,
			[]string{"unsent", "sent", "sent"}},
		{"refused", &conversation.SendError{Outcome: conversation.SendRefused, Err: errDown}, conversation.OutcomeFailed,
			[]string{"fail send_refused"}},
		{"unknown", &conversation.SendError{Outcome: conversation.SendUnknown, Err: errDown}, conversation.OutcomeAmbiguous,
			[]string{"unknown"}},
		{"an error of no kind is unknown", errDown, conversation.OutcomeAmbiguous, []string{"unknown"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				st := twoParts()
				require.Equal(t, c.outcome, send(t.Context(), st, &sender{errs: []error{c.err}}))
				require.Equal(t, c.told, st.told)
			})
		})
	}
}

func TestFateIsRecordedThroughALongOutage(t *testing.T) {
	t.Parallel()
	for name, se := range map[string]*sender{
		"sent": {}, "unknown": {errs: []error{errDown}},
		"fail": {errs: []error{&conversation.SendError{Outcome: conversation.SendRefused}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				st, start := twoParts(), time.Now()
				st.parts = st.parts[:1]
				st.down = func(call string) (bool, bool) { return call == name && time.Since(start) < 5*time.Minute, false }
				require.NotEqual(t, conversation.OutcomeLost, send(t.Context(), st, se))
				require.Len(t, st.told, 1)
				require.Less(t, time.Since(start), 5*time.Minute+5*time.Second)
			})
		})
	}
}

func TestRecordingEndsSomeTimeAfterTheTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		st := twoParts()
		st.down = func(call string) (bool, bool) { return call == "sent", false }
		time.AfterFunc(time.Minute, cancel)
		start := time.Now()
		require.Equal(t, conversation.OutcomeLost, send(ctx, st, &sender{}))
		require.Equal(t, time.Minute+markTimeout, time.Since(start))
	})
}

func TestIntentThatCommitsLateIsTakenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st, se := twoParts(), &sender{}
		calls := 0
		st.down = func(call string) (bool, bool) {
			if call == "pass" {
				calls++
			}
			return call == "pass" && calls == 1, false
		}
		// The first pass fails on our side and takes effect only after it was put back.
		time.AfterFunc(time.Millisecond, func() {
			st.mu.Lock()
			defer st.mu.Unlock()
			st.intent = 1
		})
		require.Equal(t, conversation.OutcomeDone, send(t.Context(), st, se))
		require.Equal(t, []string{"um", "dois"}, se.sends, "each part once")
		require.Equal(t, []string{"unsent", "sent", "sent"}, st.told)
	})
}

func TestChangeOfOwnerStopsTheAnswer(t *testing.T) {
	t.Parallel()
	st, se := twoParts(), &sender{}
	st.owner = false
	require.Equal(t, conversation.OutcomeCancelled, send(t.Context(), st, se))
	require.Empty(t, se.sends)
	require.Equal(t, []string{"cancel"}, st.told)
}

func TestDeadlineBetweenAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := twoParts()
		nothing := &conversation.SendError{Outcome: conversation.SendNothing, Err: errDown}
		se := &sender{}
		for range 10_000 {
			se.errs = append(se.errs, nothing)
		}
		start := time.Now()
		require.Equal(t, conversation.OutcomeFailed, send(t.Context(), st, se))
		require.Equal(t, "fail "+conversation.ReasonDeadline, st.told[len(st.told)-1])
		require.Zero(t, st.intent)
		require.InDelta(t, time.Hour, time.Since(start), float64(10*time.Second))
	})
}

// proofs is an outbox with one ambiguous part. Messages in taken are proof of another part.
type proofs struct {
	conversation.Outbox
	taken  map[string]bool
	proved string
	queued []conversation.Command

	undecided []conversation.AmbiguousPart
	patience  time.Duration
}

func (p *proofs) Undecided(_ context.Context, patience time.Duration, _ int) ([]conversation.AmbiguousPart, error) {
	p.patience = patience
	return p.undecided, nil
}

func (p *proofs) Do(_ context.Context, c conversation.Command) (conversation.Result, error) {
	p.queued = append(p.queued, c)
	return conversation.Result{}, nil
}

func (p *proofs) Prove(_ context.Context, _ conversation.AmbiguousPart, d conversation.Delivery) (bool, error) {
	if p.taken[d.MessageID] {
		return false, nil
	}
	p.proved = d.MessageID
	return true, nil
}

type history struct {
	conversation.Sender
	sent  []conversation.Delivery
	since time.Time
}

func (h *history) SentSince(_ context.Context, _, _ string, t time.Time) ([]conversation.Delivery, error) {
	h.since = t
	return h.sent, nil
}

func TestReadBackTakesTheOldestFreeMessageWithTheText(t *testing.T) {
	t.Parallel()
	outbox := &proofs{taken: map[string]bool{"B": true}}
	evolution := &history{sent: []conversation.Delivery{ // newest first
		{MessageID: "E", Type: "text", Text: "um"}, {MessageID: "D", Type: "text", Text: "um"}, {MessageID: "C", Type: "text", Text: "outro"},
		{MessageID: "B", Type: "text", Text: "um"}, {MessageID: "I", Type: "image", Text: "um"}, {MessageID: "A", Type: "text", Text: "outro"},
	}}
	woken := 0
	r := NewReadBack(ReadBackConfig{Store: outbox, Sender: evolution, Wake: func() { woken++ }, Observer: noObserver{},
		Logger: slog.New(slog.DiscardHandler)})
	intent := time.Date(2026, 1, 2, 3, 4, 5, 999e6, time.UTC)
	part := conversation.AmbiguousPart{Text: "um", IntentAt: intent}
	r.check(t.Context(), part)
	require.Equal(t, "D", outbox.proved)
	require.Equal(t, 1, woken)
	require.Equal(t, 5, evolution.since.Second())
	require.Zero(t, evolution.since.Nanosecond(), "Evolution's clock has seconds")

	part.Media = &conversation.PartMedia{ID: 1, Kind: conversation.MediaImage}
	r.check(t.Context(), part)
	require.Equal(t, "I", outbox.proved, "an attachment is proved by one of its kind with its caption")
	part.Media = nil

	outbox.proved, woken = "", 1
	part.Text = "nunca dito"
	r.check(t.Context(), part)
	require.Empty(t, outbox.proved, "absence proves nothing")
	require.Equal(t, 1, woken)
}

func TestWithoutProofAHumanMustDecide(t *testing.T) {
	t.Parallel()
	outbox := &proofs{undecided: []conversation.AmbiguousPart{{Conversation: 5, Age: time.Minute, Epoch: 7}}}
	r := NewReadBack(ReadBackConfig{Store: outbox, Sender: &history{}, Patience: time.Minute, Wake: func() {}, Observer: noObserver{},
		Logger: slog.New(slog.DiscardHandler)})
	r.queueUndecided(t.Context())
	require.Equal(t, time.Minute, outbox.patience)
	require.Len(t, outbox.queued, 1)
	require.Equal(t, conversation.VerbQueue, outbox.queued[0].Verb)
	require.EqualValues(t, 7, outbox.queued[0].IfEpoch)
}

func TestATypingDelayComesBeforeTheGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := &store{parts: []conversation.QueuedPart{{No: 1, Text: "um", Delay: 3 * time.Second}}, owner: true}
		se := &sender{}
		done := make(chan conversation.Outcome, 1)
		go func() { done <- send(t.Context(), st, se) }()
		synctest.Wait()
		st.mu.Lock()
		st.owner = false // a human takes the conversation while the AI "types"
		st.mu.Unlock()
		require.Equal(t, conversation.OutcomeCancelled, <-done)
		require.Empty(t, se.sends)
	})
}

func TestLeavingPutsBackWhatAnEarlierAttemptMayHaveDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		st := &store{parts: []conversation.QueuedPart{{No: 1, Text: "um"}}, owner: true}
		passes := 0
		st.down = func(call string) (fails, effect bool) {
			switch call {
			case "pass":
				passes++
				return true, false // its answer is not heard
			case "unsent":
				if passes == 1 && st.intent == 0 && ctx.Err() == nil {
					// Nothing is found to put back. Then the intent commits after all, and the lease is lost.
					go func() {
						st.mu.Lock()
						st.intent = 1
						st.mu.Unlock()
						leave()
					}()
				}
			}
			return false, false
		}
		require.Equal(t, conversation.OutcomeHandedBack, send(ctx, st, &sender{}))
		require.Zero(t, st.intent, "nobody else could have cleared it")
	})
}

func TestAnAttachmentIsReadBeforeTheGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st, start := twoParts(), time.Now()
		st.parts[0].Media = &conversation.PartMedia{ID: 7, Kind: conversation.MediaImage}
		st.down = func(call string) (bool, bool) {
			if call == "pass" {
				require.GreaterOrEqual(t, time.Since(start), time.Minute, "nothing passes the gate that could not be written at once")
			}
			return call == "media" && time.Since(start) < time.Minute, false
		}
		se := &sender{}
		require.Equal(t, conversation.OutcomeDone, send(t.Context(), st, se))
		require.Equal(t, []string{"image content um", "dois"}, se.sends)
		require.Equal(t, []string{"sent", "sent"}, st.told)
	})
}

func TestAnAttachmentThatIsGoneEndsTheTurn(t *testing.T) {
	t.Parallel()
	st, se := twoParts(), &sender{}
	st.parts[0].Media = &conversation.PartMedia{Kind: conversation.MediaImage}
	require.Equal(t, conversation.OutcomeFailed, send(t.Context(), st, se))
	require.Empty(t, se.sends)
	require.Equal(t, []string{"fail send_refused"}, st.told)
}

func TestAttachmentsOnTheirWayOutAreFew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Store: twoParts(), Sender: &sender{}, Lease: time.Second, Observer: noObserver{}, Logger: slog.New(slog.DiscardHandler)})
		part := conversation.QueuedPart{Media: &conversation.PartMedia{ID: 1}, MediaBytes: mediaBytes / 2}
		turn := conversation.Turn{Expires: time.Now().Add(time.Minute)}
		var done func()
		for range 2 {
			_, d, outcome := g.attachment(t.Context(), turn, part)
			require.Empty(t, outcome)
			done = d
		}
		time.AfterFunc(10*time.Second, func() { done() })
		start := time.Now()
		_, _, outcome := g.attachment(t.Context(), turn, part)
		require.Empty(t, outcome)
		require.Equal(t, 10*time.Second, time.Since(start))
		_, _, outcome = g.attachment(t.Context(), turn, part)
		require.Equal(t, conversation.OutcomeFailed, outcome, "and not beyond the deadline")
		require.Equal(t, time.Minute, time.Since(start))
	})
}
