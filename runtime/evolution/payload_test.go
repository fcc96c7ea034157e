package evolution

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

var update = flag.Bool("update", false, "write the golden file anew")

// TestPayloads decodes what Evolution sends, one of each kind of content and event (facts §8.6 and §8.7), and compares it with
// testdata/events.json, which shows what the router makes of it.
func TestPayloads(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("testdata", "payloads.json"))
	require.NoError(t, err)
	var payloads []struct {
		Name string          `json:"name"`
		Body json.RawMessage `json:"body"`
	}
	require.NoError(t, json.Unmarshal(raw, &payloads))
	type shown struct {
		Name  string             `json:"name"`
		Event conversation.Event `json:"event"`
	}
	var got []shown
	for _, p := range payloads {
		e := decoded(t, string(p.Body))
		if strings.HasPrefix(e.WAID, "sha256:") {
			e.WAID = "sha256:…"
		}
		e.Body = nil
		got = append(got, shown{p.Name, e})
	}
	text, err := json.MarshalIndent(got, "", " ")
	require.NoError(t, err)
	golden := filepath.Join("testdata", "events.json")
	if *update {
		require.NoError(t, os.WriteFile(golden, append(text, '\n'), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(want)), string(text))
}

// subscribable are the names of events as they are subscribed to (facts §8.5), and the one that is sent under another name.
var subscribable = map[string]conversation.EventKind{
	"APPLICATION_STARTUP": conversation.KindChannel, "QRCODE_UPDATED": conversation.KindChannel, "STATUS_INSTANCE": conversation.KindChannel,
	"INSTANCE_CREATE": conversation.KindChannel, "INSTANCE_DELETE": conversation.KindChannel, "REMOVE_INSTANCE": conversation.KindChannel,
	"LOGOUT_INSTANCE": conversation.KindChannel,

	"MESSAGES_UPSERT": conversation.KindMessage, "SEND_MESSAGE": conversation.KindSent, "MESSAGES_EDITED": conversation.KindEdit,
	"MESSAGES_DELETE": conversation.KindRevoke, "MESSAGES_UPDATE": conversation.KindStatus, "PRESENCE_UPDATE": conversation.KindPresence,
	"CONNECTION_UPDATE": conversation.KindConnection,

	"MESSAGES_SET": "", "SEND_MESSAGE_UPDATE": "", "CONTACTS_SET": "", "CONTACTS_UPSERT": "", "CONTACTS_UPDATE": "", "CHATS_SET": "",
	"CHATS_UPSERT": "", "CHATS_UPDATE": "", "CHATS_DELETE": "", "GROUPS_UPSERT": "", "GROUP_UPDATE": "", "GROUPS_UPDATE": "",
	"GROUP_PARTICIPANTS_UPDATE": "", "LABELS_EDIT": "", "LABELS_ASSOCIATION": "", "CALL": "", "TYPEBOT_START": "", "TYPEBOT_CHANGE_STATUS": "",
}

func TestEveryEventHasAMeaning(t *testing.T) {
	t.Parallel()
	// Data every reader can use.
	const data = `{"key":{"remoteJid":"1@lid","id":"A"},"remoteJid":"1@lid","id":"A","keyId":"A","status":"READ","state":"open",
		"type":"MESSAGE_EDIT","editedMessage":{"conversation":"x"},"message":{"conversation":"x"},"presences":{}}`
	for name, kind := range subscribable {
		for _, written := range []string{name, strings.ReplaceAll(strings.ToLower(name), "_", ".")} {
			e := decoded(t, `{"event":"`+written+`","instance":"p","data":`+data+`}`)
			if kind != "" {
				assert.Equal(t, kind, e.Kind, written)
				assert.Empty(t, e.Problem, written)
				continue
			}
			assert.Equal(t, conversation.KindUnknown, e.Kind, written)
			assert.Contains(t, []string{problemUnused, problemHistory}, e.Problem, "%s is known, and stored for what it is", written)
		}
		// With data of any other shape it is stored all the same, and nothing is made of it.
		for _, bad := range []string{`null`, `[]`, `"x"`, `7`, `{}`} {
			e := decoded(t, `{"event":"`+name+`","data":`+bad+`}`)
			switch e.Kind {
			case conversation.KindUnknown:
				assert.NotEmpty(t, e.Problem, name)
			case conversation.KindChannel: // its name says all
			case conversation.KindConnection:
				assert.Empty(t, e.Type, name)
			default:
				assert.Fail(t, "meaningless data was given a meaning", "%s %s: %s", name, bad, e.Kind)
			}
		}
	}
	assert.Len(t, subscribable, len(events))
	e := decoded(t, `{"event":"something.new","data":{}}`)
	assert.Equal(t, problemUnknown, e.Problem)
	for _, name := range Events {
		assert.Contains(t, subscribable, name)
	}
}
