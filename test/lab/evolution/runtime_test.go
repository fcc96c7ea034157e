package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/channel"
	"plantao/runtime/conversation"
	"plantao/runtime/evolution"
	"plantao/runtime/ingest"
	"plantao/runtime/postgres"
	"plantao/runtime/postgres/postgrestest"
)

// The router's own client against the stand-in: what it relies on is what is enforced here.

const contact = "5531987654321@s.whatsapp.net" // loses its ninth digit on the way

func (l *lab) client() *evolution.Client {
	c := evolution.NewClient(evolution.ClientConfig{URL: l.api, APIKey: globalKey})
	l.t.Cleanup(c.Close)
	return c
}

func soon() time.Time { return time.Now().Add(time.Minute) }

func TestClientSendsMediaOnBothChannels(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000001")
	l.channel("zap", "WHATSAPP-BAILEYS", "5511900000002")
	l.lab("POST", "/pair", `{"instance":"zap","number":"5511900000002"}`)
	c, start := l.client(), time.Now().Truncate(time.Second)
	content := []byte(strings.Repeat("content ", 1000))
	for _, instance := range []string{"principal", "zap"} {
		for _, m := range []struct {
			kind     conversation.MediaKind
			mimetype string
			caption  string
		}{
			{conversation.MediaImage, "image/png", "um"}, {conversation.MediaVideo, "video/mp4", ""}, {conversation.MediaDocument, "application/pdf", "três"},
			{conversation.MediaAudio, "audio/ogg", ""},
		} {
			d, err := c.SendMedia(t.Context(), instance, contact, conversation.Content{Mimetype: m.mimetype, Bytes: content}, m.kind, m.caption, soon())
			require.NoError(t, err, "%s %s", instance, m.kind)
			list, err := c.SentSince(t.Context(), instance, contact, start)
			require.NoError(t, err)
			part := conversation.AmbiguousPart{Text: m.caption, Media: &conversation.PartMedia{Kind: m.kind}}
			if instance == "principal" {
				part.Text = "" // an EVOLUTION channel keeps no caption: one that has one is a human's to settle
			}
			var proof conversation.Delivery
			for _, found := range list {
				if part.Is(found) {
					proof = found
				}
			}
			require.Equal(t, d.MessageID, proof.MessageID, "%s %s: %v", instance, m.kind, list)
			if instance == "zap" {
				got, err := c.FetchMedia(t.Context(), instance, d.MessageID, conversation.Media{})
				require.NoError(t, err)
				require.Equal(t, content, got.Bytes, "what was sent is what there is")
			}
		}
	}
	_, err := c.FetchMedia(t.Context(), "principal", "x", conversation.Media{})
	var fe *conversation.FetchError
	require.ErrorAs(t, err, &fe)
	require.True(t, fe.Final, "an EVOLUTION channel gives nothing back")
}

func TestClientIsNotConnected(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("zap", "WHATSAPP-BAILEYS", "5511900000000")
	c := l.client()
	_, err := c.SendText(t.Context(), "zap", contact, "oi", soon())
	var se *conversation.SendError
	require.ErrorAs(t, err, &se)
	require.Equal(t, conversation.SendNothing, se.Outcome)
	require.ErrorIs(t, err, conversation.ErrNotConnected)

	state := func(instance string) conversation.Connection {
		got, err := c.Connection(t.Context(), instance)
		require.NoError(t, err)
		return got
	}
	require.Equal(t, conversation.Connection{State: "close"}, state("zap"))
	require.Equal(t, conversation.Connection{State: "close", Reason: conversation.ReasonNoInstance}, state("nobody"))
	p, err := c.Connect(t.Context(), "zap", "")
	require.NoError(t, err)
	require.Equal(t, conversation.ConnectionConnecting, p.State)
	require.True(t, strings.HasPrefix(p.QR, "2@"))
	require.Empty(t, p.Code)
	again, err := c.Connect(t.Context(), "zap", "")
	require.NoError(t, err)
	require.Equal(t, p, again)
	p, err = c.Connect(t.Context(), "zap", "5511900000000")
	require.NoError(t, err)
	require.Len(t, p.Code, 8, "although a code was shown already")
	l.lab("POST", "/pair", `{"instance":"zap","number":"5511900000000"}`)
	p, err = c.Connect(t.Context(), "zap", "")
	require.NoError(t, err)
	require.Equal(t, conversation.Pairing{State: "open"}, p)
	_, err = c.Connect(t.Context(), "nobody", "")
	require.ErrorIs(t, err, conversation.ErrUnknownChannel)
}

func TestClientShowsManners(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("principal", "EVOLUTION", "5511900000001")
	l.channel("zap", "WHATSAPP-BAILEYS", "5511900000000")
	l.lab("POST", "/pair", `{"instance":"zap","number":"5511900000000"}`)
	c := l.client()
	require.NoError(t, c.ShowTyping(t.Context(), "zap", contact, false, 1500*time.Millisecond))
	assert.Equal(t, []time.Duration{1500 * time.Millisecond}, l.waited(), "the call blocks: nobody waits for it")
	require.NoError(t, c.MarkRead(t.Context(), "zap", contact, []string{"A"}))
	require.NoError(t, c.MarkRead(t.Context(), "zap", "1@lid", []string{"B"}))
	shown := l.lab("GET", "/shown", "")
	assert.Equal(t, []any{map[string]any{"instance": "zap", "id": "A", "remoteJid": contact}}, shown["marks"])
	assert.Equal(t, []any{map[string]any{"instance": "zap", "number": "5531987654321", "presence": "composing", "delay_ms": 1500.0}}, shown["presences"])
	require.Error(t, c.ShowTyping(t.Context(), "principal", contact, false, time.Second), "the channel has none")
}

// TestLostWebhooksAreSwept: what Evolution lost while it was down, and while its webhooks went nowhere, is in the inbox all the same,
// each message once.
func TestLostWebhooksAreSwept(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.channel("zap", "WHATSAPP-BAILEYS", "5511900000000")
	db := postgrestest.New(t)
	s := db.Store(t)
	_, err := s.UpsertChannel(t.Context(), postgres.ChannelRow{Integration: "WHATSAPP-BAILEYS",
		Channel: conversation.Channel{Name: "zap", Tenant: "default", HookSecretSHA256: sha256.Sum256([]byte("hook"))}})
	require.NoError(t, err)
	ch, err := s.Channel(t.Context(), "zap")
	require.NoError(t, err)

	c, log := l.client(), slog.New(slog.DiscardHandler)
	monitor := channel.NewMonitor(channel.MonitorConfig{Store: s, Phone: c, Poll: 50 * time.Millisecond, Refresh: 20 * time.Millisecond, Logger: log})
	hooks := ingest.New(ingest.Config{Store: s, Decode: evolution.Decode, Happened: monitor.Happened, Own: func() {}, Attached: func() {}, Wake: func() {},
		Observer: nobody{}, Logger: log})
	sweeper := channel.NewSweeper(channel.SweepConfig{Store: s, Phone: c, Receive: hooks.Receive, Every: 200 * time.Millisecond, Poll: 20 * time.Millisecond, Logger: log})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	running.Go(func() { monitor.Run(ctx) })
	running.Go(func() { sweeper.Run(ctx) })
	pg := db.Conn(t)
	messages := func() (list string) {
		require.NoError(t, pg.QueryRow(t.Context(), `select coalesce(string_agg(text, ' ' order by seq), '') from inbox where kind = 'message' and state = 'pending'`).Scan(&list))
		return list
	}

	// Written while the phone was away, and every webhook of it is lost: the sweep that follows the opening brings them.
	at := time.Now().Add(-5 * time.Minute).Unix()
	for i, text := range []string{"um", "dois", "três"} {
		body, _ := json.Marshal(map[string]any{"instance": "zap", "remoteJid": contact, "text": text, "at": at + int64(i)})
		l.lab("POST", "/receive", string(body))
	}
	l.lab("POST", "/webhooks/drop", `{"event":"messages.upsert","count":-1}`)
	l.lab("POST", "/pair", `{"instance":"zap","number":"5511900000000"}`)
	eventually(t, "all three, in their order", func() bool { return messages() == "um dois três" })

	// A silent drop, and a message told by one of two webhooks.
	l.lab("POST", "/disconnect", `{"instance":"zap","silent":true}`)
	eventually(t, "the drop to be noticed", func() bool { return !monitor.Connected()["zap"] })
	l.lab("POST", "/receive", `{"instance":"zap","remoteJid":"9@lid","remoteJidAlt":"`+contact+`","text":"quatro"}`)
	l.lab("POST", "/pair", `{"instance":"zap","number":"5511900000000"}`)
	eventually(t, "the fourth", func() bool { return messages() == "um dois três quatro" })
	l.lab("POST", "/webhooks/drop", `{"event":"messages.upsert","count":0}`)
	l.lab("POST", "/receive", `{"instance":"zap","remoteJid":"`+contact+`","text":"cinco"}`)
	var told received
	for told.body["event"] != "messages.upsert" {
		told = <-l.hook.events
	}
	raw, err := json.Marshal(told.body)
	require.NoError(t, err)
	_, err = hooks.Receive(t.Context(), ch, raw)
	require.NoError(t, err)
	var now time.Time
	require.NoError(t, pg.QueryRow(t.Context(), "select now()").Scan(&now))
	eventually(t, "another sweep to end", func() bool {
		var ended bool
		require.NoError(t, pg.QueryRow(t.Context(), "select sweep_due between $1::timestamptz + interval '200 ms' and now() + interval '1 minute' from channel", now).Scan(&ended))
		return ended
	})
	require.Equal(t, "um dois três quatro cinco", messages(), "nothing twice")
	var conversations int
	require.NoError(t, pg.QueryRow(t.Context(), "select count(*) from conversation").Scan(&conversations))
	require.Equal(t, 1, conversations, "a @lid in Evolution's database is the same contact")
}

type nobody struct{}

func (nobody) Received(string, string) {}
