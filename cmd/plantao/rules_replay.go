package main

import (
	"context"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/api"
	"plantao/runtime/conversation"
	"plantao/runtime/routing"
	"plantao/runtime/routing/rules"
)

// replayPage is how many decisions are asked for at once: each has up to 4 KiB of what a customer wrote.
const replayPage = 100

// replayOptions of `plantao rules replay`.
type replayOptions struct {
	routerOptions
	File  string
	Since string // as a rule file writes times: 90m, 24h, 7d
}

func newRulesReplayCommand(p *program) *cobra.Command {
	var opts replayOptions
	cmd := &cobra.Command{
		Use: "replay [--since 7d] " + p.text.Say(text.RulesArgument), Short: p.text.Say(text.RulesReplayShort), Long: codes(p, text.RulesReplayLong), Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.File = args[0]
			return runRulesReplay(cmd.Context(), p, opts)
		},
	}
	flags := cmd.Flags()
	opts.add(p, flags)
	flags.StringVar(&opts.Since, "since", "7d", p.text.Say(text.FlagRulesSince))
	return cmd
}

// replayed is a replay as JSON.
type replayed struct {
	Version   string    `json:"version"` // of the file
	Since     time.Time `json:"since"`
	Decisions int       `json:"decisions"` // looked at
	// Apart are those of them that were not compared: the rules did not have the last word.
	Apart int `json:"apart"`
	// Untold are those in which a condition could not be told.
	Untold    int              `json:"untold"`
	Elsewhere []replayedChange `json:"elsewhere"`
}

// replayedChange is a conversation that would have gone elsewhere.
type replayedChange struct {
	At           time.Time `json:"at"`
	Conversation string    `json:"conversation"`
	Seq          int64     `json:"seq"` // the audit entry of the decision
	From         string    `json:"from"`
	FromReason   string    `json:"from_reason"`
	To           string    `json:"to"`
	ToReason     string    `json:"to_reason"`
}

var spanPattern = regexp.MustCompile(`^[1-9][0-9]{0,5}[smhd]$`)

func runRulesReplay(ctx context.Context, p *program, opts replayOptions) error {
	if !spanPattern.MatchString(opts.Since) {
		return usage(text.RulesBadSince, opts.Since)
	}
	_, set, err := p.ruleFile(opts.File)
	if err != nil {
		return err
	}
	r, err := p.reach(ctx, opts.routerOptions)
	if err != nil {
		return err
	}
	defer r.close()
	done, err := r.replay(ctx, set, p.now().Add(-rules.Duration(opts.Since)))
	if err != nil {
		return r.explain("", err)
	}
	if opts.JSON {
		return p.json(done)
	}
	var rows [][]cell
	for _, c := range done.Elsewhere {
		rows = append(rows, cells(at(c.At), c.Conversation, p.ownerWord(c.From)+" ("+p.reasonWord(c.FromReason)+")", "→",
			p.ownerWord(c.To)+" ("+p.reasonWord(c.ToReason)+")"))
	}
	table(p.out, rows)
	p.say(text.RulesReplayed, done.Version, at(done.Since), done.Decisions, len(done.Elsewhere))
	if done.Apart > 0 {
		p.say(text.RulesReplayApart, done.Apart)
	}
	if done.Untold > 0 {
		p.say(text.RulesReplayUntold, done.Untold, opts.File)
	}
	return nil
}

// replay asks rules about every decision since, and keeps what would have been another.
func (r *router) replay(ctx context.Context, set *rules.Set, since time.Time) (replayed, error) {
	done := replayed{Version: set.Version(), Since: since.UTC(), Elsewhere: []replayedChange{}}
	for after := ""; ; {
		page, err := ask(ctx, r, func() (api.Decisions, error) { return r.client.Decisions(ctx, since, after, replayPage) })
		if err != nil {
			return done, err
		}
		for _, d := range page.Decisions {
			if err := done.ask(set, d); err != nil {
				return done, err
			}
		}
		if page.Next == "" {
			return done, nil
		}
		after = page.Next
	}
}

func (done *replayed) ask(set *rules.Set, d api.Decision) error {
	done.Decisions++
	if d.Reason == conversation.ReasonAtCapacity || d.Reason == conversation.ReasonHandoverBudget {
		done.Apart++
		return nil
	}
	u, err := d.Unrouted()
	if err != nil {
		return err
	}
	decided := routing.Decide(u, set)
	if len(decided.Failed) > 0 {
		done.Untold++
	}
	if to := decided.To.String(); to != d.Owner {
		done.Elsewhere = append(done.Elsewhere, replayedChange{At: d.At, Conversation: d.Conversation, Seq: d.Seq,
			From: d.Owner, FromReason: d.Reason, To: to, ToReason: decided.Reason})
	}
	return nil
}
