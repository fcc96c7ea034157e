package devstack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
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
	said   []string
	kept   []Sent
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
	Eventually(t, "Evolution to take a message", answerLimit, func() bool {
		status, answer := c.post(t, c.inlet, map[string]any{
			"numberId": ChannelNumber,
			"key":      map[string]any{"id": id, "remoteJid": c.Number + "@s.whatsapp.net", "fromMe": false},
			"pushName": c.Name, "message": map[string]any{"conversation": text}, "messageType": "conversation",
		})
		require.True(t, status < 300 || status >= 500, "inlet: %s", answer)
		return status < 300 // without its database it takes nothing; WhatsApp keeps it
	})
	c.said = append(c.said, text)
}

// Said is everything the customer wrote, in order.
func (c *Customer) Said() []string { return c.said }

// PhoneTypes is the company's own phone writing to the customer, past the router.
func (c *Customer) PhoneTypes(t *testing.T, id, text string) {
	t.Helper()
	c.emit(t, "messages.upsert", map[string]any{
		"key":      map[string]any{"id": id, "remoteJid": c.Number + "@s.whatsapp.net", "fromMe": true},
		"pushName": "Você", "message": map[string]any{"conversation": text}, "messageType": "conversation",
		"messageTimestamp": time.Now().Unix(), "source": "android", "status": "SERVER_ACK",
	})
}

// Types is the customer seen typing, or having stopped.
func (c *Customer) Types(t *testing.T, presence string) {
	t.Helper()
	jid := c.Number + "@s.whatsapp.net"
	c.emit(t, "presence.update", map[string]any{"id": jid, "presences": map[string]any{jid: map[string]any{"lastKnownPresence": presence}}})
}

func (c *Customer) emit(t *testing.T, event string, data any) {
	t.Helper()
	status, answer := c.post(t, c.lab+"/emit", map[string]any{"instance": "principal", "event": event, "data": data})
	require.Equal(t, http.StatusOK, status, answer)
}

// LoseWebhooks makes Evolution lose its next webhooks of an event; -1: all, until it is set to 0.
func (c *Customer) LoseWebhooks(t *testing.T, event string, count int) {
	t.Helper()
	status, answer := c.post(t, c.lab+"/webhooks/drop", map[string]any{"event": event, "count": count})
	require.Equal(t, http.StatusOK, status, answer)
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
	return append(slices.Clone(c.kept), out.Messages...)
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

// Keep remembers what the customer has received: Evolution's control port forgets it when Evolution is restarted.
func (c *Customer) Keep(t *testing.T) { c.kept = c.Received(t) }

// Moved finds Evolution again after it was restarted: it may have another address.
func (c *Customer) Moved(t *testing.T) {
	t.Helper()
	now := c.stack.Customer(t, c.Number, c.Name)
	c.inlet, c.lab = now.inlet, now.lab
}
