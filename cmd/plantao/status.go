package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/engine"
	"plantao/cmd/plantao/text"
)

// watchEvery is how often `plantao status --watch` looks again.
const watchEvery = 2 * time.Second

// statusDeadline bounds one look at the stack.
const statusDeadline = 20 * time.Second

// passwordOutputs are the stack outputs that hold each service's first password or key. They are a
// table here and not labels on the containers, since a label would tell everyone who may list them.
var passwordOutputs = map[string]string{
	"n8n":          "n8nOwnerPassword",
	"chatwoot-web": "chatwootAdminPassword",
	"evolution":    "evolutionApiKey",
	"router-1":     routerTokenOutput,
}

// statusOptions of `plantao status`.
type statusOptions struct {
	Stack string
	JSON  bool
	// Watch looks again and again until interrupted.
	Watch bool
}

func newStatusCommand(p *program) *cobra.Command {
	var opts statusOptions
	cmd := &cobra.Command{
		Use: "status [--stack dev] [--watch] [--json]", Short: p.text.Say(text.StatusShort),
		Long: codes(p, text.StatusLong), Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runStatus(cmd.Context(), p, opts) },
	}
	flags := cmd.Flags()
	stackFlag(p, flags, &opts.Stack)
	flags.BoolVar(&opts.JSON, "json", false, p.text.Say(text.FlagJSON))
	flags.BoolVar(&opts.Watch, "watch", false, p.text.Say(text.FlagWatch))
	return cmd
}

func runStatus(ctx context.Context, p *program, opts statusOptions) error {
	e, err := p.open()
	if err != nil {
		return err
	}
	defer e.Close()
	if opts.Watch {
		return watchStatus(ctx, p, e, opts)
	}
	containers, err := look(ctx, p, e, opts.Stack)
	if err != nil {
		return err
	}
	if len(containers) == 0 {
		return notFound(text.StackMissing, opts.Stack)
	}
	view := viewOf(p, opts.Stack, containers)
	if err := p.show(view, opts.JSON); err != nil {
		return err
	}
	if !view.Healthy {
		return errTold
	}
	return nil
}

func look(ctx context.Context, p *program, e *engine.Engine, stack string) ([]engine.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, statusDeadline)
	defer cancel()
	containers, err := e.Containers(ctx, stack)
	return containers, p.docker(err)
}

// watchStatus shows the stack until interrupted. A stack that is not there, or an engine that is away,
// is shown as such: it may come.
func watchStatus(ctx context.Context, p *program, e *engine.Engine, opts statusOptions) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		containers, err := look(ctx, p, e, opts.Stack)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if p.terminal && !opts.JSON {
			fmt.Fprint(p.out, "\x1b[H\x1b[2J") // home, clear
		}
		switch {
		case err != nil:
			fmt.Fprintln(p.err, "plantao: "+p.text.Error(err))
		case len(containers) == 0:
			p.note(text.StackMissing, opts.Stack)
		default:
			if err := p.showLine(viewOf(p, opts.Stack, containers), opts.JSON); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// stackView is a stack as status tells it; its JSON is for scripts.
type stackView struct {
	Stack string `json:"stack"`
	// Healthy is false when a service does not run although it should, or fails its health check.
	Healthy bool `json:"healthy"`
	// Starting is true while a service has not passed its first health check.
	Starting bool          `json:"starting"`
	Services []serviceView `json:"services"`
	// Next is what to do now, in the reader's language.
	Next string `json:"next"`
}

type serviceView struct {
	Service string `json:"service"`
	// State is Docker's word, or "done" for a job that ended well.
	State string `json:"state"`
	// Health is empty for a container without a health check.
	Health      string `json:"health"`
	ExitCode    int    `json:"exit_code"`
	OOMKilled   bool   `json:"oom_killed"`
	Restarts    int    `json:"restarts"`
	MemoryUsed  uint64 `json:"memory_used_bytes"`
	MemoryLimit uint64 `json:"memory_limit_bytes"`
	// Uptime is zero for what does not run.
	Uptime int64  `json:"uptime_seconds"`
	Image  string `json:"image"`
	URL    string `json:"url"`
	// Password is the command that shows the first password or key.
	Password string `json:"password_command"`
	failing  bool
}

func viewOf(p *program, stack string, containers []engine.Container) stackView {
	view := stackView{Stack: stack, Healthy: true}
	var failing []string
	for _, c := range containers {
		s := serviceView{
			Service: c.Service, State: c.State, Health: string(c.Health), OOMKilled: c.OOMKilled, Restarts: c.Restarts,
			MemoryUsed: c.MemoryUsed, MemoryLimit: c.MemoryLimit, Image: c.Image, URL: c.URL, failing: c.Failing(),
		}
		switch {
		case c.Done():
			s.State = "done"
		case c.State == "running":
			s.Uptime = int64(p.now().Sub(c.Started) / time.Second)
		default:
			s.ExitCode = c.ExitCode
		}
		if output, ok := passwordOutputs[c.Service]; ok {
			s.Password = "pulumi stack output --stack " + stack + " --show-secrets " + output
		}
		if s.failing {
			failing = append(failing, c.Service)
		}
		view.Starting = view.Starting || c.Health == engine.Starting
		view.Services = append(view.Services, s)
	}
	view.Healthy = len(failing) == 0
	view.Next = p.text.Render(nextStep(view, failing))
	return view
}

// nextStep is what an operator would want to do now.
func nextStep(view stackView, failing []string) text.Message {
	stack := ""
	if view.Stack != "dev" {
		stack = " --stack " + view.Stack
	}
	switch {
	case len(failing) > 0:
		return text.New(text.NextFailing, strings.Join(failing, ", "), strings.Join(failing, " ")+stack)
	case view.Starting:
		return text.New(text.NextStarting, stack)
	}
	for _, s := range view.Services {
		if s.Service == "n8n" && s.URL != "" {
			return text.New(text.NextOpen, s.URL, stack)
		}
	}
	return text.New(text.NextReady, stack)
}

func (p *program) show(view stackView, asJSON bool) error {
	if asJSON {
		return p.json(view)
	}
	return p.showLine(view, false)
}

// showLine writes JSON as one line, so that a watch is a stream of documents.
func (p *program) showLine(view stackView, asJSON bool) error {
	if asJSON {
		encode := json.NewEncoder(p.out)
		encode.SetEscapeHTML(false)
		return encode.Encode(view)
	}
	var page bytes.Buffer
	table(&page, serviceRows(p, view))
	if rows := addressRows(p, view); len(rows) > 1 {
		fmt.Fprintln(&page)
		table(&page, rows)
	}
	if hasPassword(view) {
		fmt.Fprintln(&page, p.text.Say(text.PasswordHint, view.Stack))
	}
	fmt.Fprintln(&page)
	fmt.Fprintln(&page, view.Next)
	_, err := p.out.Write(page.Bytes()) // at once, so that a watch does not flicker
	return err
}

func serviceRows(p *program, view stackView) [][]cell {
	head := cells(
		p.text.Say(text.ColumnService), p.text.Say(text.ColumnState), p.text.Say(text.ColumnHealth), p.text.Say(text.ColumnRestarts),
		p.text.Say(text.ColumnMemory), p.text.Say(text.ColumnUptime), p.text.Say(text.ColumnImage),
	)
	rows := [][]cell{head}
	for _, s := range view.Services {
		rows = append(rows, []cell{
			{plain: s.Service}, p.stateCell(s), {plain: p.healthWord(s.Health)}, {plain: fmt.Sprint(s.Restarts)},
			{plain: memoryWord(s)}, {plain: uptimeWord(s)}, {plain: s.Image},
		})
	}
	return rows
}

func addressRows(p *program, view stackView) [][]cell {
	rows := [][]cell{cells(p.text.Say(text.ColumnService), p.text.Say(text.ColumnURL), p.text.Say(text.ColumnPassword))}
	for _, s := range view.Services {
		if s.URL != "" || s.Password != "" {
			rows = append(rows, cells(s.Service, orDash(s.URL), orDash(s.Password)))
		}
	}
	return rows
}

func hasPassword(view stackView) bool {
	for _, s := range view.Services {
		if s.Password != "" {
			return true
		}
	}
	return false
}

// stateWords are Docker's states, and ours, in the catalogue.
var stateWords = map[string]text.Key{
	"created": text.StateCreated, "running": text.StateRunning, "paused": text.StatePaused, "restarting": text.StateRestarting,
	"removing": text.StateRemoving, "exited": text.StateExited, "dead": text.StateDead, "done": text.StateDone,
}

func (p *program) stateCell(s serviceView) cell {
	word := s.State
	if key, ok := stateWords[s.State]; ok {
		word = p.text.Say(key)
	}
	switch {
	case s.OOMKilled && s.failing:
		word += " (" + p.text.Say(text.StateOutOfMemory) + ")"
	case s.failing && s.State != "running":
		word += fmt.Sprintf(" (%d)", s.ExitCode)
	}
	if s.failing {
		return cell{word, p.colour(red, word)}
	}
	return cell{word, p.colour(green, word)}
}

func (p *program) healthWord(health string) string {
	switch engine.Health(health) {
	case engine.Healthy:
		return p.text.Say(text.HealthGood)
	case engine.Unhealthy:
		return p.text.Say(text.HealthBad)
	case engine.Starting:
		return p.text.Say(text.HealthStarting)
	}
	return "-"
}

func memoryWord(s serviceView) string {
	switch {
	case s.MemoryUsed == 0:
		return "-"
	case s.MemoryLimit == 0:
		return mebibytes(s.MemoryUsed)
	}
	return mebibytes(s.MemoryUsed) + "/" + mebibytes(s.MemoryLimit)
}

func uptimeWord(s serviceView) string {
	if s.State != "running" {
		return "-"
	}
	return span(time.Duration(s.Uptime) * time.Second)
}

func orDash(said string) string {
	if said == "" {
		return "-"
	}
	return said
}
