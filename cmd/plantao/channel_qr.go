package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"rsc.io/qr"

	"plantao/cmd/plantao/text"
	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

// qrOptions of `plantao channel qr`.
type qrOptions struct {
	routerOptions
	// Number is the phone's, for a code to be typed on it; empty: a QR code.
	Number string
}

func newChannelQRCommand(p *program) *cobra.Command {
	var opts qrOptions
	cmd := &cobra.Command{
		Use: "qr " + p.text.Say(text.ChannelArgument) + " [--pairing-code 5511987654321]", Short: p.text.Say(text.ChannelQRShort), Long: codes(p, text.ChannelQRLong), Args: oneChannel,
		RunE: func(cmd *cobra.Command, args []string) error { return runChannelQR(cmd.Context(), p, opts, args[0]) },
	}
	flags := cmd.Flags()
	opts.add(p, flags)
	flags.StringVar(&opts.Number, "pairing-code", "", p.text.Say(text.FlagPairingCode))
	return cmd
}

// phoneNumber is a number as WhatsApp knows it: country, area, number.
var phoneNumber = regexp.MustCompile(`^[0-9]{8,15}$`)

func runChannelQR(ctx context.Context, p *program, opts qrOptions, name string) error {
	number := strings.NewReplacer(" ", "", "+", "", "-", "", "(", "", ")", "").Replace(opts.Number)
	if opts.Number != "" && !phoneNumber.MatchString(number) {
		return usage(text.FlagBadNumber, opts.Number)
	}
	r, err := p.reach(ctx, opts.routerOptions)
	if err != nil {
		return err
	}
	defer r.close()
	pairing, err := ask(ctx, r, func() (api.Pairing, error) { return r.client.Connect(ctx, name, api.ConnectRequest{Number: number}) })
	if err != nil {
		return r.explain(name, err)
	}
	switch {
	case opts.JSON:
		return p.json(pairing)
	case pairing.Connection == string(conversation.ConnectionOpen):
		p.say(text.ChannelIsConnected, printable(name))
		return nil
	case number != "" && pairing.Code != "":
		p.say(text.ChannelTypeCode, spaced(printable(pairing.Code)))
	case pairing.QR != "":
		drawn, err := drawQR(pairing.QR, p.terminal)
		if err != nil {
			return text.Because(err, text.ChannelQRBroken)
		}
		fmt.Fprint(p.out, drawn)
		p.say(text.ChannelScan)
	default:
		return text.Fail(text.ChannelNoCode, printable(name), opts.suffix())
	}
	p.note(text.ChannelCodeLasts, printable(name), opts.suffix())
	return nil
}

// spaced is a code of eight characters as the phone shows its places: ABCD-EFGH.
func spaced(code string) string {
	if len(code) != 8 {
		return code
	}
	return code[:4] + "-" + code[4:]
}

// quiet is the margin a QR code needs to be found, in modules (ISO/IEC 18004 asks for 4; phones do with 2).
const quiet = 2

// drawQR draws a code with half blocks: a character is two modules high, so that modules are square. In a terminal the colours are
// said, since a code in the colours of a dark one is a negative, which not every phone reads; elsewhere a light page is assumed.
func drawQR(code string, terminal bool) (string, error) {
	modules, err := qr.Encode(code, qr.L)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for y := -quiet; y < modules.Size+quiet; y += 2 {
		if terminal {
			b.WriteString("\x1b[30;107m") // black on bright white
		}
		for x := -quiet; x < modules.Size+quiet; x++ {
			switch upper, lower := modules.Black(x, y), modules.Black(x, y+1); {
			case upper && lower:
				b.WriteString("█")
			case upper:
				b.WriteString("▀")
			case lower:
				b.WriteString("▄")
			default:
				b.WriteString(" ")
			}
		}
		if terminal {
			b.WriteString("\x1b[0m")
		}
		b.WriteString("\n")
	}
	return b.String(), nil
}
