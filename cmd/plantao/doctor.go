package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"plantao/cmd/plantao/diagnosis"
	"plantao/cmd/plantao/text"
)

// defaultPort is the ingress port of a stack whose config names none.
const defaultPort = 8080

// portKey is the stack config key of the ingress port.
const portKey = "plantao:port"

// doctorOptions of `plantao doctor` and `plantao preflight`.
type doctorOptions struct {
	// For is what the machine is examined for.
	For string
	// Stack is the stack to bring up; Port its ingress port, zero for the one its config names.
	Stack string
	Port  int
	JSON  bool
}

func newDoctorCommand(p *program) *cobra.Command {
	var opts doctorOptions
	cmd := &cobra.Command{
		Use: "doctor [--for up|test] [--stack dev] [--port N] [--json]", Short: p.text.Say(text.DoctorShort),
		Long: codes(p, text.DoctorLong), Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd.Context(), p, opts) },
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.For, "for", string(diagnosis.Up), p.text.Say(text.FlagFor))
	flags.IntVar(&opts.Port, "port", 0, p.text.Say(text.FlagPort))
	flags.BoolVar(&opts.JSON, "json", false, p.text.Say(text.FlagJSON))
	stackFlag(p, flags, &opts.Stack)
	return cmd
}

// runDoctor tells every finding; it fails when one of them does.
func runDoctor(ctx context.Context, p *program, opts doctorOptions) error {
	purpose := diagnosis.Purpose(opts.For)
	if purpose != diagnosis.Up && purpose != diagnosis.Test {
		return usage(text.FlagBadFor, opts.For)
	}
	results, err := examine(ctx, p, purpose, opts)
	if err != nil {
		return err
	}
	failed := diagnosis.Worst(results) == diagnosis.Fail
	if opts.JSON {
		if err := p.json(reportOf(p, results, !failed)); err != nil {
			return err
		}
	} else {
		tellAll(p, results)
	}
	if failed {
		return errTold
	}
	return nil
}

// examine runs the checks of a purpose on this machine.
func examine(ctx context.Context, p *program, purpose diagnosis.Purpose, opts doctorOptions) ([]diagnosis.Result, error) {
	machine, err := p.machine(purpose, opts)
	if err != nil {
		return nil, err
	}
	if machine.Engine != nil {
		defer machine.Engine.Close()
	}
	results := diagnosis.Run(ctx, diagnosis.For(purpose, machine.Checks()))
	return results, ctx.Err()
}

func (p *program) machine(purpose diagnosis.Purpose, opts doctorOptions) (*diagnosis.Machine, error) {
	project, err := p.projectDir()
	if err != nil {
		return nil, err
	}
	passphrase, err := passphrasePath()
	if err != nil {
		return nil, err
	}
	port := opts.Port
	if port == 0 {
		port = stackPort(project, opts.Stack)
	}
	if port < 1 || port > 65535 {
		return nil, usage(text.FlagBadPort, port)
	}
	e, engineErr := p.open()
	return &diagnosis.Machine{
		Project: project, Stack: opts.Stack, Port: port, Purpose: purpose, Engine: e, EngineError: engineErr,
		Getenv: p.getenv, LookPath: exec.LookPath, Passphrase: passphrase, PulumiHome: p.pulumiHome(),
		Versions: p.versions, Safe: p.safe, Proc: "/proc", Root: os.Geteuid() == 0, CPUs: runtime.NumCPU(),
		Disk: diagnosis.Disk, Clock: diagnosis.Clock, Now: p.now, Listen: listen,
	}, nil
}

// stackPort is the ingress port in the stack's config file; the default when that says nothing that
// can be read (the program itself reports a broken config, with all its other problems).
func stackPort(project, stack string) int {
	var file struct {
		Config map[string]yaml.Node `yaml:"config"`
	}
	body, err := os.ReadFile(filepath.Join(project, "Pulumi."+stack+".yaml"))
	if err != nil || yaml.Unmarshal(body, &file) != nil {
		return defaultPort
	}
	var port int
	if node, ok := file.Config[portKey]; !ok || node.Decode(&port) != nil {
		return defaultPort
	}
	return port
}

func (p *program) pulumiHome() string {
	if home := p.getenv("PULUMI_HOME"); home != "" {
		return home
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".pulumi")
}

// listen binds the address and lets go at once.
func listen(ctx context.Context, address string) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return listener.Close()
}

// levels are how a level looks to people.
var levels = map[diagnosis.Level]struct {
	word   text.Key
	colour string
}{
	diagnosis.OK: {text.LevelOK, green}, diagnosis.Warn: {text.LevelWarn, yellow}, diagnosis.Fail: {text.LevelFail, red},
}

func tellAll(p *program, results []diagnosis.Result) {
	counts := map[diagnosis.Level]int{}
	for _, r := range results {
		level := levels[r.Finding.Level]
		counts[r.Finding.Level]++
		fmt.Fprintf(p.out, "%s  %-10s  %s\n", p.colour(level.colour, pad(p.text.Say(level.word), 5)), r.Check.ID, p.text.Render(r.Finding.Found))
		if r.Finding.Level == diagnosis.OK {
			continue
		}
		p.say(text.DoctorWhy, text.New(r.Check.Why))
		p.say(text.DoctorFix, r.Finding.Fix)
	}
	p.say(text.DoctorSum, counts[diagnosis.OK], counts[diagnosis.Warn], counts[diagnosis.Fail])
}

// report is the JSON of a diagnosis.
type report struct {
	// OK is false when a finding has level fail.
	OK       bool            `json:"ok"`
	Findings []reportFinding `json:"findings"`
}

type reportFinding struct {
	ID    string          `json:"id"`
	Level diagnosis.Level `json:"level"`
	Found string          `json:"found"`
	Why   string          `json:"why"`
	// Fix is empty when Level is ok.
	Fix string `json:"fix,omitempty"`
}

func reportOf(p *program, results []diagnosis.Result, ok bool) report {
	out := report{OK: ok, Findings: []reportFinding{}}
	for _, r := range results {
		out.Findings = append(out.Findings, reportFinding{
			r.Check.ID, r.Finding.Level, p.text.Render(r.Finding.Found), p.text.Say(r.Check.Why), p.text.Render(r.Finding.Fix),
		})
	}
	return out
}
