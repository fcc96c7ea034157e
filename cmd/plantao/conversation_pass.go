package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/conversation"
)

// maxContextBytes is what the router hands over.
const maxContextBytes = 4096

func newPassCommand(p *program) *cobra.Command {
	var file string
	opts := verbOptions{Verb: conversation.VerbPass}
	cmd := &cobra.Command{
		Use: "pass ID --to human:ana|ai:vendas|queue [--context FILE|-] [--reason …]", Short: p.text.Say(text.PassShort),
		Long: codes(p, text.PassLong), Args: oneConversation,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.read(cmd, args)
			if err := opts.pass(p, file); err != nil {
				return err
			}
			return runVerb(cmd.Context(), p, opts)
		},
	}
	flags := cmd.Flags()
	opts.add(p, flags)
	flags.StringVar(&opts.To, "to", "", p.text.Say(text.FlagTo))
	flags.StringVar(&file, "context", "", p.text.Say(text.FlagContext))
	return cmd
}

func (o *verbOptions) pass(p *program, file string) error {
	if o.To == "" {
		return usage(text.PassNobody)
	}
	if _, err := conversation.ParseOwner(o.To); err != nil {
		return usage(text.FlagBadTo, o.To)
	}
	if file == "" {
		return nil
	}
	body, err := p.readFile(file)
	if err != nil {
		return text.Because(err, text.ContextUnreadable, file)
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil || object == nil || len(body) > maxContextBytes {
		return usage(text.ContextBad, file, maxContextBytes)
	}
	o.Context = body
	return nil
}

// readFile reads a file of a few kilobytes, or standard input for "-".
func (p *program) readFile(name string) ([]byte, error) {
	from := p.in
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		from = file
	}
	body, err := io.ReadAll(io.LimitReader(from, maxContextBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	return body, nil
}
