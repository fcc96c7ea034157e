package desk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"plantao/runtime/chatwoot"
	"plantao/runtime/conversation"
	"plantao/runtime/seal"
)

// secretsTTL is how long a channel's secrets are believed without asking the database again. A signature that does not fit is always
// checked with fresh ones, so what `router wire` read back works at once.
const secretsTTL = 5 * time.Second

// SealPurpose names the key that Chatwoot's secrets are sealed with, derived from the routers' shared one.
const SealPurpose = "plantao chatwoot secrets 1"

// Secrets are a desk's, open.
type Secrets struct {
	HookSecret, BotSecret, BotToken, UserToken chatwoot.Secret
}

// Seal puts them into d.
func (s Secrets) Seal(with *seal.Sealer, d *conversation.Desk) error {
	for _, f := range s.fields(d) {
		sealed, err := with.Seal(string(*f.open), d.Channel, f.name)
		if err != nil {
			return fmt.Errorf("seal %s: %w", f.name, err)
		}
		*f.sealed = sealed
	}
	return nil
}

// Open gives the secrets of d back; seal.ErrOpen if the shared key is another than they were sealed with.
func Open(with *seal.Sealer, d conversation.Desk) (s Secrets, err error) {
	for _, f := range s.fields(&d) {
		open, err := with.Open(*f.sealed, d.Channel, f.name)
		if err != nil {
			return Secrets{}, fmt.Errorf("open %s of channel %q: %w; run `router wire` with the key the routers have", f.name, d.Channel, err)
		}
		*f.open = chatwoot.Secret(open)
	}
	return s, nil
}

type sealedField struct {
	name   string
	open   *chatwoot.Secret
	sealed *[]byte
}

func (s *Secrets) fields(d *conversation.Desk) []sealedField {
	return []sealedField{
		{"hook_secret", &s.HookSecret, &d.HookSecret}, {"bot_secret", &s.BotSecret, &d.BotSecret},
		{"bot_token", &s.BotToken, &d.BotToken}, {"user_token", &s.UserToken, &d.UserToken},
	}
}

// HooksConfig holds what Hooks needs; every field is required.
type HooksConfig struct {
	Store interface {
		Desk(ctx context.Context, channel string) (conversation.Desk, error)
		HearDesk(ctx context.Context, e conversation.DeskEvent) (bool, error)
	}
	Sealer *seal.Sealer
	Wake   func() // called after a commit that gives the desk work
	Logger *slog.Logger
}

// Hooks takes Chatwoot's webhooks in. Safe for concurrent use.
type Hooks struct {
	c  HooksConfig
	mu sync.Mutex
	by map[string]knownDesk
}

type knownDesk struct {
	conversation.Desk
	secrets Secrets
	read    time.Time
}

// NewHooks makes Hooks.
func NewHooks(c HooksConfig) *Hooks { return &Hooks{c: c, by: map[string]knownDesk{}} }

// Known says whether the channel has a desk, before a body is read for it. Errors: conversation.ErrUnknownChannel, ErrUnavailable.
func (h *Hooks) Known(ctx context.Context, channel string) error {
	if _, ok := h.cached(channel); ok {
		return nil
	}
	_, err := h.read(ctx, channel)
	return err
}

// Receive checks the signature, of the bot's webhooks or the inbox's, and commits what the body is about. The head was checked already.
// Errors: conversation.ErrBadSignature, ErrMalformed, ErrUnknownChannel, ErrUnavailable.
func (h *Hooks) Receive(ctx context.Context, channel string, bot bool, head chatwoot.Signed, body []byte) (duplicate bool, err error) {
	d, err := h.authorize(ctx, channel, bot, head, body)
	if err != nil {
		return false, err
	}
	e, err := chatwoot.Decode(body)
	if err != nil {
		return false, err
	}
	// A bot of the account hears of its other inboxes too, once it is connected to them. They are not this channel's.
	ours := e.Account == d.Account && e.Inbox == d.Inbox
	event := conversation.DeskEvent{Tenant: d.Tenant, Channel: d.Channel, Delivery: head.Delivery, Name: e.Name, Account: e.Account, Body: body}
	if ours {
		event.Display, event.Look = e.Display, e.Look
	}
	duplicate, err = h.c.Store.HearDesk(ctx, event)
	if err == nil && !duplicate && event.Look {
		h.c.Wake()
	}
	return duplicate, err
}

func (h *Hooks) authorize(ctx context.Context, channel string, bot bool, head chatwoot.Signed, body []byte) (knownDesk, error) {
	check := func(d knownDesk) error {
		if bot {
			return head.Check(string(d.secrets.BotSecret), body)
		}
		return head.Check(string(d.secrets.HookSecret), body)
	}
	if d, ok := h.cached(channel); ok && check(d) == nil {
		return d, nil
	}
	d, err := h.read(ctx, channel)
	if err != nil {
		return d, err
	}
	return d, check(d)
}

func (h *Hooks) cached(channel string) (knownDesk, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, ok := h.by[channel]
	return d, ok && time.Since(d.read) < secretsTTL
}

func (h *Hooks) read(ctx context.Context, channel string) (knownDesk, error) {
	row, err := h.c.Store.Desk(ctx, channel)
	if err != nil {
		return knownDesk{}, err
	}
	secrets, err := Open(h.c.Sealer, row)
	if err != nil {
		h.c.Logger.ErrorContext(ctx, "secrets of a channel's desk cannot be opened", "channel", channel, "err", err)
		return knownDesk{}, errors.Join(conversation.ErrUnavailable, err)
	}
	d := knownDesk{Desk: row, secrets: secrets, read: time.Now()}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.by[channel] = d
	return d, nil
}
