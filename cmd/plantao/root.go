package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"plantao/cmd/plantao/text"
)

// languageFlag reads --lang before the commands are made, since their help is in that language.
func languageFlag(args []string) string {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if value, ok := strings.CutPrefix(arg, "--lang="); ok {
			return value
		}
		if arg == "--lang" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

func newRootCommand(p *program) *cobra.Command {
	root := &cobra.Command{
		Use:   "plantao",
		Short: p.text.Say(text.RootShort),
		Long:  p.text.Say(text.RootLong),
		Args:  func(cmd *cobra.Command, args []string) error { return unknownCommand(cmd, args) },
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		// Failures are told once, by run, in the reader's language.
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetOut(p.out)
	root.SetErr(p.err)
	flags := root.PersistentFlags()
	flags.StringVar(new(string), "lang", "", p.text.Say(text.FlagLang))
	flags.StringVar(&p.project, "project", "", p.text.Say(text.FlagProject))
	root.AddCommand(
		newDoctorCommand(p), newPreflightCommand(p), newStatusCommand(p), newLogsCommand(p),
		newConversationCommand(p), newChannelCommand(p), newDeadLetterCommand(p), newRulesCommand(p), newImagesCommand(p), newPassphraseCommand(p), newVersionCommand(p),
	)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return badFlag(err) })
	speak(p, root)
	return root
}

// speak puts the words that cobra adds by itself into the reader's language, for a command and all below.
func speak(p *program, root *cobra.Command) {
	root.SetHelpCommand(&cobra.Command{
		Use: "help", Short: p.text.Say(text.HelpShort), Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return help(cmd.Root(), args) },
	})
	root.InitDefaultHelpCmd()
	// pflag ends a flag's line with its default, in English.
	cobra.AddTemplateFunc("ours", func(flags string) string {
		return strings.ReplaceAll(flags, "(default ", "("+p.text.Say(text.FlagDefault)+" ")
	})
	root.SetUsageTemplate(p.text.Say(text.UsageTemplate))
	root.SetHelpTemplate("{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}\n\n{{end}}{{.UsageString}}")
	var each func(*cobra.Command)
	each = func(cmd *cobra.Command) {
		cmd.Flags().BoolP("help", "h", false, p.text.Say(text.FlagHelp))
		cmd.DisableFlagsInUseLine = true
		for _, child := range cmd.Commands() {
			each(child)
		}
	}
	each(root)
}

func help(root *cobra.Command, args []string) error {
	cmd, rest, err := root.Find(args)
	if err != nil || len(rest) > 0 {
		return unknownCommand(root, args)
	}
	return cmd.Help()
}

// unknownCommand refuses words that name no command, with the nearest one that does.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usage(text.CommandNear, args[0], cmd.CommandPath(), strings.Join(near, ", "))
	}
	return usage(text.CommandUnknown, args[0], cmd.CommandPath())
}

// noArguments refuses any argument.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(text.ArgumentTooMany, args[0])
	}
	return nil
}

// badFlag says in the catalogue's words what pflag found.
func badFlag(err error) error {
	var (
		unknown *pflag.NotExistError
		empty   *pflag.ValueRequiredError
		invalid *pflag.InvalidValueError
		syntax  *pflag.InvalidSyntaxError
	)
	switch {
	case errors.As(err, &unknown):
		return usage(text.FlagUnknown, dashed(unknown.GetSpecifiedName(), unknown.GetSpecifiedShortnames() != ""))
	case errors.As(err, &empty):
		return usage(text.FlagNeedsValue, dashed(empty.GetSpecifiedName(), empty.GetSpecifiedShortnames() != ""))
	case errors.As(err, &invalid):
		return usage(text.FlagBadValue, invalid.GetValue(), dashed(invalid.GetFlag().Name, false))
	case errors.As(err, &syntax):
		return usage(text.FlagUnknown, syntax.GetSpecifiedFlag())
	}
	return failure{errUsage, err}
}

func dashed(name string, short bool) string {
	if short {
		return "-" + name
	}
	return "--" + name
}

// group is a command that only holds others.
func group(p *program, use string, short text.Key, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: p.text.Say(short), Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(children...)
	return cmd
}

// stackFlag is --stack, spelled the same on every command that has it.
func stackFlag(p *program, flags *pflag.FlagSet, stack *string) {
	flags.StringVar(stack, "stack", "dev", p.text.Say(text.FlagStack))
}

// codes ends a command's long help with its exit codes.
func codes(p *program, long text.Key) string {
	return p.text.Say(long) + "\n\n" + p.text.Say(text.ExitCodes)
}
