package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"plantao/cmd/plantao/engine"
	"plantao/cmd/plantao/text"
	"plantao/runtime/client"
	"plantao/runtime/conversation"
)

// Where the router is and with what token, when the flags do not say.
const (
	routerURLEnv       = "PLANTAO_ROUTER_URL"
	routerTokenEnv     = "PLANTAO_ROUTER_TOKEN"
	routerTokenFileEnv = "PLANTAO_ROUTER_TOKEN_FILE"
)

// routerTokenOutput is the stack output that holds the operator's token.
const routerTokenOutput = "routerOperatorToken"

// pulumiDeadline bounds the reading of a stack output, which takes a second or two.
const pulumiDeadline = time.Minute

// attempts are how often a request is sent before the router counts as away.
const attempts = 5

// routerOptions of every command that asks the router.
type routerOptions struct {
	Stack string
	// URL is the router's; empty means PLANTAO_ROUTER_URL, else that of the running stack.
	URL  string
	JSON bool
}

func (o *routerOptions) add(p *program, flags *pflag.FlagSet) {
	stackFlag(p, flags, &o.Stack)
	flags.StringVar(&o.URL, "url", "", p.text.Say(text.FlagURL))
	flags.BoolVar(&o.JSON, "json", false, p.text.Say(text.FlagJSON))
}

// suffix is what a command that is told as the next one needs to reach the same router.
func (o *routerOptions) suffix() string {
	said := ""
	if o.Stack != "dev" {
		said += " --stack " + o.Stack
	}
	if o.URL != "" {
		said += " --url " + o.URL
	}
	return said
}

// router is the router as one command reaches it.
type router struct {
	program *program
	client  *client.Client
	opts    routerOptions
	// tokenFrom is the variable the token came from; empty means the stack's output.
	tokenFrom string
}

// reach finds the router and the token. The router is not asked yet.
func (p *program) reach(ctx context.Context, opts routerOptions) (*router, error) {
	address, err := p.routerURL(ctx, opts)
	if err != nil {
		return nil, err
	}
	r := &router{program: p, opts: opts}
	token, err := r.token(ctx)
	if err != nil {
		return nil, err
	}
	r.client, err = client.New(client.Config{URL: address, Token: token, Transport: transport()})
	return r, err
}

func (r *router) close() { r.client.Close() }

// transport dials this machine for every name under localhost, as browsers do (RFC 6761, section 6.3): not every resolver
// knows them. The Host header stays, by which the ingress tells its services apart.
func transport() http.RoundTripper {
	dialer := &net.Dialer{Timeout: 3 * time.Second}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err == nil && (host == "localhost" || strings.HasSuffix(host, ".localhost")) {
				address = net.JoinHostPort("127.0.0.1", port)
			}
			return dialer.DialContext(ctx, network, address)
		},
		TLSHandshakeTimeout: 5 * time.Second,
	}
}

func (p *program) routerURL(ctx context.Context, opts routerOptions) (string, error) {
	if named := cmp.Or(opts.URL, p.getenv(routerURLEnv)); named != "" {
		return checkRouterURL(named)
	}
	e, err := p.open()
	if err != nil {
		return "", err
	}
	defer e.Close()
	containers, err := look(ctx, p, e, opts.Stack)
	if err != nil {
		return "", text.Because(err, text.RouterUnseen)
	}
	for _, c := range containers {
		if isRouter(c) && c.URL != "" {
			return c.URL, nil
		}
	}
	return "", notFound(text.RouterMissing, opts.Stack)
}

func isRouter(c engine.Container) bool { return strings.HasPrefix(c.Service, "router-") }

// checkRouterURL refuses what is no base URL. One with a password in it is not repeated: URLs are printed.
func checkRouterURL(named string) (string, error) {
	u, err := url.Parse(named)
	switch {
	case err != nil:
		return "", usage(text.RouterURLBad, "")
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "":
		return "", usage(text.RouterURLBad, u.Redacted())
	}
	return named, nil
}

func (r *router) token(ctx context.Context) (string, error) {
	p := r.program
	if token := strings.TrimSpace(p.getenv(routerTokenEnv)); token != "" {
		r.tokenFrom = routerTokenEnv
		return token, nil
	}
	if path := p.getenv(routerTokenFileEnv); path != "" {
		r.tokenFrom = routerTokenFileEnv
		body, err := os.ReadFile(path)
		token := strings.TrimSpace(string(body))
		switch {
		case err != nil:
			return "", text.Because(err, text.TokenFileBroken, routerTokenFileEnv, path)
		case token == "":
			return "", text.Fail(text.TokenFileEmpty, routerTokenFileEnv, path)
		}
		return token, nil
	}
	return p.stackToken(ctx, r.opts.Stack)
}

// showToken is the command that shows the stack's token.
func showToken(stack string) string {
	return "pulumi stack output --stack " + stack + " --show-secrets " + routerTokenOutput
}

// stackToken reads the stack's output with Pulumi, since the state is encrypted with what only Pulumi is told. The token
// comes back through a pipe: it stands in no argument and no file.
func (p *program) stackToken(ctx context.Context, stack string) (string, error) {
	project, err := p.projectDir()
	if err != nil {
		return "", err
	}
	if project == "" {
		return "", text.Fail(text.TokenNoProject)
	}
	pulumi, err := findPulumi()
	if err != nil {
		return "", text.Because(err, text.TokenNoPulumi)
	}
	ctx, cancel := context.WithTimeout(ctx, pulumiDeadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, pulumi, "stack", "output", "--stack", stack, "--show-secrets", "--non-interactive", "--color", "never", routerTokenOutput)
	cmd.Dir, cmd.WaitDelay = project, 3*time.Second
	cmd.Env = append(os.Environ(), p.passphraseEnviron()...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	token := strings.TrimSpace(out.String())
	switch {
	case ctx.Err() != nil:
		return "", text.Because(ctx.Err(), text.TokenNotRead, stack, showToken(stack))
	case err != nil || token == "":
		return "", text.Because(errors.New(cmp.Or(lastLine(errs.String()), fmt.Sprint(err))), text.TokenNotRead, stack, showToken(stack))
	}
	return token, nil
}

// findPulumi is the pulumi on PATH, else the one that `make setup` put aside: this command is also typed in a new shell.
func findPulumi() (string, error) {
	found, err := exec.LookPath("pulumi")
	if err == nil {
		return found, nil
	}
	cache, noCache := os.UserCacheDir()
	if noCache != nil {
		return "", err
	}
	aside := filepath.Join(cache, "plantao", "bin", "pulumi")
	if _, missing := os.Stat(aside); missing != nil {
		return "", err
	}
	return aside, nil
}

// passphraseEnviron names the default passphrase file to Pulumi where the environment has none, as the Makefile does.
func (p *program) passphraseEnviron() []string {
	environ := []string{"PULUMI_SKIP_UPDATE_CHECK=1"}
	if p.getenv(passphraseEnv) != "" || p.getenv(passphraseFileEnv) != "" {
		return environ
	}
	path, err := passphrasePath()
	if err != nil {
		return environ // Pulumi will say what it misses
	}
	return append(environ, passphraseFileEnv+"="+path)
}

// lastLine is the last line that says something.
func lastLine(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// insist sends a request until the router answers it, a few times. What was asked carries its key, so that sending it again
// after an unknown outcome is safe.
func (r *router) insist(ctx context.Context, send func() error) error {
	for attempt := 1; ; attempt++ {
		err := send()
		if !unanswered(err) || attempt == attempts {
			return err
		}
		r.program.note(text.RouterSilent, attempt+1, attempts)
		if !conversation.Pause(ctx, r.program.backoff(attempt)) {
			return ctx.Err()
		}
	}
}

// unanswered says that nobody knows whether the request was carried out.
func unanswered(err error) bool {
	return errors.Is(err, client.ErrUnreachable) || errors.Is(err, conversation.ErrUnavailable)
}

// silence is why no answer came. A router that says it cannot answer now has no more to say.
func silence(err error) error {
	if errors.Is(err, client.ErrUnreachable) {
		return err
	}
	return nil
}

// ask is insist for a reading.
func ask[T any](ctx context.Context, r *router, read func() (T, error)) (T, error) {
	var got T
	err := r.insist(ctx, func() (err error) {
		got, err = read()
		return err
	})
	if unanswered(err) {
		return got, text.Because(silence(err), text.RouterAway, r.opts.suffix())
	}
	return got, err
}
