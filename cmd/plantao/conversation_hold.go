package main

import (
	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/conversation"
)

func newHoldCommand(p *program) *cobra.Command {
	return plainVerb(p, conversation.VerbHold, "hold ID [--reason …]", text.HoldShort, text.HoldLong)
}
