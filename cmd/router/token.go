package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"plantao/runtime/conversation"
	"plantao/runtime/postgres"
)

// tokenBytes is how much randomness a token has.
const tokenBytes = 32

type tokenOptions struct {
	name, agent string
	scopes      []string
	expires     time.Duration
	json        bool
}

func tokenCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "token", Short: "Who may use the API",
		Long: "Who may use the API. The database keeps a token's SHA-256, so its secret is shown once, when it is made.",
	}
	cmd.AddCommand(tokenCreateCommand(o), tokenListCommand(o), tokenRevokeCommand(o))
	return cmd
}

func tokenCreateCommand(o *options) *cobra.Command {
	var t tokenOptions
	cmd := &cobra.Command{
		Use: "create --name NAME --agent KIND:ID --scope SCOPE", Args: cobra.NoArgs,
		Short: "Make a token and print its secret; a token of the same name is replaced",
		Long: "Make a token and print its secret; a token of the same name is replaced.\n\n" +
			"KIND is ai, human or operator: an AI or a human acts in its own name, an operator for anybody.\n" +
			"Scopes: " + strings.Join(scopeNames(), ", ") + ".",
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := t.principal()
			if err != nil {
				return err
			}
			return withStore(o, func(s *postgres.Store) error { return createToken(cmd.Context(), o, s, p) })
		},
	}
	cmd.Flags().StringVar(&t.name, "name", "", "the token's name")
	cmd.Flags().StringVar(&t.agent, "agent", "", "who it is for: ai:FLOW, human:ID or operator:NAME")
	cmd.Flags().StringSliceVar(&t.scopes, "scope", nil, "what it allows; may be given several times")
	cmd.Flags().DurationVar(&t.expires, "expires", 0, "when it ends, from now, as 720h; 0: never")
	return cmd
}

func scopeNames() []string {
	var names []string
	for _, s := range conversation.Scopes() {
		names = append(names, string(s))
	}
	return names
}

// principal checks the flags; all problems are reported together.
func (t tokenOptions) principal() (conversation.Principal, error) {
	var p problems
	kind, id, _ := strings.Cut(t.agent, ":")
	kinds := []string{string(conversation.ActorAI), string(conversation.ActorHuman), string(conversation.ActorOperator)}
	p.require(t.name != "", "--name: required")
	p.require(slices.Contains(kinds, kind) && id != "" && len(id) <= 128, "--agent: %q is not ai:FLOW, human:ID or operator:NAME", t.agent)
	p.require(len(t.scopes) > 0, "--scope: required; one of %s", strings.Join(scopeNames(), ", "))
	p.require(t.expires >= 0, "--expires: %s is negative", t.expires)
	p.require(kind == string(conversation.ActorOperator) || !slices.Contains(t.scopes, string(conversation.ScopeOperate)),
		"--scope: %s is for an operator's token", conversation.ScopeOperate)
	principal := conversation.Principal{
		Tenant: conversation.DefaultTenant, Token: t.name, Actor: conversation.Actor{Kind: conversation.ActorKind(kind), ID: id},
	}
	for _, s := range t.scopes {
		p.require(slices.Contains(scopeNames(), s), "--scope: %q is none of %s", s, strings.Join(scopeNames(), ", "))
		principal.Scopes = append(principal.Scopes, conversation.Scope(s))
	}
	if t.expires > 0 {
		principal.Until = time.Now().Add(t.expires)
	}
	return principal, p.err()
}

func createToken(ctx context.Context, o *options, s *postgres.Store, p conversation.Principal) error {
	var random [tokenBytes]byte
	rand.Read(random[:])
	secret := "plt_" + base64.RawURLEncoding.EncodeToString(random[:])
	if err := s.PutToken(ctx, p, secret); err != nil {
		return err
	}
	_, err := fmt.Fprintln(o.stdout, secret)
	return err
}

func tokenListCommand(o *options) *cobra.Command {
	var t tokenOptions
	cmd := &cobra.Command{
		Use: "list", Short: "List the tokens, without their secrets", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(o, func(s *postgres.Store) error { return listTokens(cmd.Context(), o, s, t.json) })
		},
	}
	cmd.Flags().BoolVar(&t.json, "json", false, "print JSON")
	return cmd
}

// tokenView is a token as it is listed.
type tokenView struct {
	Name    string               `json:"name"`
	Agent   string               `json:"agent"`
	Scopes  []conversation.Scope `json:"scopes"`
	Created time.Time            `json:"created"`
	Expires *time.Time           `json:"expires"`
	Revoked *time.Time           `json:"revoked"`
}

func listTokens(ctx context.Context, o *options, s *postgres.Store, asJSON bool) error {
	rows, err := s.Tokens(ctx, conversation.DefaultTenant)
	if err != nil {
		return err
	}
	views := []tokenView{}
	for _, r := range rows {
		views = append(views, tokenView{Name: r.Token, Agent: r.Actor.String(), Scopes: r.Scopes, Created: r.Created.UTC(),
			Expires: orNil(r.Until), Revoked: orNil(r.Revoked)})
	}
	if asJSON {
		encode := json.NewEncoder(o.stdout)
		encode.SetIndent("", "  ")
		return encode.Encode(views)
	}
	w := tabwriter.NewWriter(o.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tAGENT\tSTATE\tSCOPES")
	for _, v := range views {
		state := "works"
		switch {
		case v.Revoked != nil:
			state = "revoked"
		case v.Expires != nil && v.Expires.Before(time.Now()):
			state = "expired"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%v\n", v.Name, v.Agent, state, v.Scopes)
	}
	return w.Flush()
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// errNoToken is a name no working token has.
var errNoToken = errors.New("no working token has this name")

func tokenRevokeCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "revoke NAME", Short: "End a token; it is refused within seconds", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(o, func(s *postgres.Store) error {
				ended, err := s.RevokeToken(cmd.Context(), conversation.DefaultTenant, args[0])
				if err == nil && !ended {
					err = fmt.Errorf("%w: %q; `router token list` shows them", errNoToken, args[0])
				}
				return err
			})
		},
	}
}

// withStore opens the database for a command that needs nothing else of the configuration.
func withStore(o *options, do func(*postgres.Store) error) error {
	c, err := loadMigrate(o.sources())
	if err != nil {
		return err
	}
	store, err := postgres.Open(c.Database.postgres("router-cli"))
	if err != nil {
		return err
	}
	defer store.Close()
	return do(store)
}
