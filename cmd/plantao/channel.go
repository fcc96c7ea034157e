package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

func newChannelCommand(p *program) *cobra.Command {
	return group(p, "channel", text.ChannelShort, newChannelListCommand(p), newChannelShowCommand(p), newChannelQRCommand(p))
}

// connectionWords are the states of a connection in the catalogue.
var connectionWords = map[conversation.ConnectionState]text.Key{
	conversation.ConnectionUnknown: text.ConnectionUnknown, conversation.ConnectionOpen: text.ConnectionOpen,
	conversation.ConnectionConnecting: text.ConnectionConnecting, conversation.ConnectionClosed: text.ConnectionClosed,
	conversation.ConnectionRefused: text.ConnectionRefused,
}

// connectionCell is the state of a channel's connection, in colour: nothing goes out of one that is not open.
func (p *program) connectionCell(state string) cell {
	key, ok := connectionWords[conversation.ConnectionState(state)]
	if !ok {
		return cell{plain: printable(state)}
	}
	colour := red
	switch conversation.ConnectionState(state) {
	case conversation.ConnectionOpen:
		colour = green
	case conversation.ConnectionConnecting, conversation.ConnectionUnknown:
		colour = yellow
	}
	said := p.text.Say(key)
	return cell{plain: said, coloured: p.colour(colour, said)}
}

// oneChannel wants the channel's name as the only argument.
func oneChannel(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usage(text.ChannelNoName)
	case len(args) > 1:
		return usage(text.ArgumentTooMany, args[1])
	}
	return nil
}

func newChannelListCommand(p *program) *cobra.Command {
	var opts routerOptions
	cmd := &cobra.Command{
		Use: "list", Short: p.text.Say(text.ChannelListShort), Long: codes(p, text.ChannelListLong), Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runChannelList(cmd.Context(), p, opts) },
	}
	opts.add(p, cmd.Flags())
	return cmd
}

func runChannelList(ctx context.Context, p *program, opts routerOptions) error {
	r, err := p.reach(ctx, opts)
	if err != nil {
		return err
	}
	defer r.close()
	list, err := ask(ctx, r, func() (api.Channels, error) { return r.client.Channels(ctx) })
	if err != nil {
		return r.explain("", err)
	}
	if opts.JSON {
		return p.json(list)
	}
	if len(list.Channels) == 0 {
		p.note(text.ChannelListEmpty)
		return nil
	}
	rows := [][]cell{cells(p.text.Say(text.ColumnName), p.text.Say(text.ColumnConnection), p.text.Say(text.ColumnSince), p.text.Say(text.ColumnFlow), p.text.Say(text.ColumnKind))}
	for _, c := range list.Channels {
		since := "-"
		if c.Since != nil {
			since = p.since(*c.Since)
		}
		flow := "-"
		if c.Flow != "" {
			flow = printable(c.Flow)
		}
		rows = append(rows, []cell{{plain: printable(c.Name)}, p.connectionCell(c.Connection), {plain: since}, {plain: flow}, {plain: printable(c.Integration)}})
	}
	table(p.out, rows)
	return nil
}

func newChannelShowCommand(p *program) *cobra.Command {
	var opts routerOptions
	cmd := &cobra.Command{
		Use: "show " + p.text.Say(text.ChannelArgument), Short: p.text.Say(text.ChannelShowShort), Long: codes(p, text.ChannelShowLong), Args: oneChannel,
		RunE: func(cmd *cobra.Command, args []string) error { return runChannelShow(cmd.Context(), p, opts, args[0]) },
	}
	opts.add(p, cmd.Flags())
	return cmd
}

func runChannelShow(ctx context.Context, p *program, opts routerOptions, name string) error {
	r, err := p.reach(ctx, opts)
	if err != nil {
		return err
	}
	defer r.close()
	c, err := ask(ctx, r, func() (api.Channel, error) { return r.client.Channel(ctx, name) })
	if err != nil {
		return r.explain(name, err)
	}
	if opts.JSON {
		return p.json(c)
	}
	table(p.out, p.channelFacts(c))
	if c.Connection != string(conversation.ConnectionOpen) {
		fmt.Fprintln(p.out)
		if c.Reason == conversation.ReasonNoInstance {
			p.say(text.ChannelNoInstance)
		} else {
			p.say(text.ChannelPairIt, printable(c.Name), opts.suffix())
		}
	}
	return nil
}

// channelFacts are the lines about one channel; what there is not has none.
func (p *program) channelFacts(c api.Channel) [][]cell {
	say := p.text.Say
	var rows [][]cell
	fact := func(there bool, name text.Key, value cell) {
		if there {
			rows = append(rows, []cell{{plain: say(name)}, value})
		}
	}
	fact(true, text.FactChannel, cell{plain: printable(c.Name)})
	fact(true, text.FactConnection, p.connectionCell(c.Connection))
	fact(c.Reason != "", text.FactReason, cell{plain: printable(c.Reason)})
	if c.Since != nil {
		fact(true, text.FactSince, cell{plain: say(text.FactSinceIs, at(*c.Since), p.since(*c.Since))})
	}
	fact(c.Number != "", text.FactNumber, cell{plain: printable(c.Number)})
	fact(c.Flow != "", text.FactFlow, cell{plain: printable(c.Flow)})
	fact(true, text.FactKind, cell{plain: printable(c.Integration)})
	fact(true, text.FactSwept, cell{plain: at(c.SweptTo)})
	return rows
}
