package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// few serves a server that holds at most three connections.
func few(t *testing.T, i Ingest) string {
	t.Helper()
	s := newServerFor(i, 1<<20)
	s.Open()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b := s.Bound(l).(*bound)
	b.most = 3
	h := s.HTTP()
	go func() { _ = h.Serve(b) }()
	t.Cleanup(func() {
		require.NoError(t, h.Close())
		require.Eventually(t, func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.open == 0 && b.strangers.Len() == 0
		}, 10*time.Second, time.Millisecond, "every place is given up once")
	})
	return l.Addr().String()
}

type peer struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, addr string) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &peer{t: t, Conn: conn, in: bufio.NewReader(conn)}
}

func (p *peer) say(text string) *peer {
	p.t.Helper()
	_, err := io.WriteString(p.Conn, text)
	require.NoError(p.t, err)
	return p
}

func (p *peer) status() int {
	p.t.Helper()
	resp, err := http.ReadResponse(p.in, nil)
	require.NoError(p.t, err)
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func (p *peer) gone() {
	p.t.Helper()
	_, err := p.in.ReadByte()
	require.Error(p.t, err)
	require.NotErrorIs(p.t, err, os.ErrDeadlineExceeded, "still there")
}

const (
	someHead = "GET /healthz HTTP/1.1\r\nHost: r\r\n"
	healthz  = someHead + "\r\n"
)

func webhook(secret string) string {
	return "POST /hooks/evolution/p HTTP/1.1\r\nHost: r\r\nContent-Type: application/json\r\n" + secretHeader + ": " + secret + "\r\nContent-Length: 2\r\n\r\n{}"
}

func TestTheOldestStrangerMakesRoom(t *testing.T) {
	t.Parallel()
	addr := few(t, &ingest{})
	first, second := dial(t, addr).say(someHead), dial(t, addr).say("G")
	known := dial(t, addr).say(webhook("s"))
	require.Equal(t, 200, known.status())
	for range 5 { // each in the place of another stranger
		require.Equal(t, 200, dial(t, addr).say(healthz).status())
	}
	first.gone()
	second.gone()
	require.Equal(t, 200, known.say(webhook("s")).status(), "who is known stays")
	bad := dial(t, addr).say(webhook("wrong"))
	require.Equal(t, 401, bad.status())
	bad.gone()
}

func TestNoRoomAmongTheKnown(t *testing.T) {
	t.Parallel()
	addr := few(t, &ingest{})
	var all []*peer
	for range 3 {
		p := dial(t, addr).say(webhook("s"))
		require.Equal(t, 200, p.status())
		all = append(all, p)
	}
	dial(t, addr).gone()
	for _, p := range all {
		require.Equal(t, 200, p.say(webhook("s")).status())
	}
	require.NoError(t, all[0].Close())
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer conn.Close()
		fmt.Fprint(conn, healthz)
		_, err = http.ReadResponse(bufio.NewReader(conn), nil)
		return err == nil
	}, 10*time.Second, 10*time.Millisecond, "its place is free again")
}

// Nothing of a body is read, or waited for, before its sender is known.
func TestABodyIsNotReadFromAStranger(t *testing.T) {
	t.Parallel()
	addr := few(t, &ingest{})
	p := dial(t, addr).say("POST /hooks/evolution/p HTTP/1.1\r\nHost: r\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{")
	start := time.Now()
	require.Equal(t, 401, p.status())
	p.gone()
	require.Less(t, time.Since(start), readHeaderTimeout, "the rest is not waited for")
}
