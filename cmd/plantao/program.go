package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/term"

	"plantao/cmd/plantao/engine"
	"plantao/cmd/plantao/text"
	"plantao/infra/upstream"
	"plantao/runtime/conversation"
)

// program is what every command reaches outside of itself.
type program struct {
	text     *text.Printer
	in       io.Reader
	out, err io.Writer
	// terminal is true when out is one: colours and repainting are for people.
	terminal bool
	getenv   func(string) string
	now      func() time.Time
	// project is the folder given by --project; empty means the nearest above the working folder.
	project string
	// versions and safe are what the program deploys and what is safe to deploy.
	versions func() (map[string]upstream.Version, error)
	safe     func() ([]upstream.SafeVersion, error)
	// backoff is the wait before a request is sent again, after so many attempts.
	backoff func(attempt int) time.Duration
	// registry are options for requests to image registries.
	registry []remote.Option
}

func newProgram() *program {
	return &program{
		text: text.For(text.English), in: os.Stdin, out: os.Stdout, err: os.Stderr, terminal: term.IsTerminal(int(os.Stdout.Fd())),
		getenv: os.Getenv, now: time.Now, versions: upstream.Versions, safe: upstream.SafeVersions,
		backoff: func(attempt int) time.Duration {
			return conversation.Backoff(attempt, 500*time.Millisecond, 4*time.Second)
		},
	}
}

// projectFile marks the project's folder.
const projectFile = "Pulumi.yaml"

// projectDir is the project's folder, found from the working folder upwards; empty outside of one.
func (p *program) projectDir() (string, error) {
	if p.project != "" {
		folder, err := filepath.Abs(p.project)
		if err != nil {
			return "", fmt.Errorf("read --project %q: %w", p.project, err)
		}
		if _, err := os.Stat(filepath.Join(folder, projectFile)); err != nil {
			return "", notFound(text.ProjectNotThere, p.project)
		}
		return folder, nil
	}
	folder, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("ask for the working folder: %w", err)
	}
	for {
		_, err := os.Stat(filepath.Join(folder, projectFile))
		if err == nil {
			return folder, nil
		}
		parent := filepath.Dir(folder)
		if !errors.Is(err, fs.ErrNotExist) || parent == folder {
			return "", nil
		}
		folder = parent
	}
}

// open is the Docker Engine, with a failure fit for people.
func (p *program) open() (*engine.Engine, error) {
	e, err := engine.Open()
	if err != nil {
		return nil, failure{errUsage, text.Because(err, text.DockerHostBad)}
	}
	return e, nil
}

// docker turns a failure of the engine into one line that says what to do.
func (p *program) docker(err error) error {
	var unreachable *engine.UnreachableError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unreachable) && unreachable.Denied:
		return text.Fail(text.DockerDeniedHint, unreachable.Host)
	case errors.As(err, &unreachable):
		return text.Fail(text.DockerAwayHint, unreachable.Host)
	}
	return err
}

// json writes value as one document on standard output.
func (p *program) json(value any) error {
	encode := json.NewEncoder(p.out)
	encode.SetIndent("", "  ")
	encode.SetEscapeHTML(false)
	return encode.Encode(value)
}

// sayMessage writes a sentence that stands in a message.
func (p *program) sayMessage(m text.Message) { fmt.Fprintln(p.out, p.text.Render(m)) }

// say writes a sentence on standard output.
func (p *program) say(key text.Key, args ...any) { fmt.Fprintln(p.out, p.text.Say(key, args...)) }

// note writes a sentence on standard error: news about the work, not its result.
func (p *program) note(key text.Key, args ...any) { fmt.Fprintln(p.err, p.text.Say(key, args...)) }

// colour wraps said in an ANSI colour when people look at it and have not asked for none (no-color.org).
func (p *program) colour(code, said string) string {
	if !p.terminal || p.getenv("NO_COLOR") != "" {
		return said
	}
	return "\x1b[" + code + "m" + said + "\x1b[0m"
}

// ANSI colours (SGR parameters).
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
)
