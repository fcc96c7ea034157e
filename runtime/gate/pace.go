package gate

import (
	"context"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"plantao/runtime/conversation"
)

// Pace is how fast a channel speaks: a token bucket for each, in which parts stand in line in the order they came. A conversation has one
// part in it at a time, however long its answer is, so that none keeps the others waiting.
//
// Each replica takes its share of the rate. A bucket in Redis would be exact, and gone with Redis; while a replica comes or goes, the
// channel speaks up to twice as fast for as long as Share takes to notice.
type Pace struct {
	perSecond float64
	burst     int

	mu       sync.Mutex
	replicas int
	channels map[string]*rate.Limiter
}

// NewPace makes a Pace of so many parts a second, lastingly, and burst at once. Zero a second: no bound.
func NewPace(perSecond float64, burst int) *Pace {
	return &Pace{perSecond: perSecond, burst: burst, replicas: 1, channels: map[string]*rate.Limiter{}}
}

// Share says how many replicas share the rate.
func (p *Pace) Share(replicas int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replicas = max(replicas, 1)
	for _, l := range p.channels {
		l.SetLimit(p.limit())
		l.SetBurst(p.most())
	}
}

func (p *Pace) limit() rate.Limit { return rate.Limit(p.perSecond / float64(p.replicas)) }
func (p *Pace) most() int         { return max(1, p.burst/p.replicas) }

// Wait waits until it is a part's turn to be sent. The error is that of ctx, or says that its deadline comes first.
func (p *Pace) Wait(ctx context.Context, channel string) error {
	if p == nil || p.perSecond == 0 {
		return nil
	}
	p.mu.Lock()
	l := p.channels[channel]
	if l == nil {
		l = rate.NewLimiter(p.limit(), p.most())
		p.channels[channel] = l
	}
	p.mu.Unlock()
	return l.Wait(ctx)
}

// Typing is how long a part seems to be typed for which its flow gives no time. The zero value: no time.
type Typing struct {
	PerCharacter time.Duration
	Min, Max     time.Duration
}

func (t Typing) of(p conversation.QueuedPart) time.Duration {
	if t.PerCharacter == 0 || p.Text == "" {
		return 0
	}
	return min(max(t.PerCharacter*time.Duration(utf8.RuneCountInString(p.Text)), t.Min), t.Max)
}
