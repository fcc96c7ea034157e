package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/conversation"
	"plantao/runtime/routing"
	"plantao/runtime/routing/rules"
)

// rulesTestOptions of `plantao rules test`.
type rulesTestOptions struct {
	routerOptions
	// File has the rules; empty: the router's, in force.
	File string
	// Messages wait for an answer, At the time, on Channel, from Phone and Name.
	Messages                 []string
	At, Channel, Phone, Name string
	Last                     string // who had the conversation before, kind:id
	Before, Stretches        int
	Released                 bool
}

func newRulesTestCommand(p *program) *cobra.Command {
	var opts rulesTestOptions
	say := p.text.Say
	cmd := &cobra.Command{
		Use: "test --message … [--at …] [--channel …] [--file …]", Short: say(text.RulesTestShort), Long: codes(p, text.RulesTestLong), Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRulesTest(cmd.Context(), p, opts) },
	}
	flags := cmd.Flags()
	opts.add(p, flags)
	flags.StringVar(&opts.File, "file", "", say(text.FlagRulesFile))
	flags.StringArrayVar(&opts.Messages, "message", nil, say(text.FlagRulesMessage))
	flags.StringVar(&opts.At, "at", "", say(text.FlagRulesAt))
	flags.StringVar(&opts.Channel, "channel", "", say(text.FlagRulesChannel))
	flags.StringVar(&opts.Phone, "phone", "", say(text.FlagRulesPhone))
	flags.StringVar(&opts.Name, "name", "", say(text.FlagRulesName))
	flags.StringVar(&opts.Last, "last", "", say(text.FlagRulesLast))
	flags.IntVar(&opts.Before, "before", 0, say(text.FlagRulesBefore))
	flags.IntVar(&opts.Stretches, "stretches", 0, say(text.FlagRulesStretches))
	flags.BoolVar(&opts.Released, "released", false, say(text.FlagRulesReleased))
	return cmd
}

func runRulesTest(ctx context.Context, p *program, opts rulesTestOptions) error {
	u, err := opts.facts(p.now())
	if err != nil {
		return err
	}
	set, err := p.rulesToTest(ctx, opts)
	if err != nil {
		return err
	}
	facts := routing.Facts(u)
	verdicts, decided := set.Explain(facts), set.Decide(facts)
	if opts.JSON {
		return p.json(triedRules(set, verdicts, decided))
	}
	for _, v := range verdicts {
		word := text.RuleFails
		switch {
		case v.Rule == decided.Rule:
			word = text.RuleDecides
		case v.Held:
			word = text.RuleHolds
		}
		table(p.out, [][]cell{cells(p.text.Say(word), v.Rule, v.When)})
		for _, name := range slices.Sorted(maps.Keys(v.Facts)) {
			fmt.Fprintf(p.out, "    %s = %s\n", name, printable(shownFact(v.Facts[name])))
		}
		if v.Err != nil {
			p.say(text.RuleUntold, v.Err)
		}
	}
	if decided.Rule == "" {
		p.say(text.RulesChannelDecides, set.Version())
		return nil
	}
	targets := make([]string, len(decided.To))
	for i, to := range decided.To {
		targets[i] = to.String()
	}
	p.say(text.RulesGive, decided.Rule, set.Version(), printable(strings.Join(targets, " → ")))
	if say := decided.To[0].Say; say != "" {
		p.say(text.RulesSay, printable(say))
	}
	return nil
}

func shownFact(value any) string {
	switch v := value.(type) {
	case time.Time:
		return v.Format(time.RFC3339)
	case string:
		return fmt.Sprintf("%q", v)
	case []string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(value)
}

// facts are what the flags say of a conversation.
func (o rulesTestOptions) facts(now time.Time) (conversation.Unrouted, error) {
	u := conversation.Unrouted{Channel: o.Channel, State: conversation.Idle, Facts: conversation.Facts{
		Now: now, Contact: conversation.Contact{Name: o.Name}, Texts: o.Messages, Waiting: len(o.Messages), Before: int64(o.Before),
		Stretches: o.Stretches, LastOwner: conversation.Nobody, LastOwnerAt: now,
	}}
	if len(o.Messages) == 0 {
		return u, usage(text.RulesNoMessage)
	}
	for range o.Messages {
		u.Facts.Kinds = append(u.Facts.Kinds, "conversation")
	}
	if o.Released {
		u.State = conversation.Routing
	}
	if o.Phone != "" {
		u.Facts.Contact.JID = strings.TrimPrefix(o.Phone, "+") + "@s.whatsapp.net"
	}
	if o.Last != "" {
		last, err := conversation.ParseOwner(o.Last)
		if err != nil {
			return u, usage(text.RulesBadLast, o.Last)
		}
		u.Facts.LastOwner = last
	}
	if o.At != "" {
		when, err := time.Parse(time.RFC3339, o.At)
		if err != nil {
			when, err = time.ParseInLocation("2006-01-02 15:04", o.At, time.Local)
		}
		if err != nil {
			return u, usage(text.RulesBadTime, o.At)
		}
		u.Facts.Now, u.Facts.LastOwnerAt = when, when
	}
	return u, nil
}

func (p *program) rulesToTest(ctx context.Context, opts rulesTestOptions) (*rules.Set, error) {
	if opts.File != "" {
		_, set, err := p.ruleFile(opts.File)
		return set, err
	}
	r, err := p.reach(ctx, opts.routerOptions)
	if err != nil {
		return nil, err
	}
	defer r.close()
	inForce, err := r.rules(ctx, "")
	if err != nil {
		return nil, err
	}
	set, err := rules.Read("rules "+inForce.Version, []byte(inForce.Text))
	if err != nil {
		return nil, p.badRules("rules "+inForce.Version, err)
	}
	return set, nil
}

// triedRule is one rule of a test as JSON.
type triedRule struct {
	Rule  string         `json:"rule"`
	When  string         `json:"when"`
	Holds bool           `json:"holds"`
	Error string         `json:"error,omitempty"`
	Facts map[string]any `json:"facts"`
}

// rulesTried is a test as JSON.
type rulesTried struct {
	Version string      `json:"version"`
	Rules   []triedRule `json:"rules"`
	Decides string      `json:"decides,omitempty"` // absent: the channel's flow
	// To is what is tried, as it stands in the file.
	To []rules.Target `json:"to,omitempty"`
}

func triedRules(set *rules.Set, verdicts []rules.Verdict, d rules.Decision) rulesTried {
	tried := rulesTried{Version: set.Version(), Rules: []triedRule{}, Decides: d.Rule, To: d.To}
	for _, v := range verdicts {
		one := triedRule{Rule: v.Rule, When: v.When, Holds: v.Held, Facts: map[string]any{}}
		for name, value := range v.Facts {
			if d, ok := value.(time.Duration); ok {
				value = d.String()
			}
			one.Facts[name] = value
		}
		if v.Err != nil {
			one.Error = v.Err.Error()
		}
		tried.Rules = append(tried.Rules, one)
	}
	return tried
}
