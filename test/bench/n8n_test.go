//go:build e2e

package bench

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"plantao/runtime/n8n"
	"plantao/runtime/postgres/postgrestest"
	"plantao/test/e2e/n8nlab"
	"plantao/test/figure"
)

// nothing is a flow of one node, which answers at once and stores nothing, with the same check of a header the router makes.
const nothing = `{
  "name": "Bench: nothing",
  "nodes": [{
    "id": "0c6d8f6e-52a1-4c5c-8b53-0d1f5f1c9e01", "name": "Receive", "type": "n8n-nodes-base.webhook", "typeVersion": 2.1, "position": [0, 0],
    "webhookId": "4c1f2a3b-7d39-4a55-9f40-3d8f3f6f2a10",
    "parameters": {"httpMethod": "POST", "path": "nothing", "authentication": "headerAuth", "responseMode": "onReceived", "options": {}},
    "credentials": {"httpHeaderAuth": {"name": "` + n8n.CredentialName + `"}}
  }],
  "connections": {},
  "settings": {"executionOrder": "v1", "saveDataErrorExecution": "none", "saveDataSuccessExecution": "none", "saveExecutionProgress": false}
}`

// TestIngestBesideN8N measures what would be without the router: the real n8n takes the webhooks, and keeps nothing of them.
func TestIngestBesideN8N(t *testing.T) {
	rounds, each, its := 7, time.Second, 5*time.Second
	if os.Getenv("SMOKE") != "" {
		rounds, its = 3, 2*time.Second
	}
	in := n8nlab.Start(t)
	in.Install(t, fstest.MapFS{"nothing.json": {Data: []byte(nothing)}})
	door := newDoor(t, postgrestest.NewDurable(t))
	door.fill(t)
	const connections = 64
	ours := crowdOf(t, connections, door.addr, hookHead(), door.messages)
	var share, o, n []float64
	for range rounds {
		a := rate(t, ours, door.messages, each)
		b := theirs(t, in, door.messages, connections, its)
		o, n, share = append(o, a), append(n, b), append(share, a/b)
	}
	t.Logf("ours %.0f/s, n8n %.0f/s; ratios %.0f", o, n, share)
	sheet.Add(figure.Figure{Name: "ingest-vs-n8n-webhook", Value: middle(share), Unit: "ratio", Op: ">=", Target: 50})
}

// theirs is how many webhooks a second n8n answers. It closes a connection that says nothing for five seconds, and is slow enough for
// net/http, which dials anew.
func theirs(t *testing.T, in *n8nlab.Instance, m *messages, connections int, d time.Duration) float64 {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport, Timeout: 2 * time.Minute}
	var (
		all   sync.WaitGroup
		count atomic.Int64
	)
	begin := time.Now()
	for range connections {
		all.Go(func() {
			for one := m.template("%d"); time.Since(begin) < d; {
				m.fill(one)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, in.URL+"/webhook/nothing", bytes.NewReader(one.bytes[one.bodyFrom:]))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set(n8n.TokenHeader, in.Token)
				res, err := c.Do(req)
				if err != nil {
					t.Errorf("post: %v", err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != http.StatusOK {
					t.Errorf("n8n answered %s", res.Status)
					return
				}
				count.Add(1)
			}
		})
	}
	all.Wait()
	return float64(count.Load()) / time.Since(begin).Seconds()
}
