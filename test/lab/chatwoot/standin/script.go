package standin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// A runner script is Ruby. The stand-in reads the few statements our bootstrap script is made of, in any order and any
// layout of white space, and refuses every other one: a script it cannot act on exactly must not look as if it ran.
//
// Statements, after comments and line breaks inside brackets are taken out:
//
//	NAME = %w[A B …]                              a list of variable names
//	NAME = LIST.select { |x| ENV[x].to_s.strip.empty? }
//	raise "…#{NAME.join(', ')}…" unless NAME.empty?
//	if User.from_email(ENV.fetch("X")).nil?  |  unless User.exists?(email: ENV.fetch("X"))
//	AccountBuilder.new(account_name: ENV.fetch("A"), …, super_admin: true, confirmed: true).perform
//	end
//	Redis::Alfred.delete(Redis::Alfred::CHATWOOT_INSTALLATION_ONBOARDING)
//	OnlineStatusTracker.update_presence(ACCOUNT, "User", USER)
var (
	wordList      = regexp.MustCompile(`^([a-z_]+) ?= ?%w\[([A-Z0-9_ ]+)\](?:\.freeze)?$`)
	selectEmpty   = regexp.MustCompile(`^([a-z_]+) ?= ?([a-z_]+)\.select \{ ?\|([a-z_]+)\| ENV\[([a-z_]+)\]\.to_s\.strip\.empty\? ?\}$`)
	raiseUnless   = regexp.MustCompile(`^raise "([^"]*)" unless ([a-z_]+)\.empty\?$`)
	unlessUser    = regexp.MustCompile(`^if User\.from_email\(ENV\.fetch\("([A-Z_]+)"\)\)\.nil\?$|^unless User\.exists\?\(email: ENV\.fetch\("([A-Z_]+)"\)\)$`)
	buildAccount  = regexp.MustCompile(`^AccountBuilder\.new\( ?(.*?),? ?\)\.perform$`)
	builderArg    = regexp.MustCompile(`^([a-z_]+): (?:ENV\.fetch\("([A-Z_]+)"\)|(true|false))$`)
	deleteKey     = regexp.MustCompile(`^Redis::Alfred\.delete\(Redis::Alfred::CHATWOOT_INSTALLATION_ONBOARDING\)$`)
	seeUser       = regexp.MustCompile(`^OnlineStatusTracker\.update_presence\( ?(\d+), ["']User["'], (\d+) ?\)$`)
	interpolation = regexp.MustCompile(`#\{([a-z_]+)\.join\('([^']*)'\)\}`)
	spaces        = regexp.MustCompile(`\s+`)
	commentLine   = regexp.MustCompile(`^\s*#`)
)

// statement is one line of the script as it is executed; line is for messages.
type statement struct {
	line int
	text string
}

// RunScript is rails runner FILE: it executes the script's text with the variables of get.
func (a *App) RunScript(ctx context.Context, script io.Reader, get func(string) string) error {
	raw, err := io.ReadAll(io.LimitReader(script, 1<<20))
	if err != nil {
		return fmt.Errorf("read script: %w", err)
	}
	statements, err := splitScript(string(raw))
	if err != nil {
		return err
	}
	if err := checkScript(statements); err != nil {
		return err
	}
	run := &scriptRun{app: a, get: get, lists: map[string][]string{}}
	for _, s := range statements {
		if err := run.step(ctx, s); err != nil {
			return fmt.Errorf("line %d: %w", s.line, err)
		}
	}
	return nil
}

// splitScript drops comments and blank lines and joins the lines of a bracketed call.
func splitScript(text string) ([]statement, error) {
	var out []statement
	open := 0
	for i, line := range strings.Split(text, "\n") {
		if commentLine.MatchString(line) || strings.TrimSpace(line) == "" {
			continue
		}
		line = strings.TrimSpace(line)
		if open > 0 {
			out[len(out)-1].text += " " + line
		} else {
			out = append(out, statement{line: i + 1, text: line})
		}
		open += strings.Count(line, "(") - strings.Count(line, ")")
		if open < 0 {
			return nil, fmt.Errorf("line %d: syntax error, unexpected ')'", i+1)
		}
	}
	if open != 0 {
		return nil, errors.New("syntax error, unexpected end-of-input, expecting ')'")
	}
	for i := range out {
		out[i].text = spaces.ReplaceAllString(out[i].text, " ")
	}
	return out, nil
}

// checkScript refuses the whole script before anything is done when one statement is unknown.
func checkScript(statements []statement) error {
	depth := 0
	for _, s := range statements {
		switch {
		case unlessUser.MatchString(s.text):
			depth++
		case s.text == "end":
			if depth--; depth < 0 {
				return fmt.Errorf("line %d: syntax error, unexpected `end'", s.line)
			}
		case buildAccount.MatchString(s.text):
			if _, err := builderArguments(s.text); err != nil {
				return fmt.Errorf("line %d: %w", s.line, err)
			}
		case wordList.MatchString(s.text), selectEmpty.MatchString(s.text), raiseUnless.MatchString(s.text), deleteKey.MatchString(s.text),
			seeUser.MatchString(s.text):
		default:
			return fmt.Errorf("line %d: this stand-in knows only the statements of bootstrap.rb and a few more, not %q", s.line, s.text)
		}
	}
	if depth != 0 {
		return errors.New("syntax error, unexpected end-of-input, expecting `end'")
	}
	if len(statements) == 0 {
		return errors.New("the script is empty")
	}
	return nil
}

// builderArguments returns argument name → ENV name, or → true/false.
func builderArguments(text string) (map[string]string, error) {
	allowed := map[string]bool{"account_name": true, "user_full_name": true, "email": true, "user_password": true, "super_admin": true, "confirmed": true}
	args := map[string]string{}
	for _, part := range strings.Split(buildAccount.FindStringSubmatch(text)[1], ", ") {
		m := builderArg.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return nil, fmt.Errorf("AccountBuilder: cannot read argument %q", part)
		}
		if !allowed[m[1]] {
			return nil, fmt.Errorf("AccountBuilder: unknown keyword: :%s (ArgumentError)", m[1])
		}
		args[m[1]] = m[2] + m[3]
	}
	if args["email"] == "" {
		return nil, errors.New("AccountBuilder: missing keyword: email (KeyError)")
	}
	return args, nil
}

// scriptRun is the state of one execution.
type scriptRun struct {
	app   *App
	get   func(string) string
	lists map[string][]string
	skip  int // depth of conditions that do not hold
	depth int
}

func (r *scriptRun) step(ctx context.Context, s statement) error {
	if m := unlessUser.FindStringSubmatch(s.text); m != nil {
		return r.condition(ctx, m[1]+m[2])
	}
	if s.text == "end" {
		r.depth--
		if r.skip > r.depth {
			r.skip = 0
		}
		return nil
	}
	if r.skip > 0 {
		return nil
	}
	if m := wordList.FindStringSubmatch(s.text); m != nil {
		r.lists[m[1]] = strings.Fields(m[2])
		return nil
	}
	if m := selectEmpty.FindStringSubmatch(s.text); m != nil {
		return r.selectEmpty(m)
	}
	if m := raiseUnless.FindStringSubmatch(s.text); m != nil {
		return r.raiseUnless(m)
	}
	if buildAccount.MatchString(s.text) {
		return r.build(ctx, s.text)
	}
	if m := seeUser.FindStringSubmatch(s.text); m != nil {
		account, err1 := strconv.ParseInt(m[1], 10, 64)
		user, err2 := strconv.ParseInt(m[2], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		return r.app.updatePresence(ctx, account, user)
	}
	if err := r.app.redis.Del(ctx, onboardingKey).Err(); err != nil {
		return fmt.Errorf("delete the onboarding key: %w", err)
	}
	return nil
}

func (r *scriptRun) condition(ctx context.Context, name string) error {
	r.depth++
	if r.skip > 0 {
		return nil
	}
	email, err := r.fetch(name)
	if err != nil {
		return err
	}
	exists, err := r.app.userExists(ctx, email)
	if err != nil {
		return err
	}
	if exists {
		r.skip = r.depth
	}
	return nil
}

func (r *scriptRun) selectEmpty(m []string) error {
	list, ok := r.lists[m[2]]
	if !ok || m[3] != m[4] {
		return fmt.Errorf("undefined local variable or method `%s' (NameError)", m[2])
	}
	var empty []string
	for _, name := range list {
		if strings.TrimSpace(r.get(name)) == "" {
			empty = append(empty, name)
		}
	}
	r.lists[m[1]] = empty
	return nil
}

func (r *scriptRun) raiseUnless(m []string) error {
	list, ok := r.lists[m[2]]
	if !ok {
		return fmt.Errorf("undefined local variable or method `%s' (NameError)", m[2])
	}
	if len(list) == 0 {
		return nil
	}
	message := interpolation.ReplaceAllStringFunc(m[1], func(part string) string {
		p := interpolation.FindStringSubmatch(part)
		return strings.Join(r.lists[p[1]], p[2])
	})
	return fmt.Errorf("%s (RuntimeError)", message)
}

func (r *scriptRun) build(ctx context.Context, text string) error {
	args, err := builderArguments(text)
	if err != nil {
		return err
	}
	b := accountBuilder{superAdmin: args["super_admin"] == "true", confirmed: args["confirmed"] == "true"}
	for _, field := range []struct {
		arg string
		to  *string
	}{{"account_name", &b.accountName}, {"user_full_name", &b.userFullName}, {"email", &b.email}, {"user_password", &b.password}} {
		if args[field.arg] == "" {
			continue
		}
		if *field.to, err = r.fetch(args[field.arg]); err != nil {
			return err
		}
	}
	if _, _, err := b.perform(ctx, r.app); err != nil {
		return fmt.Errorf("AccountBuilder: %w", err)
	}
	return nil
}

// fetch is ENV.fetch: a variable that is unset raises; the stand-in takes empty for unset, since its own processes get
// their variables from a sourced file.
func (r *scriptRun) fetch(name string) (string, error) {
	if v := r.get(name); v != "" {
		return v, nil
	}
	return "", fmt.Errorf("key not found: %q (KeyError)", name)
}

// RunScriptFile is RunScript with a file's name, as given on the command line.
func (a *App) RunScriptFile(ctx context.Context, path string, get func(string) string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open %q: please specify a valid ruby command or the path of a script to run: %w", path, err)
	}
	defer func() { _ = f.Close() }()
	return a.RunScript(ctx, f, get)
}
