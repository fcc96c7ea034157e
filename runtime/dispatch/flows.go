package dispatch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"plantao/runtime/conversation"
)

// Defaults of FlowLimits.
const (
	defaultFlowRunning = 8
	defaultFlowTrips   = 5
	defaultFlowRest    = 10 * time.Second
	// breakerLook is how often a turn looks whether a flow may be asked again.
	breakerLook = 500 * time.Millisecond
)

// FlowLimits keep one flow from being every flow's trouble.
type FlowLimits struct {
	// MaxRunning bounds one flow's turns in this process. Conversations beyond it wait where they are, for this replica or another.
	// Zero means 8.
	MaxRunning int
	// Trips is after how many failures in a row a flow is not asked for a while. Zero means 5.
	Trips int
	// Rest is for how long. Then one turn asks, and the others wait for what comes of it. Zero means 10 s.
	Rest time.Duration
}

// flows is what this process knows of the flows it asks: who has how many turns, and who answers.
type flows struct {
	limits  FlowLimits
	changed func(flow, state string)

	mu   sync.Mutex
	each map[string]*flowState
}

type flowState struct {
	running int
	breaker *gobreaker.CircuitBreaker[conversation.Answer]
}

func newFlows(l FlowLimits, changed func(flow, state string)) *flows {
	if l.MaxRunning == 0 {
		l.MaxRunning = defaultFlowRunning
	}
	if l.Trips == 0 {
		l.Trips = defaultFlowTrips
	}
	if l.Rest == 0 {
		l.Rest = defaultFlowRest
	}
	return &flows{limits: l, changed: changed, each: map[string]*flowState{}}
}

// busy lists the flows that have as many turns as they may have.
func (f *flows) busy() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for name, s := range f.each {
		if s.running >= f.limits.MaxRunning {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// began counts a turn. One that was taken over counts too, though nobody could ask whether there is room.
func (f *flows) began(name string) { f.of(name, 1) }

func (f *flows) ended(name string) { f.of(name, -1) }

func (f *flows) of(name string, more int) *flowState {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.each[name]
	if s == nil {
		s = &flowState{breaker: f.newBreaker(name)}
		f.each[name] = s
	}
	s.running += more
	return s
}

func (f *flows) newBreaker(name string) *gobreaker.CircuitBreaker[conversation.Answer] {
	return gobreaker.NewCircuitBreaker[conversation.Answer](gobreaker.Settings{
		Name: name, Timeout: f.limits.Rest,
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= uint32(f.limits.Trips) },
		IsSuccessful:  func(err error) bool { return !unwell(err) },
		IsExcluded:    func(err error) bool { return errors.Is(err, errNotItsFault) },
		OnStateChange: func(_ string, _, to gobreaker.State) { f.changed(name, to.String()) },
	})
}

// unwell says that the flow could not answer, as against not wanting to: a refusal is an answer.
func unwell(err error) bool {
	var fe *conversation.FlowError
	switch {
	case err == nil, errors.Is(err, conversation.ErrAnswersLater):
		return false
	case errors.As(err, &fe):
		return fe.Retry
	}
	return true
}

// errNotItsFault is a request that was broken off by us: it says nothing about the flow.
var errNotItsFault = errors.New("request was broken off")

// errResting is a flow that has failed so often lately that it is left alone: it was not asked.
var errResting = errors.New("flow is left alone for a while, because it failed several times in a row")

// ask asks the flow, unless it is left alone: errResting.
func (f *flows) ask(ctx context.Context, flow conversation.Flow, t conversation.Turn) (conversation.Answer, error) {
	answer, err := f.of(t.Flow, 0).breaker.Execute(func() (conversation.Answer, error) {
		a, err := flow.Ask(ctx, t)
		// A flow that hangs until the turn's deadline is unwell; one whose turn ended for another reason is not.
		if err != nil && ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			err = errors.Join(errNotItsFault, err)
		}
		return a, err
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		err = errResting
	}
	return answer, err
}
