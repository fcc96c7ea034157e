//go:build e2e

package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/evolution"
)

const (
	loadChannel  = "principal"
	loadSecret   = "hook-secret-of-the-bench"
	loadContacts = 1000
	loadBytes    = 1024
)

// messages makes webhooks of new messages of 1 KB, from 1,000 contacts in turn. It is safe for concurrent use.
type messages struct {
	run  string
	next atomic.Int64
}

const (
	idDigits      = 16
	contactDigits = 4
)

// message is one webhook as bytes, with what differs between them in places of their own.
type message struct {
	bytes             []byte
	id, jid, bodyFrom int
}

func (m *messages) template(head string) message {
	at := strings.Repeat("9", idDigits)
	text := func(pad int) []byte {
		body, err := json.Marshal(map[string]any{
			"event": "messages.upsert", "instance": loadChannel,
			"data": map[string]any{
				"key":      map[string]any{"remoteJid": "551198877" + at[:contactDigits] + "@s.whatsapp.net", "fromMe": false, "id": m.run + at},
				"pushName": "Maria Aparecida", "status": "DELIVERY_ACK",
				"message": map[string]any{
					"conversation":       strings.Repeat("Bom dia, meu pedido chegou? ", 40)[:pad],
					"messageContextInfo": map[string]any{"deviceListMetadataVersion": 2, "messageSecret": "c2VncmVkbyBkYSBtZW5zYWdlbQ=="},
				},
				"messageType": "conversation", "messageTimestamp": 1795744800, "instanceId": "6b2e0a4c-55a5-4f7e-9b0f-3d6a7c1e9f10", "source": "android",
			},
			"destination": "http://router-1:8080/hooks/evolution/" + loadChannel, "date_time": "2026-11-27T10:00:00.000Z",
			"sender": "5511900000000@s.whatsapp.net", "server_url": "http://evolution:8080", "apikey": "2B6A0C9D-7A51-4C39-9F0E-0B1F4A0D6B1E",
		})
		if err != nil {
			panic(err)
		}
		return body
	}
	body := text(loadBytes - len(text(0)))
	if len(body) != loadBytes {
		panic(fmt.Sprintf("message of %d bytes", len(body)))
	}
	head = fmt.Sprintf(head, len(body))
	all := append([]byte(head), body...)
	return message{bytes: all, bodyFrom: len(head),
		id:  bytes.Index(all, []byte(m.run+at)) + len(m.run),
		jid: bytes.Index(all, []byte("551198877"+at[:contactDigits]+"@")) + len("551198877")}
}

// fill makes it the next message.
func (m *messages) fill(one message) {
	n := m.next.Add(1)
	put := func(at, digits int, n int64) {
		for i := at + digits - 1; i >= at; i-- {
			one.bytes[i], n = byte('0'+n%10), n/10
		}
	}
	put(one.id, idDigits, n)
	put(one.jid, contactDigits, n%loadContacts)
}

// hookHead is a webhook's head as Evolution sends it; the length goes in.
func hookHead() string {
	return "POST /hooks/evolution/" + loadChannel + " HTTP/1.1\r\nHost: router\r\nAccept: application/json, text/plain, */*\r\n" +
		"Content-Type: application/json\r\n" + evolution.SecretHeader + ": " + loadSecret + "\r\nUser-Agent: axios/1.7.9\r\n" +
		"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n"
}

// client is one connection that is kept, in a few lines: what a load generator burns, the measured has not.
type client struct {
	conn net.Conn
	in   *bufio.Reader
	message
}

func dialClient(t testing.TB, addr, head string, m *messages) *client {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(context.Background(), "tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &client{conn: conn, in: bufio.NewReader(conn), message: m.template(head)}
}

// post sends the next message and waits for its answer.
func (c *client) post(m *messages) error {
	m.fill(c.message)
	if _, err := c.conn.Write(c.bytes); err != nil {
		return err
	}
	return c.answer()
}

func (c *client) answer() error {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("answer %q", line)
	}
	length := -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		name, value, found := bytes.Cut(bytes.TrimSpace(line), []byte(": "))
		if !found {
			break
		}
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("answer without a length")
	}
	_, err = c.in.Discard(length)
	return err
}

// crowdOf connects so many clients and lets each post once: the server waits for a first request only as long as for any head.
func crowdOf(t testing.TB, n int, addr, head string, m *messages) []*client {
	t.Helper()
	all := make([]*client, n)
	for i := range all {
		all[i] = dialClient(t, addr, head, m)
		require.NoError(t, all[i].post(m))
	}
	return all
}

// rate lets every client post without pause for a while and returns answers per second.
func rate(t *testing.T, clients []*client, m *messages, d time.Duration) float64 {
	t.Helper()
	var (
		all   sync.WaitGroup
		count atomic.Int64
		stop  atomic.Bool
	)
	begin := time.Now()
	timer := time.AfterFunc(d, func() { stop.Store(true) })
	defer timer.Stop()
	for _, c := range clients {
		all.Go(func() {
			for !stop.Load() {
				if err := c.post(m); err != nil {
					t.Errorf("post: %v", err)
					return
				}
				count.Add(1)
			}
		})
	}
	all.Wait()
	return float64(count.Load()) / time.Since(begin).Seconds()
}

// paced starts a call every interval, whether or not those before have ended, and returns how long each took from when it was due.
func paced(t *testing.T, n int, every time.Duration, call func(i int) error) []time.Duration {
	t.Helper()
	took := make([]time.Duration, n)
	var all sync.WaitGroup
	begin := time.Now()
	for i := range n {
		due := begin.Add(time.Duration(i) * every)
		time.Sleep(time.Until(due)) // an open loop is a clock
		all.Go(func() {
			if err := call(i); err != nil {
				t.Errorf("call: %v", err)
			}
			took[i] = time.Since(due)
		})
	}
	all.Wait()
	return took
}

func quantile(d []time.Duration, q float64) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[min(len(d)-1, int(q*float64(len(d))))]
}

func middle(f []float64) float64 { return slices.Sorted(slices.Values(f))[len(f)/2] }
