package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
	"plantao/runtime/evolution"
	"plantao/runtime/evolution/evolutiontest"
	"plantao/runtime/ingest"
	"plantao/runtime/postgres"
	"plantao/runtime/postgres/postgrestest"
	"plantao/runtime/server"
)

// FuzzHook posts webhooks to the hook as it is wired, over a real store: bad input is answered as the sender's fault, what is answered
// with 200 is in the inbox as it came, a second copy changes nothing, and memory stays in proportion.
func FuzzHook(f *testing.F) {
	for _, body := range evolutiontest.Hooks() {
		f.Add([]byte(body), "application/json", testHookSecret, "")
	}
	f.Add([]byte("{}"), "application/json; charset=utf-8", "", "Bearer a.b.c")
	f.Add([]byte(`{"event":"x","a":[1e999999,"\\ud800"]}`), "application/json", testHookSecret, "Basic x")
	db := postgrestest.New(f)
	store, pg := db.Store(f), db.Conn(f)
	_, err := store.UpsertChannel(context.Background(), postgres.ChannelRow{Channel: conversation.Channel{
		Name: "p", Tenant: conversation.DefaultTenant, Flow: "f", HookSecretSHA256: sha256.Sum256([]byte(testHookSecret)),
	}, Integration: "EVOLUTION", Number: "5511900000000"})
	require.NoError(f, err)
	var logged atomic.Int64
	log := slog.New(slog.NewTextHandler(counting{&logged}, nil))
	metrics := server.NewMetrics("fuzz", func(context.Context) (server.OpenRows, error) { return server.OpenRows{}, nil }, func() bool { return true })
	s := server.New(server.Config{
		Ingest: ingest.New(ingest.Config{
			Store: store, Decode: evolution.Decode, Verify: evolution.VerifyToken, Wake: func() {}, Own: func() {},
			Happened: func(string, conversation.Connection) {}, Attached: func() {}, Observer: metrics, Logger: log,
		}),
		SecretHeader: evolution.SecretHeader, MaxBodyBytes: 64 << 10, Metrics: metrics, Logger: log,
	})
	s.Open()
	rows := func(t *testing.T) (n int) {
		require.NoError(t, pg.QueryRow(context.Background(), "select count(*) from inbox").Scan(&n))
		return n
	}
	f.Fuzz(func(t *testing.T, body []byte, contentType, secret, authorization string) {
		post := func() int {
			r := httptest.NewRequest(http.MethodPost, "/hooks/evolution/p", bytes.NewReader(body))
			r.Header["Content-Type"], r.Header["Authorization"] = []string{contentType}, []string{authorization}
			r.Header[evolution.SecretHeader] = []string{secret}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			return w.Code
		}
		before := rows(t)
		var first, last runtime.MemStats
		runtime.ReadMemStats(&first)
		logged.Store(0)
		status := post()
		runtime.ReadMemStats(&last)
		if used, most := last.TotalAlloc-first.TotalAlloc, uint64(2<<20+400*len(body)); used > most {
			t.Fatalf("%d bytes for a body of %d", used, len(body))
		}
		if logged.Load() > 2048 {
			t.Fatalf("%d bytes of log", logged.Load())
		}
		switch {
		case status == http.StatusOK && secret != testHookSecret:
			t.Fatal("let in without a secret")
		case status == http.StatusOK:
			again := rows(t)
			if post() != http.StatusOK || rows(t) != again || again > before+1 {
				t.Fatalf("rows: %d, then %d, and %d after the same again", before, again, rows(t))
			}
			if again == before {
				return // a duplicate, or a contact's typing
			}
			var same bool
			newest := pg.QueryRow(context.Background(), "select coalesce(body->>'base64', '') = $1 from inbox order by id desc limit 1",
				base64.StdEncoding.EncodeToString(body))
			if err := newest.Scan(&same); err == nil && !same {
				err = pg.QueryRow(context.Background(), "select body = $1::text::jsonb from inbox order by id desc limit 1", string(body)).Scan(&same)
				require.NoError(t, err)
			}
			if !same {
				t.Fatal("stored with another body")
			}
		case status < 400 || status >= 500:
			t.Fatalf("answered with %d", status)
		case rows(t) != before:
			t.Fatal(fmt.Sprint("refused with ", status, ", and stored"))
		}
	})
}

// counting counts what is written.
type counting struct{ n *atomic.Int64 }

func (c counting) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}
