package ingest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var policy = OwnPolicy{
	Flight: 40 * time.Second, Silence: time.Hour, Greetings: []string{"Olá! Já respondemos."}, GreetingWindow: 3 * time.Second, ForeignIsHuman: true,
}

func seconds(n float64) *time.Duration {
	d := time.Duration(n * float64(time.Second))
	return &d
}

func TestTheEvidenceTable(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	long := seconds(600)
	take := func(wait time.Duration) ownVerdict {
		return ownVerdict{reason: conversation.HumanOnPhone, take: true, wait: wait}
	}
	for name, c := range map[string]struct {
		m    conversation.OwnMessage
		want ownVerdict
	}{
		"an id of ours":                          {conversation.OwnMessage{Ours: true, Flying: true, Since: seconds(1)}, ownVerdict{reason: conversation.OwnEcho}},
		"sent, and an id of ours":                {conversation.OwnMessage{Ours: true, Kind: conversation.KindSent}, ownVerdict{reason: conversation.OwnEcho}},
		"a part on the wire":                     {conversation.OwnMessage{Flying: true, Age: 39 * time.Second, Since: long}, ownVerdict{}},
		"sent, and a part on the wire":           {conversation.OwnMessage{Flying: true, Kind: conversation.KindSent}, ownVerdict{}},
		"a part that was on the wire too long":   {conversation.OwnMessage{Flying: true, Age: 40 * time.Second, Since: long}, take(time.Hour)},
		"as an ambiguous part says":              {conversation.OwnMessage{Resembles: true, Age: time.Hour, Since: long}, ownVerdict{}},
		"typed":                                  {conversation.OwnMessage{Text: "já vejo", Since: long}, take(time.Hour)},
		"typed to somebody who never wrote":      {conversation.OwnMessage{Begins: true, Age: 3 * time.Second}, take(time.Hour)},
		"so just now":                            {conversation.OwnMessage{Begins: true, Age: time.Second}, ownVerdict{}},
		"a greeting that was told":               {conversation.OwnMessage{Text: " OLA\u0301!  já\u00a0respondemos.\n", Since: long}, ownVerdict{reason: conversation.AutoGreeting}},
		"a greeting in another text":             {conversation.OwnMessage{Text: "Olá! Já respondemos. Ana", Since: long}, take(time.Hour)},
		"three seconds after the contact":        {conversation.OwnMessage{Since: seconds(3)}, ownVerdict{reason: conversation.AutoGreeting}},
		"a second before, by a clock of seconds": {conversation.OwnMessage{Since: seconds(-1)}, ownVerdict{reason: conversation.AutoGreeting}},
		"four seconds after":                     {conversation.OwnMessage{Since: seconds(4)}, take(time.Hour)},
		"before the contact wrote":               {conversation.OwnMessage{Since: seconds(-30)}, take(time.Hour)},
		"another client":                         {conversation.OwnMessage{Kind: conversation.KindSent, Since: seconds(1)}, ownVerdict{reason: conversation.ForeignSender, take: true, wait: time.Hour}},
		"ten minutes late":                       {conversation.OwnMessage{Since: long, SentAt: noon.Add(-10 * time.Minute)}, take(50 * time.Minute)},
		"an hour late":                           {conversation.OwnMessage{Since: long, SentAt: noon.Add(-time.Hour)}, ownVerdict{reason: conversation.HumanBefore}},
		"by a clock that is ahead":               {conversation.OwnMessage{Since: long, SentAt: noon.Add(time.Hour)}, take(time.Hour)},
	} {
		c.m.Conversation, c.m.ReceivedAt = 7, noon
		if c.m.Kind == "" {
			c.m.Kind = conversation.KindMessage
		}
		if c.m.SentAt.IsZero() {
			c.m.SentAt = noon
		}
		assert.Equal(t, c.want, judgeOwn(c.m, policy, NewOwn(OwnConfig{Policy: policy}).greetings), name)
	}
	lonely := conversation.OwnMessage{Kind: conversation.KindSent}
	require.Equal(t, ownVerdict{reason: conversation.ForeignNoTalk}, judgeOwn(lonely, policy, nil))
	foreign := conversation.OwnMessage{Kind: conversation.KindSent, Conversation: 7}
	require.Equal(t, ownVerdict{reason: conversation.ForeignSender, wait: time.Hour},
		judgeOwn(foreign, OwnPolicy{Silence: time.Hour}, nil), "only told")
	for ever := range 2 {
		m := conversation.OwnMessage{Kind: conversation.KindMessage, Conversation: 7, ReceivedAt: noon, SentAt: noon.Add(-time.Duration(ever) * 100 * time.Hour)}
		require.Equal(t, take(0), judgeOwn(m, OwnPolicy{}, nil), "without a silence and without a window")
	}
}
