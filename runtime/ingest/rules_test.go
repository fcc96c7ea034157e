package ingest

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"plantao/runtime/conversation"
)

func TestChatReason(t *testing.T) {
	t.Parallel()
	for jid, want := range map[string]string{
		"5511988887777@s.whatsapp.net": "",
		"5511988887777":                "",
		"123456@lid":                   "",
		"120363@g.us":                  ReasonGroup,
		"status@broadcast":             ReasonStatusBroadcast,
		"5511@broadcast":               ReasonBroadcast,
		"1@newsletter":                 ReasonNewsletter,
		"1@bot":                        ReasonUnsupportedChat,
		"maria":                        ReasonUnsupportedChat,
		"":                             ReasonUnsupportedChat,
	} {
		assert.Equal(t, want, chatReason(jid), jid)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	ok := conversation.Event{Kind: conversation.KindMessage, Channel: "p", Instance: "p", ChatJID: "1@lid", Type: "text", Text: "oi"}
	judged := func(change func(*conversation.Event)) string {
		e := ok
		change(&e)
		judge(&e)
		assert.Equal(t, e.State == conversation.Pending, e.Reason == "")
		return e.Reason
	}
	assert.Empty(t, judged(func(*conversation.Event) {}))
	assert.Empty(t, judged(func(e *conversation.Event) { e.Type, e.Text = "audio", "" }))
	assert.Empty(t, judged(func(e *conversation.Event) { e.Instance = "" }))
	assert.Empty(t, judged(func(e *conversation.Event) { e.Text = "requestPlaceholder " }))
	assert.Equal(t, ReasonGroup, judged(func(e *conversation.Event) { e.ChatJID, e.FromMe = "1@g.us", true }))
	assert.Equal(t, ReasonFromMe, judged(func(e *conversation.Event) { e.FromMe = true }))
	assert.Equal(t, ReasonInstanceMismatch, judged(func(e *conversation.Event) { e.Instance = "q" }))
	assert.Equal(t, ReasonDebugTrigger, judged(func(e *conversation.Event) { e.Text = "onDemandHistSync" }))
	assert.Equal(t, "why", judged(func(e *conversation.Event) { e.Kind, e.Problem = conversation.KindUnknown, "why" }))
}
