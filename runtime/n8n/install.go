package n8n

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// CredentialName is the name under which a workflow file refers to the router's token: an
	// httpHeaderAuth credential that Install creates.
	CredentialName = "Plantão: token do router"
	// TokenHeader is the header that credential checks.
	TokenHeader = "X-Plantao-Token"

	credentialType = "httpHeaderAuth"

	// ModelCredentialName is the name of the AI model's credential, which people fill in: Install makes it once, empty, since
	// n8n publishes no workflow whose credential is missing, and never writes it again.
	ModelCredentialName = "Plantão: modelo de IA"
	modelCredentialType = "openAiApi"
)

// emptyModel is a model's credential that nobody has filled in. Its URL is a closed port of n8n's own container: what customers
// write goes nowhere before somebody says where to.
var emptyModel = map[string]any{"apiKey": "-", "url": "http://127.0.0.1:9/v1", "header": false}

// InstallConfig is what Install needs. All fields but HTTP and Logger are required.
type InstallConfig struct {
	// URL is n8n's base URL, reachable from here ("http://n8n:5678").
	URL string
	// OwnerEmail and OwnerPassword sign in as the owner, whom n8n takes from its N8N_INSTANCE_OWNER_* variables.
	OwnerEmail    string
	OwnerPassword string
	// FlowToken is what the router will send as X-Plantao-Token.
	FlowToken string
	// Workflows holds the workflow files: every *.json at the top, in n8n's export form. Their names
	// ("name") identify them in n8n, so a renamed file is the same workflow and a renamed workflow a new one.
	Workflows fs.FS
	// HTTP is used for every call; nil: a client with a 30 s timeout that follows no redirect.
	HTTP *http.Client
	// Logger is told what changed; nil: nobody is.
	Logger *slog.Logger
	// Wait bounds the wait for n8n to start and for a published webhook to answer, each; zero: 3 minutes.
	Wait time.Duration
}

// InstallResult says what is installed now.
type InstallResult struct {
	// Workflows are in the order of their file names.
	Workflows []InstalledWorkflow
}

// InstalledWorkflow is one workflow as n8n has it after Install.
type InstalledWorkflow struct {
	// Name is the workflow's name, ID what n8n calls it.
	Name, ID string
	// Changed is true when it was created, rewritten, unarchived or published by this run.
	Changed bool
}

// installer is one run of Install after everything local was checked.
type installer struct {
	InstallConfig
	api    *adminClient
	logger *slog.Logger
	files  []workflowFile
	// ids are credential ids by type and name, as the files refer to them.
	ids map[credentialRef]string
}

// Install brings n8n to the state the files describe and returns once every webhook in them answers: it
// waits for n8n, signs in as the owner, writes the router's token into its credential, makes an empty one for the AI model if
// a file names it and n8n has none, creates or rewrites the workflows that differ, and publishes them. Running it again
// changes no workflow.
//
// It works through n8n's public API with a key that is deleted before Install returns and would expire within
// minutes if it could not be. A half-done run is completed by the next. Errors name the file or the setting
// to look at; no secret is in them.
func Install(ctx context.Context, cfg InstallConfig) (InstallResult, error) {
	in, err := newInstaller(cfg)
	if err != nil {
		return InstallResult{}, fmt.Errorf("install n8n workflows: %w", err)
	}
	res, err := in.run(ctx)
	if err != nil {
		return InstallResult{}, fmt.Errorf("install n8n workflows: %w", err)
	}
	return res, nil
}

// newInstaller checks everything that can be checked without n8n, all problems at once.
func newInstaller(cfg InstallConfig) (*installer, error) {
	var problems []error
	for _, f := range []struct{ name, value string }{
		{"owner e-mail", cfg.OwnerEmail}, {"owner password", cfg.OwnerPassword}, {"flow token", cfg.FlowToken},
	} {
		if strings.TrimSpace(f.value) == "" {
			problems = append(problems, fmt.Errorf("the %s is empty", f.name))
		}
	}
	if u, err := url.Parse(cfg.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		problems = append(problems, fmt.Errorf("n8n's URL %q is not an http URL such as http://n8n:5678", cfg.URL))
	}
	if cfg.Workflows == nil {
		return nil, errors.Join(append(problems, errors.New("no folder of workflow files is given"))...)
	}
	files, err := readWorkflows(cfg.Workflows)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, err
	}
	if cfg.Wait <= 0 {
		cfg.Wait = 3 * time.Minute
	}
	logger := cfg.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &installer{
		InstallConfig: cfg, files: files, logger: logger, ids: map[credentialRef]string{},
		api: newAdminClient(cfg.URL, cfg.HTTP, cfg.OwnerPassword, cfg.FlowToken),
	}, nil
}

func (in *installer) run(ctx context.Context) (res InstallResult, err error) {
	defer in.api.close()
	ready, cancel := context.WithTimeout(ctx, in.Wait)
	defer cancel()
	if err := in.api.waitReady(ready); err != nil {
		return res, err
	}
	if err := in.api.login(ready, in.OwnerEmail, in.OwnerPassword); err != nil {
		return res, err
	}
	// Also when ctx has ended: a key must not stay behind.
	defer func() {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		err = errors.Join(err, in.api.dropKey(cleanup))
	}()
	if err := in.api.createKey(ctx, time.Now()); err != nil {
		return res, err
	}
	if err := in.ensureCredential(ctx); err != nil {
		return res, err
	}
	for _, f := range in.files {
		w, err := in.ensureWorkflow(ctx, f)
		if err != nil {
			return res, fmt.Errorf("%s: %w", f.file, err)
		}
		res.Workflows = append(res.Workflows, w)
	}
	live, cancelLive := context.WithTimeout(ctx, in.Wait)
	defer cancelLive()
	for _, f := range in.files {
		for _, hook := range f.webhooks {
			if err := in.api.waitLive(live, hook); err != nil {
				return res, fmt.Errorf("%s: %w", f.file, err)
			}
		}
	}
	return res, nil
}

// ensureCredential makes the router's credential hold the token, and finds the ids of the other credentials
// the files name. n8n gives no stored value back to compare with, so the token is written on every run; that
// also mends one edited by hand. n8n reads it at each call, so a new token counts at once.
func (in *installer) ensureCredential(ctx context.Context) error {
	stored, err := in.api.credentials(ctx)
	if err != nil {
		return err
	}
	ours := credentialRef{kind: credentialType, name: CredentialName}
	model := credentialRef{kind: modelCredentialType, name: ModelCredentialName}
	wanted := []credentialRef{ours}
	for _, f := range in.files {
		wanted = append(wanted, f.credentials...)
	}
	for _, ref := range wanted {
		ids := stored[ref]
		if len(ids) > 1 {
			return fmt.Errorf("n8n has %d credentials named %q of type %s: delete or rename all but one", len(ids), ref.name, ref.kind)
		}
		if len(ids) == 0 && ref == model && in.ids[model] == "" {
			if in.ids[model], err = in.create(ctx, model, emptyModel); err != nil {
				return err
			}
		}
		if len(ids) == 0 && ref != ours && ref != model {
			return fmt.Errorf("n8n has no credential named %q of type %s, which a workflow file uses: create it in n8n first", ref.name, ref.kind)
		}
		if len(ids) == 1 {
			in.ids[ref] = ids[0]
		}
	}
	data := map[string]any{"name": TokenHeader, "value": in.FlowToken}
	if id, ok := in.ids[ours]; ok {
		return in.api.updateCredential(ctx, id, data)
	}
	in.ids[ours], err = in.create(ctx, ours, data)
	return err
}

func (in *installer) create(ctx context.Context, ref credentialRef, data map[string]any) (string, error) {
	id, err := in.api.createCredential(ctx, ref, data)
	if err != nil {
		return "", err
	}
	in.logger.InfoContext(ctx, "n8n credential created", "credential", ref.name, "id", id)
	return id, nil
}

// ensureWorkflow makes n8n's workflow of this name equal to the file and published.
func (in *installer) ensureWorkflow(ctx context.Context, f workflowFile) (InstalledWorkflow, error) {
	want := f.resolve(in.ids)
	stored, err := in.api.workflowsNamed(ctx, want.Name)
	if err != nil {
		return InstalledWorkflow{}, err
	}
	if len(stored) > 1 {
		return InstalledWorkflow{}, fmt.Errorf("n8n has %d workflows named %q: delete or rename all but one", len(stored), want.Name)
	}
	var have storedWorkflow
	done := InstalledWorkflow{Name: want.Name}
	note := func(what string, more ...any) {
		done.Changed = true
		in.logger.InfoContext(ctx, "n8n workflow "+what, append([]any{"workflow", want.Name, "id", have.ID}, more...)...)
	}
	if len(stored) == 0 {
		if have, err = in.api.createWorkflow(ctx, want); err != nil {
			return done, err
		}
		note("created")
	} else if have, err = in.rewrite(ctx, want, stored[0], note); err != nil {
		return done, err
	}
	if where := want.difference(have.workflow); where != "" {
		in.logger.WarnContext(ctx, "n8n stores the workflow otherwise than its file states it, so every run will rewrite it: write the file as n8n exports it",
			"file", f.file, "field", where)
	}
	if !have.published() {
		if have, err = in.api.publish(ctx, have); err != nil {
			return done, err
		}
		note("published")
	}
	done.ID = have.ID
	return done, nil
}

// rewrite brings an existing workflow to the wanted content; n8n republishes a published one by itself.
func (in *installer) rewrite(ctx context.Context, want workflow, have storedWorkflow, note func(string, ...any)) (storedWorkflow, error) {
	var err error
	if have.Archived {
		if have, err = in.api.unarchive(ctx, have.ID); err != nil {
			return have, err
		}
		note("unarchived")
	}
	where := want.difference(have.workflow)
	if where == "" {
		return have, nil
	}
	if have, err = in.api.updateWorkflow(ctx, have.ID, want); err != nil {
		return have, err
	}
	note("rewritten", "field", where)
	return have, nil
}
