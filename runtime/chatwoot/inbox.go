package chatwoot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Sentinels of EnsureInbox; the error that wraps them says what to do.
var (
	// ErrOnboardingOpen: anybody who opens the installation's onboarding page becomes administrator.
	ErrOnboardingOpen = errors.New("the onboarding page is still open")
	// ErrSignIn: e-mail or password is wrong, or the user is not confirmed.
	ErrSignIn = errors.New("sign-in refused")
	// ErrNoAccount: the user is no administrator of an account of that name.
	ErrNoAccount = errors.New("account not usable")
)

// InboxConfig says which inbox must exist. All texts are required.
type InboxConfig struct {
	URL         string // where Chatwoot answers, such as http://chatwoot:3000
	Email       string // of an administrator
	Password    Secret
	AccountName string // must exist; bootstrap.rb makes it
	InboxName   string
	WebhookURL  string // where Chatwoot posts the inbox's events
	// BotURL is where Chatwoot posts the bot's events. Empty: the inbox gets no bot.
	BotURL string
	// HTTP is used without following redirects. Nil: a client of its own, without proxy.
	HTTP *http.Client
	// Logger gets changes and waiting. Nil: nothing is logged.
	Logger *slog.Logger
}

// Inbox is what exists after EnsureInbox.
type Inbox struct {
	AccountID, ID int64
	Identifier    string // of the public client API
	Secret        Secret // signs the inbox's webhooks: HMAC-SHA256 over timestamp + "." + body
	UserToken     Secret // the administrator's
	Bot           Bot    // the zero value without BotURL
	Changed       bool   // this run created or corrected something
}

// Bot is the agent bot connected to an inbox. As long as it is, new conversations are pending.
type Bot struct {
	ID     int64
	Token  Secret // for the few calls a bot may make
	Secret Secret // signs the bot's webhooks, as the inbox's
}

// retryInterval is the pause between two tries while Chatwoot starts or throttles.
const retryInterval = time.Second

// InboxSpec is one of several inboxes of the same account.
type InboxSpec struct{ InboxName, WebhookURL, BotURL string }

// EnsureInboxes is EnsureInbox for several, in one session: Chatwoot allows few sign-ins. The specs' fields take the place of cfg's.
func EnsureInboxes(ctx context.Context, cfg InboxConfig, specs []InboxSpec) ([]Inbox, error) {
	e := newEnsurer(cfg)
	defer e.client.http.CloseIdleConnections()
	for _, s := range specs {
		e.cfg.InboxName, e.cfg.WebhookURL, e.cfg.BotURL = s.InboxName, s.WebhookURL, s.BotURL
		if err := e.cfg.validate(); err != nil {
			return nil, err
		}
	}
	account, err := e.enter(ctx)
	if err != nil {
		return nil, err
	}
	made := make([]Inbox, 0, len(specs))
	for _, s := range specs {
		e.cfg.InboxName, e.cfg.WebhookURL, e.cfg.BotURL = s.InboxName, s.WebhookURL, s.BotURL
		in, err := e.one(ctx, account)
		if err != nil {
			return made, fmt.Errorf("inbox %q: %w", s.InboxName, err)
		}
		made = append(made, in)
	}
	return made, nil
}

// EnsureInbox waits for Chatwoot, bounded by ctx alone, and makes sure that the account has exactly one API inbox of the
// name, with the webhook URL. It is safe to run again: a second run changes nothing. Two runs at the same time may each
// create an inbox, since Chatwoot has nothing that would stop the second; the next run then reports the two.
func EnsureInbox(ctx context.Context, cfg InboxConfig) (Inbox, error) {
	if err := cfg.validate(); err != nil {
		return Inbox{}, err
	}
	e := newEnsurer(cfg)
	defer e.client.http.CloseIdleConnections()
	account, err := e.enter(ctx)
	if err != nil {
		return Inbox{}, err
	}
	return e.one(ctx, account)
}

func newEnsurer(cfg InboxConfig) *ensurer {
	e := &ensurer{cfg: cfg, client: newClient(cfg.URL, cfg.HTTP), log: cfg.Logger}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	return e
}

func (c InboxConfig) validate() error {
	var problems []error
	for _, f := range []struct{ name, value string }{
		{"email", c.Email}, {"password", string(c.Password)}, {"account name", c.AccountName}, {"inbox name", c.InboxName},
	} {
		if strings.TrimSpace(f.value) == "" {
			problems = append(problems, fmt.Errorf("chatwoot: %s must be set", f.name))
		}
	}
	urls := []struct{ name, value string }{{"url", c.URL}, {"webhook url", c.WebhookURL}}
	if c.BotURL != "" {
		urls = append(urls, struct{ name, value string }{"bot url", c.BotURL})
	}
	for _, f := range urls {
		u, err := url.Parse(f.value)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			problems = append(problems, fmt.Errorf("chatwoot: %s must be an http or https URL such as http://chatwoot:3000", f.name))
		} else if u.User != nil {
			problems = append(problems, fmt.Errorf("chatwoot: %s must not hold a user or password", f.name))
		}
	}
	return errors.Join(problems...)
}

// ensurer is one run.
type ensurer struct {
	cfg    InboxConfig
	client *client
	log    *slog.Logger
}

// enter waits, signs in, and finds the account.
func (e *ensurer) enter(ctx context.Context) (account int64, err error) {
	if err := e.waitReady(ctx); err != nil {
		return 0, err
	}
	open, err := e.client.onboardingOpen(ctx)
	if err != nil {
		return 0, fmt.Errorf("look at chatwoot's start page: %w", err)
	}
	if open {
		return 0, fmt.Errorf(`%w: run "bundle exec rails runner bootstrap.rb" in chatwoot's prepare job, then try again`, ErrOnboardingOpen)
	}
	who, err := e.signIn(ctx)
	if err != nil {
		return 0, err
	}
	e.client.token = Secret(who.AccessToken)
	return e.account(who)
}

// one makes sure of one inbox and its bot.
func (e *ensurer) one(ctx context.Context, account int64) (Inbox, error) {
	in, err := e.ensure(ctx, account)
	if err != nil || e.cfg.BotURL == "" {
		return in, err
	}
	in.UserToken = e.client.token
	return e.ensureBot(ctx, in)
}

// botPrefix begins the names of the bots made here, before the inbox's name.
const botPrefix = "Plantão: "

// ensureBot makes the bot, connects it, and reads back what only Chatwoot can choose. Names of bots are not unique either: see find.
func (e *ensurer) ensureBot(ctx context.Context, in Inbox) (Inbox, error) {
	name := botPrefix + e.cfg.InboxName
	list, err := e.client.bots(ctx, in.AccountID)
	if err != nil {
		return Inbox{}, fmt.Errorf("list agent bots: %w", err)
	}
	var found *bot
	for i, b := range list {
		if b.Name != name || b.AccountID == nil || *b.AccountID != in.AccountID {
			continue
		}
		if found != nil {
			return Inbox{}, fmt.Errorf("agent bots %d and %d are both named %q: delete or rename the one the router does not use", found.ID, b.ID, name)
		}
		found = &list[i]
	}
	switch {
	case found == nil:
		made, err := e.client.createBot(ctx, in.AccountID, name, e.cfg.BotURL)
		if err != nil {
			return Inbox{}, fmt.Errorf("create agent bot %q: %w", name, err)
		}
		found, in.Changed = &made, true
		e.log.InfoContext(ctx, "chatwoot agent bot created", "account", in.AccountID, "bot", made.ID)
	case found.OutgoingURL == nil || *found.OutgoingURL != e.cfg.BotURL:
		if err := e.client.setOutgoingURL(ctx, in.AccountID, found.ID, e.cfg.BotURL); err != nil {
			return Inbox{}, fmt.Errorf("set the url of agent bot %d: %w", found.ID, err)
		}
		in.Changed = true
		e.log.InfoContext(ctx, "chatwoot agent bot url corrected", "account", in.AccountID, "bot", found.ID)
	}
	connected, err := e.client.inboxBot(ctx, in.AccountID, in.ID)
	if err != nil {
		return Inbox{}, fmt.Errorf("read the bot of inbox %d: %w", in.ID, err)
	}
	if connected != found.ID {
		if err := e.client.setInboxBot(ctx, in.AccountID, in.ID, found.ID); err != nil {
			return Inbox{}, fmt.Errorf("connect agent bot %d to inbox %d: %w", found.ID, in.ID, err)
		}
		in.Changed = true
		e.log.InfoContext(ctx, "chatwoot agent bot connected", "inbox", in.ID, "bot", found.ID, "instead_of", connected)
	}
	has, err := e.client.bot(ctx, in.AccountID, found.ID)
	switch {
	case err != nil:
		return Inbox{}, fmt.Errorf("read agent bot %d: %w", found.ID, err)
	case has.OutgoingURL == nil || *has.OutgoingURL != e.cfg.BotURL:
		return Inbox{}, fmt.Errorf("agent bot %d does not keep its url: chatwoot accepted it and shows another", found.ID)
	case has.Secret == "" || has.AccessToken == "":
		return Inbox{}, fmt.Errorf("agent bot %d shows no secret or token: chatwoot signs the webhooks of bots since v4.13.0; upgrade it", found.ID)
	}
	in.Bot = Bot{ID: has.ID, Token: Secret(has.AccessToken), Secret: Secret(has.Secret)}
	return in, nil
}

// waitReady polls GET /api: /health answers before database and queue do.
func (e *ensurer) waitReady(ctx context.Context) error {
	for first := true; ; first = false {
		state, err := e.client.state(ctx)
		switch code := status(err); {
		case err == nil && state.DataServices == "ok" && state.QueueServices == "ok":
			return nil
		case err == nil:
			err = fmt.Errorf("database %q, queue %q", state.DataServices, state.QueueServices)
		case code >= 300 && code < 400:
			return fmt.Errorf("reach chatwoot at %s: %w: it redirects; set FORCE_SSL=false in its environment, or give the address it redirects to", e.cfg.URL, err)
		case code == http.StatusNotFound:
			return fmt.Errorf("reach chatwoot at %s: %w: this is not chatwoot; check the address", e.cfg.URL, err)
		}
		if first {
			e.log.InfoContext(ctx, "waiting for chatwoot", "url", e.cfg.URL, "cause", err.Error())
		}
		if !pause(ctx, retryInterval) {
			return fmt.Errorf("wait for chatwoot at %s: %w (last answer: %w); look at the log of its web container, and whether db:chatwoot_prepare has run",
				e.cfg.URL, context.Cause(ctx), err)
		}
	}
}

// pause returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// signIn reads the profile with a session of its own, which it closes again: a user has 25 at most.
func (e *ensurer) signIn(ctx context.Context) (profile, error) {
	session, err := e.openSession(ctx)
	if err != nil {
		return profile{}, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		if err := e.client.signOut(ctx, session); err != nil {
			e.log.WarnContext(ctx, "chatwoot session not closed", "err", err)
		}
	}()
	who, err := e.client.profile(ctx, session)
	if err != nil {
		return profile{}, fmt.Errorf("read the profile of %s: %w", e.cfg.Email, err)
	}
	return who, nil
}

func (e *ensurer) openSession(ctx context.Context) (http.Header, error) {
	for first := true; ; first = false {
		session, err := e.client.signIn(ctx, e.cfg.Email, e.cfg.Password)
		switch status(err) {
		case http.StatusUnauthorized:
			return nil, fmt.Errorf("%w for %s: %w: the password is set only when the administrator is made, so a later change of the configured one needs a reset in chatwoot",
				ErrSignIn, e.cfg.Email, err)
		case http.StatusPartialContent:
			return nil, fmt.Errorf("%w for %s: this user has two-factor sign-in: configure an administrator without it", ErrSignIn, e.cfg.Email)
		case http.StatusTooManyRequests:
		default:
			if err != nil {
				return nil, fmt.Errorf("sign in to chatwoot as %s: %w", e.cfg.Email, err)
			}
			return session, nil
		}
		if first {
			e.log.WarnContext(ctx, "chatwoot throttles sign-ins, waiting", "url", e.cfg.URL)
		}
		if !pause(ctx, 10*retryInterval) {
			return nil, fmt.Errorf("sign in to chatwoot as %s: %w (%w): it allows 5 sign-ins of an address in 5 minutes; wait and run again",
				e.cfg.Email, context.Cause(ctx), err)
		}
	}
}

func (e *ensurer) account(who profile) (int64, error) {
	var found []account
	names := make([]string, 0, len(who.Accounts))
	for _, a := range who.Accounts {
		names = append(names, fmt.Sprintf("%q", a.Name))
		if a.Name == e.cfg.AccountName {
			found = append(found, a)
		}
	}
	switch {
	case len(found) == 0:
		return 0, fmt.Errorf("%w: %s belongs to no account named %q, only to [%s]: correct the account's name", ErrNoAccount, e.cfg.Email, e.cfg.AccountName, strings.Join(names, ", "))
	case len(found) > 1:
		return 0, fmt.Errorf("%w: %d accounts are named %q: rename one of them", ErrNoAccount, len(found), e.cfg.AccountName)
	case found[0].Role != "administrator":
		return 0, fmt.Errorf("%w: %s is %q in %q: make this user an administrator, only they see an inbox's secret", ErrNoAccount, e.cfg.Email, found[0].Role, e.cfg.AccountName)
	}
	return found[0].ID, nil
}

func (e *ensurer) ensure(ctx context.Context, accountID int64) (Inbox, error) {
	got, err := e.find(ctx, accountID)
	if err != nil {
		return Inbox{}, err
	}
	changed := false
	switch {
	case got == nil:
		made, err := e.client.createInbox(ctx, accountID, e.cfg.InboxName, e.cfg.WebhookURL)
		if err != nil {
			return Inbox{}, fmt.Errorf("create inbox %q: %w", e.cfg.InboxName, err)
		}
		got, changed = &made, true
		e.log.InfoContext(ctx, "chatwoot inbox created", "account", accountID, "inbox", made.ID)
	case got.WebhookURL == nil || *got.WebhookURL != e.cfg.WebhookURL:
		if _, err := e.client.setWebhookURL(ctx, accountID, got.ID, e.cfg.WebhookURL); err != nil {
			return Inbox{}, fmt.Errorf("set the webhook of inbox %d: %w", got.ID, err)
		}
		changed = true
		e.log.InfoContext(ctx, "chatwoot inbox webhook corrected", "account", accountID, "inbox", got.ID)
	}
	return e.readBack(ctx, accountID, got.ID, changed)
}

func (e *ensurer) find(ctx context.Context, accountID int64) (*inbox, error) {
	list, err := e.client.inboxes(ctx, accountID)
	if err != nil {
		return nil, fmt.Errorf("list inboxes: %w", err)
	}
	var found *inbox
	for i, in := range list {
		if in.Name != e.cfg.InboxName || in.ChannelType != channelAPI {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("inboxes %d and %d are both named %q: delete or rename the one the router does not use", found.ID, in.ID, in.Name)
		}
		found = &list[i]
	}
	return found, nil
}

// readBack trusts nothing that was only sent: identifier, secret and URL come from a fresh read.
func (e *ensurer) readBack(ctx context.Context, accountID, id int64, changed bool) (Inbox, error) {
	in, err := e.client.inbox(ctx, accountID, id)
	if err != nil {
		return Inbox{}, fmt.Errorf("read inbox %d: %w", id, err)
	}
	if in.WebhookURL == nil || *in.WebhookURL != e.cfg.WebhookURL {
		return Inbox{}, fmt.Errorf("inbox %d does not keep the webhook url: chatwoot accepted it and shows another", id)
	}
	if in.Secret == "" || in.Identifier == "" {
		return Inbox{}, fmt.Errorf("inbox %d shows no secret: chatwoot signs the webhooks of API inboxes since v4.13.0; upgrade it", id)
	}
	return Inbox{AccountID: accountID, ID: id, Identifier: in.Identifier, Secret: Secret(in.Secret), Changed: changed}, nil
}
