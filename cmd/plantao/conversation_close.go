package main

import (
	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/conversation"
)

func newCloseCommand(p *program) *cobra.Command {
	return plainVerb(p, conversation.VerbClose, "close ID [--reason …]", text.CloseShort, text.CloseLong)
}
