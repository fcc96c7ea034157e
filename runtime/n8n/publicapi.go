package n8n

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// storedWorkflow is a workflow as the public API returns it.
type storedWorkflow struct {
	workflow
	ID       string `json:"id"`
	Active   bool   `json:"active"`
	Archived bool   `json:"isArchived"`
	// VersionID is the newest saved version, ActiveVersionID the one that production webhooks run.
	VersionID       string `json:"versionId"`
	ActiveVersionID string `json:"activeVersionId"`
	ActiveVersion   *struct {
		VersionID string `json:"versionId"`
	} `json:"activeVersion"`
}

// published tells that production runs the newest version.
func (w storedWorkflow) published() bool {
	live := w.ActiveVersionID
	if live == "" && w.ActiveVersion != nil {
		live = w.ActiveVersion.VersionID
	}
	return w.Active && !w.Archived && live == w.VersionID
}

// pages walks a list of the public API; each gets one page to decode and returns the next cursor.
func (c *adminClient) pages(ctx context.Context, path string, query url.Values, each func(get func(out any) error) (string, error)) error {
	query.Set("limit", pageSize)
	for {
		next, err := each(func(out any) error {
			_, err := c.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, out)
			return err
		})
		if err != nil || next == "" {
			return err
		}
		query.Set("cursor", next)
	}
}

// credentials lists the ids of all credentials by type and name.
func (c *adminClient) credentials(ctx context.Context) (map[credentialRef][]string, error) {
	found := map[credentialRef][]string{}
	err := c.pages(ctx, "/api/v1/credentials", url.Values{}, func(get func(any) error) (string, error) {
		var page struct {
			Data []struct {
				ID   string `json:"id"`
				Name string `json:"name"`
				Type string `json:"type"`
			} `json:"data"`
			Next string `json:"nextCursor"`
		}
		if err := get(&page); err != nil {
			return "", err
		}
		for _, one := range page.Data {
			ref := credentialRef{kind: one.Type, name: one.Name}
			found[ref] = append(found[ref], one.ID)
		}
		return page.Next, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list n8n credentials: %w", err)
	}
	return found, nil
}

func (c *adminClient) createCredential(ctx context.Context, ref credentialRef, data map[string]any) (string, error) {
	var answer struct {
		ID string `json:"id"`
	}
	body := map[string]any{"name": ref.name, "type": ref.kind, "data": data}
	if _, err := c.call(ctx, http.MethodPost, "/api/v1/credentials", body, &answer); err != nil {
		return "", fmt.Errorf("create n8n credential %q: %w", ref.name, err)
	}
	if answer.ID == "" {
		return "", fmt.Errorf("create n8n credential %q: the answer holds no id", ref.name)
	}
	return answer.ID, nil
}

func (c *adminClient) updateCredential(ctx context.Context, id string, data map[string]any) error {
	body := map[string]any{"type": credentialType, "data": data}
	if _, err := c.call(ctx, http.MethodPatch, "/api/v1/credentials/"+url.PathEscape(id), body, nil); err != nil {
		return fmt.Errorf("update n8n credential %q: %w", CredentialName, err)
	}
	return nil
}

// workflowsNamed lists the workflows with exactly this name, archived ones included.
func (c *adminClient) workflowsNamed(ctx context.Context, name string) ([]storedWorkflow, error) {
	var found []storedWorkflow
	// n8n's filter also lets longer names through.
	query := url.Values{"name": {name}, "excludePinnedData": {"true"}}
	err := c.pages(ctx, "/api/v1/workflows", query, func(get func(any) error) (string, error) {
		var page struct {
			Data []storedWorkflow `json:"data"`
			Next string           `json:"nextCursor"`
		}
		if err := get(&page); err != nil {
			return "", err
		}
		for _, w := range page.Data {
			if w.Name == name {
				found = append(found, w)
			}
		}
		return page.Next, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list n8n workflows: %w", err)
	}
	return found, nil
}

func (c *adminClient) createWorkflow(ctx context.Context, w workflow) (storedWorkflow, error) {
	return c.changeWorkflow(ctx, "create", http.MethodPost, "", w)
}

func (c *adminClient) updateWorkflow(ctx context.Context, id string, w workflow) (storedWorkflow, error) {
	return c.changeWorkflow(ctx, "update", http.MethodPut, "/"+url.PathEscape(id), w)
}

func (c *adminClient) unarchive(ctx context.Context, id string) (storedWorkflow, error) {
	return c.changeWorkflow(ctx, "unarchive", http.MethodPost, "/"+url.PathEscape(id)+"/unarchive", nil)
}

func (c *adminClient) publish(ctx context.Context, w storedWorkflow) (storedWorkflow, error) {
	published, err := c.changeWorkflow(ctx, "publish", http.MethodPost, "/"+url.PathEscape(w.ID)+"/publish", map[string]string{"versionId": w.VersionID})
	if status(err) == http.StatusConflict {
		return published, fmt.Errorf("%w; if another published workflow opens the same webhook path, unpublish it or change its path", err)
	}
	return published, err
}

func (c *adminClient) changeWorkflow(ctx context.Context, verb, method, path string, body any) (storedWorkflow, error) {
	var w storedWorkflow
	if _, err := c.call(ctx, method, "/api/v1/workflows"+path, body, &w); err != nil {
		return w, fmt.Errorf("%s n8n workflow: %w", verb, err)
	}
	if w.ID == "" {
		return w, fmt.Errorf("%s n8n workflow: the answer holds no id", verb)
	}
	return w, nil
}
