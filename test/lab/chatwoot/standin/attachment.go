package standin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/jackc/pgx/v5"
)

// maxAttachments is upstream's NUMBER_OF_PERMITTED_ATTACHMENTS.
const maxAttachments = 15

// upload is a file of a multipart request.
type upload struct {
	name, contentType string
	content           []byte
}

type attachment struct {
	ID, MessageID, AccountID             int64
	FileType, FileName, ContentType, Key string
	FileSize                             int64
}

const attachmentQuery = `SELECT id, message_id, account_id, file_type, file_name, content_type, key, octet_length(content)::bigint AS file_size FROM attachments `

// uploads are the files of attachments[]; signed ids of direct uploads, which upstream takes too, are not kept here.
func (p params) uploads() ([]upload, error) {
	switch files := p["attachments"].(type) {
	case nil:
		return nil, nil
	case []upload:
		if len(files) > maxAttachments {
			return nil, invalid("attachments", "Attachments exceeded maximum allowed")
		}
		return files, nil
	}
	return nil, &apiError{http.StatusNotImplemented, map[string]any{"error": "this stand-in takes attachments as files only"}}
}

func storeAttachments(ctx context.Context, q querier, m message, files []upload) error {
	for _, f := range files {
		kind, _, _ := strings.Cut(f.contentType, "/")
		if kind != "image" && kind != "audio" && kind != "video" {
			kind = "file"
		}
		_, err := q.Exec(ctx, `INSERT INTO attachments (message_id, account_id, file_type, file_name, content_type, content, key) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			m.ID, m.AccountID, kind, f.name, f.contentType, f.content, token())
		if err != nil {
			return fmt.Errorf("store attachment: %w", err)
		}
	}
	return nil
}

// attachments is the list in a message's answers and payloads; nil if there are none. The addresses are built from FRONTEND_URL, whoever asks.
func (a *App) attachments(ctx context.Context, m message) ([]map[string]any, error) {
	found, err := collect[attachment](ctx, a.db, attachmentQuery+`WHERE message_id = $1 ORDER BY id`, m.ID)
	if err != nil {
		return nil, err
	}
	var list []map[string]any
	for _, f := range found {
		at := a.env.FrontendURL + "/rails/active_storage/blobs/redirect/" + f.Key + "/" + url.PathEscape(f.FileName)
		list = append(list, map[string]any{"id": f.ID, "message_id": f.MessageID, "file_type": f.FileType, "account_id": f.AccountID,
			"extension": strings.TrimPrefix(path.Ext(f.FileName), "."), "content_type": f.ContentType, "data_url": at, "thumb_url": "",
			"file_size": f.FileSize, "width": nil, "height": nil})
	}
	return list, nil
}

// files are Active Storage's two routes: an address that leads to the storage's, which is signed for five minutes upstream.
func (a *App) files(mux *http.ServeMux) {
	mux.HandleFunc("GET /rails/active_storage/blobs/redirect/{key}/{name}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, a.env.FrontendURL+"/rails/active_storage/disk/"+r.PathValue("key")+"/"+url.PathEscape(r.PathValue("name")), http.StatusFound)
	})
	mux.HandleFunc("GET /rails/active_storage/disk/{key}/{name}", func(w http.ResponseWriter, r *http.Request) {
		var kind string
		var content []byte
		err := a.db.QueryRow(r.Context(), `SELECT content_type, content FROM attachments WHERE key = $1`, r.PathValue("key")).Scan(&kind, &content)
		if errors.Is(err, pgx.ErrNoRows) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if err != nil {
			a.writeError(w, r, err)
			return
		}
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(content) // the caller has gone
	})
}
