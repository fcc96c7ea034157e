package devstack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Desk is Chatwoot as the first administrator, a human at work, uses it.
type Desk struct {
	base    string // of the account
	token   string
	UserID  int64
	Account int64
}

// Desk signs in.
func (s *Stack) Desk(t *testing.T) *Desk {
	t.Helper()
	root := "http://" + s.IP(t, "chatwoot-web", "app") + ":3000"
	body, err := json.Marshal(map[string]string{
		"email": "operadora@plantao.example", "password": s.MustSecrets(t)["secret-chatwoot-admin.value"],
	})
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, root+"/auth/sign_in", bytes.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	var in struct {
		Data struct {
			ID          int64  `json:"id"`
			AccountID   int64  `json:"account_id"`
			AccessToken string `json:"access_token"`
		}
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&in))
	require.NotEmpty(t, in.Data.AccessToken)
	return &Desk{
		base: fmt.Sprintf("%s/api/v1/accounts/%d", root, in.Data.AccountID), token: in.Data.AccessToken,
		UserID: in.Data.ID, Account: in.Data.AccountID,
	}
}

// call sends body (nil: none) and reads the answer into out (nil: dropped).
func (d *Desk) call(t *testing.T, method, path string, body, out any) {
	t.Helper()
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		require.NoError(t, err)
		content = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, d.base+path, content)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Api-Access-Token", d.token)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s %s: %s", method, path, raw)
	if out != nil {
		require.NoError(t, json.Unmarshal(raw, out), "%s", raw)
	}
}

// Inboxes are the names of the account's inboxes.
func (d *Desk) Inboxes(t *testing.T) []string {
	t.Helper()
	var list struct{ Payload []struct{ Name string } }
	d.call(t, http.MethodGet, "/inboxes", nil, &list)
	var names []string
	for _, i := range list.Payload {
		names = append(names, i.Name)
	}
	return names
}

// DeskConversation is a conversation as Chatwoot shows it.
type DeskConversation struct {
	ID     int64  `json:"id"`
	Status string `json:"status"`
	Meta   struct {
		Assignee *struct {
			ID int64 `json:"id"`
		} `json:"assignee"`
	} `json:"meta"`
}

// Conversation is the customer's newest one; false if Chatwoot has none yet.
func (d *Desk) Conversation(t *testing.T, c *Customer) (DeskConversation, bool) {
	t.Helper()
	var found struct {
		Payload []struct {
			ID          int64  `json:"id"`
			PhoneNumber string `json:"phone_number"`
		}
	}
	d.call(t, http.MethodGet, "/contacts/search?q="+url.QueryEscape(c.Number), nil, &found)
	for _, one := range found.Payload {
		if strings.TrimPrefix(one.PhoneNumber, "+") != c.Number {
			continue
		}
		var list struct{ Payload []DeskConversation }
		d.call(t, http.MethodGet, fmt.Sprintf("/contacts/%d/conversations", one.ID), nil, &list)
		newest := DeskConversation{}
		for _, conv := range list.Payload {
			if conv.ID > newest.ID {
				newest = conv
			}
		}
		return newest, newest.ID != 0
	}
	return DeskConversation{}, false
}

// WaitConversation waits until the customer's conversation is there and as wanted.
func (d *Desk) WaitConversation(t *testing.T, c *Customer, what string, as func(DeskConversation) bool) DeskConversation {
	t.Helper()
	var conv DeskConversation
	Eventually(t, fmt.Sprintf("%s's conversation in Chatwoot: %s", c.Name, what), answerLimit, func() bool {
		found, ok := d.Conversation(t, c)
		conv = found
		return ok && as(found)
	})
	return conv
}

// DeskMessage is a message as Chatwoot shows it. Type: 0 from the customer, 1 to the customer, 2 what happened.
type DeskMessage struct {
	ID       int64  `json:"id"`
	Content  string `json:"content"`
	Type     int    `json:"message_type"`
	Private  bool   `json:"private"`
	SourceID string `json:"source_id"`
	Status   string `json:"status"`
}

// Messages are what customer and team said to each other, in order; private notes and activities are left out.
func (d *Desk) Messages(t *testing.T, conversation int64) []DeskMessage {
	t.Helper()
	var all []DeskMessage
	for after := int64(0); ; {
		var page struct{ Payload []DeskMessage }
		d.call(t, http.MethodGet, fmt.Sprintf("/conversations/%d/messages?after=%d", conversation, after), nil, &page)
		seen := after
		for _, m := range page.Payload {
			seen = max(seen, m.ID)
			if m.ID > after && !m.Private && m.Type < 2 {
				all = append(all, m)
			}
		}
		if seen == after {
			return all
		}
		after = seen
	}
}

// Says is the human writing to the customer.
func (d *Desk) Says(t *testing.T, conversation int64, text string) int64 {
	t.Helper()
	var m DeskMessage
	d.call(t, http.MethodPost, fmt.Sprintf("/conversations/%d/messages", conversation), map[string]any{"content": text, "message_type": "outgoing"}, &m)
	return m.ID
}

// SetStatus is the human pressing a button.
func (d *Desk) SetStatus(t *testing.T, conversation int64, status string) {
	t.Helper()
	d.call(t, http.MethodPost, fmt.Sprintf("/conversations/%d/toggle_status", conversation), map[string]string{"status": status}, nil)
}

// Hire adds an agent to the account and to its first inbox, and returns the user's id.
func (d *Desk) Hire(t *testing.T, name, email string) int64 {
	t.Helper()
	var made struct {
		ID int64 `json:"id"`
	}
	d.call(t, http.MethodPost, "/agents", map[string]any{"name": name, "email": email, "role": "agent"}, &made)
	return made.ID
}

// Team makes a team. Chatwoot gives it nothing by itself.
func (d *Desk) Team(t *testing.T, name string, users ...int64) {
	t.Helper()
	var made struct {
		ID int64 `json:"id"`
	}
	d.call(t, http.MethodPost, "/teams", map[string]any{"name": name, "allow_auto_assign": false}, &made)
	d.call(t, http.MethodPost, fmt.Sprintf("/teams/%d/team_members", made.ID), map[string]any{"user_ids": users}, nil)
}

// Assign gives a conversation to a user.
func (d *Desk) Assign(t *testing.T, conversation, user int64) {
	t.Helper()
	d.call(t, http.MethodPost, fmt.Sprintf("/conversations/%d/assignments", conversation), map[string]any{"assignee_id": user}, nil)
}

// Notes are the conversation's private notes, one after the other.
func (d *Desk) Notes(t *testing.T, conversation int64) string {
	t.Helper()
	var (
		page struct{ Payload []DeskMessage }
		all  strings.Builder
	)
	d.call(t, http.MethodGet, fmt.Sprintf("/conversations/%d/messages", conversation), nil, &page)
	for _, m := range page.Payload {
		if m.Private {
			all.WriteString(m.Content + "\n")
		}
	}
	return all.String()
}

// Present says that users have Chatwoot open, as their browsers do every so often.
func (d *Desk) Present(t *testing.T, s *Stack, users ...int64) {
	t.Helper()
	var script strings.Builder
	for _, id := range users {
		fmt.Fprintf(&script, "OnlineStatusTracker.update_presence(%d, 'User', %d)\n", d.Account, id)
	}
	s.Exec(t, "chatwoot-web", "sh", "-c", `printf '%s' "$1" > /tmp/present.rb; set -ae; . /run/plantao/chatwoot.env; set +a; exec bundle exec rails runner /tmp/present.rb`, "sh", script.String())
}
