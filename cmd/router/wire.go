package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"plantao/runtime/chatwoot"
	"plantao/runtime/conversation"
	"plantao/runtime/desk"
	"plantao/runtime/evolution"
	"plantao/runtime/n8n"
	"plantao/runtime/postgres"
	"plantao/runtime/routing"
	"plantao/runtime/seal"
)

func wireCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "wire", Short: "Write the channels and set Evolution, Chatwoot and n8n up for them", Args: cobra.NoArgs,
		Long: "Write the channels, and the operator's API token if one is configured, into the database and set Evolution,\n" +
			"Chatwoot and n8n up for them. What is as it should be is left alone, so running it again changes nothing and\n" +
			"says so. Needs a configuration of its own, with secrets the serving router never has.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s := o.sources()
			c, err := loadWire(s)
			if err != nil {
				return err
			}
			w := wiring{c: c, log: o.logger(c.LogLevel)}
			err = w.run(cmd.Context())
			for _, line := range w.lines { // also after a failure: what was done before it is done
				fmt.Fprintln(o.stdout, line)
			}
			if err != nil {
				return err
			}
			if !w.changed {
				fmt.Fprintln(o.stdout, "nothing changed")
			}
			return nil
		},
	}
}

// wiring is one run of `router wire`.
type wiring struct {
	c       wireConfig
	log     *slog.Logger
	lines   []string
	changed bool
}

func (w *wiring) note(changed bool, format string, args ...any) {
	w.changed = w.changed || changed
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

// run works in the order of dependence: flows answer before webhooks come in.
func (w *wiring) run(ctx context.Context) error {
	if err := w.database(ctx); err != nil {
		return err
	}
	if w.c.N8N.URL != "" {
		if err := w.waitFor(ctx, "n8n", w.flows); err != nil {
			return fmt.Errorf("wire n8n: %w", err)
		}
	}
	if w.c.Chatwoot.URL != "" {
		if err := w.waitFor(ctx, "chatwoot", w.inboxes); err != nil {
			return fmt.Errorf("wire chatwoot: %w", err)
		}
	}
	if err := w.waitFor(ctx, "evolution", w.instances); err != nil {
		return fmt.Errorf("wire evolution: %w", err)
	}
	return nil
}

// database writes what the router itself reads: channels and tokens.
func (w *wiring) database(ctx context.Context) error {
	store, err := postgres.Open(w.c.Database.postgres("router-wire"))
	if err != nil {
		return err
	}
	defer store.Close()
	err = w.waitFor(ctx, "database", func(ctx context.Context) error {
		err := store.CheckSchema(ctx)
		if err == nil || errors.Is(err, postgres.ErrSchema) {
			return err
		}
		return errors.Join(errNotReady, err)
	})
	if err != nil {
		return err
	}
	if err := w.channels(ctx, store); err != nil {
		return err
	}
	if err := w.policies(ctx, store); err != nil {
		return err
	}
	if err := w.rules(ctx, store); err != nil {
		return err
	}
	if !w.c.API.OperatorToken.Set() {
		return nil
	}
	return w.operatorToken(ctx, store)
}

// rules puts the stack's rules in force.
func (w *wiring) rules(ctx context.Context, store *postgres.Store) error {
	if w.c.RulesFile == "" {
		return nil
	}
	text, err := os.ReadFile(w.c.RulesFile)
	if err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	r, changed, err := routing.PutInForce(ctx, store, conversation.Rulebook{Tenant: conversation.DefaultTenant, Text: string(text), By: "operator:stack"})
	if err != nil {
		return err
	}
	done := "unchanged"
	if changed {
		done = "put in force"
	}
	w.note(changed, "rules %s: %s", r.Version, done)
	return nil
}

func (w *wiring) channels(ctx context.Context, store *postgres.Store) error {
	for _, ch := range w.c.Channels {
		done, err := store.UpsertChannel(ctx, postgres.ChannelRow{
			Channel: conversation.Channel{
				Name: ch.Name, Tenant: conversation.DefaultTenant, Flow: ch.Flow,
				HookSecretSHA256: sha256.Sum256([]byte(ch.HookSecret.Reveal())),
			},
			Integration: ch.Integration, Number: ch.Number,
		})
		if err != nil {
			return err
		}
		w.note(done != "unchanged", "channel %s: %s", ch.Name, done)
	}
	return nil
}

// policies writes how the flows are treated.
func (w *wiring) policies(ctx context.Context, store *postgres.Store) error {
	for _, f := range w.c.Flows {
		done, err := store.PutPolicy(ctx, conversation.DefaultTenant, f.Name, conversation.MidTurn(f.MidTurn), f.Holding)
		if err != nil {
			return err
		}
		w.note(done != "unchanged", "policies of flow %s: %s", f.Name, done)
	}
	return nil
}

// operatorTokenName is the token's name and its agent's id.
const operatorTokenName = "operator"

// operatorToken makes the token of the configuration the operator's. One that was revoked by hand works again: what the stack
// declares is so. To end it for good, the stack draws another.
func (w *wiring) operatorToken(ctx context.Context, store *postgres.Store) error {
	want := conversation.Principal{
		Tenant: conversation.DefaultTenant, Token: operatorTokenName, Scopes: conversation.Scopes(),
		Actor: conversation.Actor{Kind: conversation.ActorOperator, ID: operatorTokenName},
	}
	secret := w.c.API.OperatorToken.Reveal()
	has, err := store.Authenticate(ctx, sha256.Sum256([]byte(secret)))
	switch {
	case err == nil && reflect.DeepEqual(has, want):
		w.note(false, "token %s: unchanged", operatorTokenName)
		return nil
	case err != nil && !errors.Is(err, conversation.ErrBadToken):
		return err
	}
	rows, err := store.Tokens(ctx, conversation.DefaultTenant)
	if err != nil {
		return err
	}
	done := "created"
	if slices.ContainsFunc(rows, func(r postgres.TokenRow) bool { return r.Token == operatorTokenName }) {
		done = "updated"
	}
	if err := store.PutToken(ctx, want, secret); err != nil {
		return err
	}
	w.note(true, "token %s: %s", operatorTokenName, done)
	return nil
}

func (w *wiring) flows(ctx context.Context) error {
	result, err := n8n.Install(ctx, n8n.InstallConfig{
		URL: w.c.N8N.URL, OwnerEmail: w.c.N8N.OwnerEmail, OwnerPassword: w.c.N8N.OwnerPassword.Reveal(),
		FlowToken: w.c.N8N.FlowToken.Reveal(), Workflows: os.DirFS(w.c.N8N.WorkflowsDir), Logger: w.log,
	})
	if err != nil {
		return err
	}
	for _, f := range result.Workflows {
		w.note(f.Changed, "flow %s: %s", f.Name, changedWord(f.Changed))
	}
	return nil
}

// inboxes makes an inbox and a bot for each channel and keeps what only Chatwoot could choose, sealed.
func (w *wiring) inboxes(ctx context.Context) error {
	c := w.c.Chatwoot
	sealer, err := seal.New([]byte(w.c.Turn.Key.Reveal()), desk.SealPurpose)
	if err != nil {
		return err
	}
	store, err := postgres.Open(w.c.Database.postgres("router-wire"))
	if err != nil {
		return err
	}
	defer store.Close()
	specs := make([]chatwoot.InboxSpec, 0, len(w.c.Channels))
	for _, ch := range w.c.Channels {
		hook := strings.TrimRight(c.WebhookURL, "/") + "/" + ch.Name
		spec := chatwoot.InboxSpec{InboxName: ch.Name, WebhookURL: hook, BotURL: hook + "/bot"}
		if c.InboxName != "" {
			spec.InboxName = c.InboxName
		}
		specs = append(specs, spec)
	}
	made, err := chatwoot.EnsureInboxes(ctx, chatwoot.InboxConfig{
		URL: c.URL, Email: c.AdminEmail, Password: chatwoot.Secret(c.AdminPassword.Reveal()), AccountName: c.AccountName, Logger: w.log,
	}, specs)
	for i, in := range made {
		done, err := putDesk(ctx, store, sealer, w.c.Channels[i].Name, in)
		if err != nil {
			return err
		}
		w.note(in.Changed || done != "unchanged", "inbox %s: %s", specs[i].InboxName, changedWord(in.Changed || done != "unchanged"))
	}
	return err
}

// putDesk writes what was set up. Secrets that are as they were are not sealed anew: the row stays as it is.
func putDesk(ctx context.Context, store *postgres.Store, sealer *seal.Sealer, channel string, in chatwoot.Inbox) (string, error) {
	want := desk.Secrets{HookSecret: in.Secret, BotSecret: in.Bot.Secret, BotToken: in.Bot.Token, UserToken: in.UserToken}
	row := conversation.Desk{Channel: channel, Tenant: conversation.DefaultTenant, Account: in.AccountID, Inbox: in.ID, Bot: in.Bot.ID}
	had, err := store.Desk(ctx, channel)
	if err != nil && !errors.Is(err, conversation.ErrUnknownChannel) {
		return "", err
	}
	if has, err := desk.Open(sealer, had); err == nil && has == want {
		row.HookSecret, row.BotSecret, row.BotToken, row.UserToken = had.HookSecret, had.BotSecret, had.BotToken, had.UserToken
	} else if err := want.Seal(sealer, &row); err != nil {
		return "", err
	}
	return store.PutDesk(ctx, row)
}

func (w *wiring) instances(ctx context.Context) error {
	client := evolution.NewClient(evolution.ClientConfig{
		URL: w.c.Evolution.URL, APIKey: w.c.Evolution.APIKey.Reveal(), Timeout: w.c.Evolution.Timeout,
	})
	defer client.Close()
	for _, ch := range w.c.Channels {
		changed, err := client.EnsureInstance(ctx, evolution.InstanceConfig{
			Name: ch.Name, Integration: ch.Integration, Number: ch.Number, HookURL: ch.HookURL,
			HookSecret: ch.HookSecret.Reveal(), SignHooks: ch.HookAuth == hookAuthToken,
		})
		if err != nil {
			return err
		}
		word := "unchanged"
		if len(changed) > 0 {
			word = "set " + strings.Join(changed, ", ")
		}
		w.note(len(changed) > 0, "evolution instance %s: %s", ch.Name, word)
	}
	return nil
}

func changedWord(changed bool) string {
	if changed {
		return "changed"
	}
	return "unchanged"
}

// errNotReady marks an error that waiting may cure.
var errNotReady = errors.New("not ready")

// waitFor repeats a step as long as the neighbour does not answer at all, or says that it is not ready. A refusal is final.
func (w *wiring) waitFor(ctx context.Context, what string, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, w.c.Wait)
	defer cancel()
	lines := len(w.lines)
	for attempt := 1; ; attempt++ {
		err := step(ctx)
		if err == nil || !notReady(err) {
			return err
		}
		if attempt == 1 {
			w.log.InfoContext(ctx, "waiting for "+what, "err", err)
		}
		if !conversation.Pause(ctx, conversation.Backoff(attempt, 200*time.Millisecond, 3*time.Second)) {
			return fmt.Errorf("%s did not get ready within %s: %w", what, w.c.Wait, err)
		}
		w.lines = w.lines[:lines] // the next try tells it all again; that something changed is kept
	}
}

func notReady(err error) bool {
	var (
		ue *url.Error
		ne net.Error
		pe *fs.PathError
		se *evolution.StatusError
	)
	switch {
	case errors.As(err, &se):
		return se.Status == http.StatusBadGateway || se.Status == http.StatusServiceUnavailable
	case errors.As(err, &pe):
		return false // a file of ours; the error number in it would pass for a network's
	}
	// A published port whose container is still starting takes the connection and closes it: EOF.
	return errors.Is(err, errNotReady) || errors.Is(err, io.EOF) || errors.As(err, &ue) || errors.As(err, &ne)
}
