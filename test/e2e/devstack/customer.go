package devstack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ChannelNumber is the number of the dev stack's channel; Evolution's inlet knows the instance by it.
const ChannelNumber = "5511900000000"

// answerLimit is how long an answer may take: burst window, flow and two commits, on a busy machine.
const answerLimit = 90 * time.Second

// Customer is a person with WhatsApp, speaking through the inlet of Evolution's test channel.
type Customer struct {
	stack  *Stack
	Number string
	Name   string
	inlet  string
	lab    string
}

// Customer returns one with a number of its own.
func (s *Stack) Customer(t *testing.T, number, name string) *Customer {
	t.Helper()
	ip := s.IP(t, "evolution", "app")
	return &Customer{stack: s, Number: number, Name: name, inlet: "http://" + ip + ":8080/webhook/evolution", lab: "http://" + ip + ":8099/lab"}
}

// Says sends one text message with the given WhatsApp id.
func (c *Customer) Says(t *testing.T, id, text string) {
	t.Helper()
	status, answer := c.post(t, c.inlet, map[string]any{
		"numberId": ChannelNumber,
		"key":      map[string]any{"id": id, "remoteJid": c.Number + "@s.whatsapp.net", "fromMe": false},
		"pushName": c.Name, "message": map[string]any{"conversation": text}, "messageType": "conversation",
	})
	require.Less(t, status, 300, "inlet: %s", answer)
}

// Sent is one message that left for the customer.
type Sent struct {
	ID   string    `json:"id"`
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

// Received is everything sent to the customer so far, in order.
func (c *Customer) Received(t *testing.T) []Sent {
	t.Helper()
	var out struct{ Messages []Sent }
	c.get(t, c.lab+"/sent?number="+url.QueryEscape(c.Number), &out)
	return out.Messages
}

// WaitReceived waits until at least n messages were sent to the customer.
func (c *Customer) WaitReceived(t *testing.T, n int) []Sent {
	t.Helper()
	Eventually(t, fmt.Sprintf("%d answer(s) to %s", n, c.Name), answerLimit, func() bool { return len(c.Received(t)) >= n })
	return c.Received(t)
}

// ReplayLastWebhook makes Evolution deliver its newest webhook of an event again, times times, and returns
// what the router answered.
func (c *Customer) ReplayLastWebhook(t *testing.T, event string, times int) []int {
	t.Helper()
	status, answer := c.post(t, c.lab+"/webhooks/replay", map[string]any{"event": event, "times": times})
	require.Equal(t, http.StatusOK, status, answer)
	var out struct{ Statuses []int }
	require.NoError(t, json.Unmarshal([]byte(answer), &out))
	return out.Statuses
}

// PendingWebhooks is how many deliveries Evolution is still trying.
func (c *Customer) PendingWebhooks(t *testing.T) int {
	t.Helper()
	var out struct{ Pending int }
	c.get(t, c.lab+"/webhooks", &out)
	return out.Pending
}

func (c *Customer) post(t *testing.T, url string, body any) (int, string) {
	t.Helper()
	raw, err := json.Marshal(body)
	require.NoError(t, err)
	return Post(t, url, nil, raw)
}

func (c *Customer) get(t *testing.T, url string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.NoError(t, json.NewDecoder(resp.Body).Decode(into))
}

// Post sends a JSON body and returns status and answer.
func Post(t *testing.T, url string, header map[string]string, body []byte) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	require.NoError(t, err)
	return resp.StatusCode, string(raw)
}

// ChatwootInboxes are the names of the inboxes, as the first administrator sees them.
func (s *Stack) ChatwootInboxes(t *testing.T) []string {
	t.Helper()
	base := "http://" + s.IP(t, "chatwoot-web", "app") + ":3000"
	body, err := json.Marshal(map[string]string{
		"email": "operadora@plantao.example", "password": s.MustSecrets(t)["secret-chatwoot-admin.value"],
	})
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/auth/sign_in", bytes.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	var signedIn struct {
		Data struct {
			AccountID int `json:"account_id"`
		}
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&signedIn))
	req, err = http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/api/v1/accounts/%d/inboxes", base, signedIn.Data.AccountID), nil)
	require.NoError(t, err)
	for _, h := range []string{"access-token", "client", "uid", "token-type"} {
		req.Header.Set(h, resp.Header.Get(h))
	}
	list, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer list.Body.Close()
	require.Equal(t, http.StatusOK, list.StatusCode)
	var inboxes struct{ Payload []struct{ Name string } }
	require.NoError(t, json.NewDecoder(list.Body).Decode(&inboxes))
	var names []string
	for _, i := range inboxes.Payload {
		names = append(names, i.Name)
	}
	return names
}
