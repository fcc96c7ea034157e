package image

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const versionLabel = "org.opencontainers.image.version"

// Build features the classic builder of engine 20.10 does not have, and the usual way secrets get in.
var (
	heredoc        = regexp.MustCompile(`<<-?['"]?[A-Za-z]`)
	newFlags       = regexp.MustCompile(`(^|\s)--(mount|network|security|link|chmod|parents|exclude)\b`)
	secretName     = regexp.MustCompile(`(?i)(password|passwd|secret|token|api_?key|private_?key)`)
	argReference   = regexp.MustCompile(`^\$\{([A-Z][A-Z0-9_]*)\}$`)
	movingTag      = regexp.MustCompile(`:latest\b`)
	instructionEnd = regexp.MustCompile(`\s+`)
)

type instruction struct {
	line int
	name string // upper case
	rest string
}

// CheckDockerfile returns every breach of the lab's rules: each FROM is a build argument, an earlier
// stage or scratch; nothing that engine 20.10's builder lacks; no moving tag; no secret in ARG or ENV; the last
// stage states a numeric user and the version label.
func CheckDockerfile(text []byte) []error {
	c := dockerfileCheck{args: map[string]bool{}}
	for _, in := range instructions(string(text)) {
		c.common(in)
		switch in.name {
		case "ARG":
			c.arg(in)
		case "ENV":
			c.env(in)
		case "FROM":
			c.from(in)
		case "LABEL":
			c.versioned = c.versioned || strings.Contains(in.rest, versionLabel+"=")
		case "USER":
			c.userIs(in)
		}
	}
	if c.stages == 0 {
		c.report(instruction{}, "no FROM")
		return c.problems
	}
	if !c.numericUser {
		c.report(instruction{}, "the last stage has no USER")
	}
	if !c.versioned {
		c.report(instruction{}, "the last stage has no LABEL %s", versionLabel)
	}
	return c.problems
}

type dockerfileCheck struct {
	args     map[string]bool // declared before the first FROM
	names    []string        // of stages
	stages   int
	problems []error

	// Of the stage being read.
	numericUser, versioned bool
}

func (c *dockerfileCheck) report(in instruction, format string, args ...any) {
	where := dockerfileName
	if in.line > 0 {
		where = fmt.Sprintf("%s line %d", dockerfileName, in.line)
	}
	c.problems = append(c.problems, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
}

func (c *dockerfileCheck) common(in instruction) {
	if movingTag.MatchString(in.rest) {
		c.report(in, "moving tag latest")
	}
	if heredoc.MatchString(in.rest) {
		c.report(in, "heredocs need a newer builder than engine 20.10 has")
	}
	switch in.name {
	case "RUN", "COPY", "ADD":
		// Flags stand before the arguments; "--chmod" inside a command line is the command's own.
		flags := leadingFlags(in.rest)
		if f := newFlags.FindString(flags); f != "" {
			c.report(in, "%s needs a newer builder than engine 20.10 has", strings.TrimSpace(f))
		}
	}
	if in.name == "ADD" && strings.Contains(in.rest, "://") {
		c.report(in, "ADD of a URL is not verified; fetch and check it in RUN")
	}
}

func leadingFlags(rest string) string {
	var flags []string
	for _, word := range strings.Fields(rest) {
		if !strings.HasPrefix(word, "--") {
			break
		}
		flags = append(flags, word)
	}
	return strings.Join(flags, " ")
}

func (c *dockerfileCheck) arg(in instruction) {
	name, _, _ := strings.Cut(in.rest, "=")
	if c.stages == 0 {
		c.args[strings.TrimSpace(name)] = true
	}
	if secretName.MatchString(name) {
		c.report(in, "ARG %s: a secret in an image can be read by everybody who has it", name)
	}
}

func (c *dockerfileCheck) env(in instruction) {
	for _, word := range strings.Fields(in.rest) {
		name, value, ok := strings.Cut(word, "=")
		if ok && value != "" && secretName.MatchString(name) && !strings.HasSuffix(name, "_FILE") {
			c.report(in, "ENV %s: a secret in an image can be read by everybody who has it", name)
		}
	}
}

func (c *dockerfileCheck) from(in instruction) {
	c.stages++
	c.numericUser, c.versioned = false, false
	words := strings.Fields(in.rest)
	if len(words) == 0 {
		c.report(in, "FROM without an image")
		return
	}
	m := argReference.FindStringSubmatch(words[0])
	switch {
	case words[0] == "scratch", slices.Contains(c.names, words[0]):
	case m == nil:
		c.report(in, "FROM %s: want a build argument such as ${BASE}, an earlier stage or scratch", words[0])
	case !c.args[m[1]]:
		c.report(in, "FROM ${%s}: declare ARG %s before the first FROM", m[1], m[1])
	}
	if len(words) == 3 && strings.EqualFold(words[1], "AS") {
		c.names = append(c.names, words[2])
	}
}

func (c *dockerfileCheck) userIs(in instruction) {
	user, group, _ := strings.Cut(in.rest, ":")
	_, err := strconv.ParseUint(user, 10, 32)
	if group != "" && err == nil {
		_, err = strconv.ParseUint(group, 10, 32)
	}
	if err != nil {
		c.report(in, "USER %s: want numbers, so that volumes and --user mean the same everywhere", in.rest)
		return
	}
	c.numericUser = true
}

// instructions splits a Dockerfile, joining continued lines and dropping comments.
func instructions(text string) []instruction {
	var (
		all     []instruction
		pending strings.Builder
		start   int
	)
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if pending.Len() == 0 {
			start = i + 1
		}
		more := strings.HasSuffix(line, `\`)
		pending.WriteString(strings.TrimSuffix(line, `\`) + " ")
		if more {
			continue
		}
		parts := instructionEnd.Split(strings.TrimSpace(pending.String()), 2)
		in := instruction{line: start, name: strings.ToUpper(parts[0])}
		if len(parts) == 2 {
			in.rest = parts[1]
		}
		all = append(all, in)
		pending.Reset()
	}
	return all
}
