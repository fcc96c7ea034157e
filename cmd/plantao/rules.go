package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/routing/rules"
)

func newRulesCommand(p *program) *cobra.Command {
	return group(p, "rules", text.RulesShort, newRulesCheckCommand(p), newRulesApplyCommand(p), newRulesShowCommand(p), newRulesTestCommand(p),
		newRulesReplayCommand(p))
}

// oneFile wants a file's name as the only argument; - is standard input.
func oneFile(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usage(text.RulesNoFile)
	case len(args) > 1:
		return usage(text.ArgumentTooMany, args[1])
	}
	return nil
}

// ruleFile reads a rule file and checks it as a whole.
func (p *program) ruleFile(name string) (string, *rules.Set, error) {
	var (
		body []byte
		err  error
	)
	if name == "-" {
		body, err = io.ReadAll(p.in)
	} else {
		body, err = os.ReadFile(name)
	}
	if err != nil {
		return "", nil, text.Because(err, text.RulesUnread)
	}
	set, err := rules.Read(name, body)
	if err != nil {
		return "", nil, p.badRules(name, err)
	}
	return string(body), set, nil
}

// badRules tells everything that is wrong with a file, a line each, as editors understand it.
func (p *program) badRules(name string, err error) error {
	var problems rules.Problems
	if !errors.As(err, &problems) {
		return text.Because(err, text.RulesUnread)
	}
	for _, problem := range problems {
		fmt.Fprintln(p.err, problem.Error())
	}
	return text.Fail(text.RulesBad, name, len(problems))
}
