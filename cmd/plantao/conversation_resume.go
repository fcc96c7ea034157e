package main

import (
	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
	"plantao/runtime/conversation"
)

func newResumeCommand(p *program) *cobra.Command {
	return plainVerb(p, conversation.VerbResume, "resume ID [--reason …]", text.ResumeShort, text.ResumeLong)
}
