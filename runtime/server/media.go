package server

import (
	"context"
	"errors"
	"mime"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

type mediaInput struct {
	ID           int64  `path:"media" minimum:"1" doc:"The attachment, as a message or a part names it"`
	Conversation string `query:"conversation" doc:"With a turn token: the turn's conversation"`
	No           int    `query:"turn" minimum:"0" maximum:"2147483647" doc:"With a turn token: the turn's number"`
	Token        string `header:"X-Plantao-Turn-Token" doc:"As the flow was sent it; or a bearer token"`
}

type mediaOutput struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	// What a customer sent is looked at by nobody's browser as a page of ours.
	Options string `header:"X-Content-Type-Options"`
	Cache   string `header:"Cache-Control"`
	Body    []byte
}

func (a *API) media(spec huma.API) {
	add(a, spec, operation{scopes: append([]conversation.Scope{conversation.ScopeAct}, reads...), turnToo: true, Operation: huma.Operation{
		OperationID: "get-media", Method: http.MethodGet, Path: "/v1/media/{media}", Errors: []int{http.StatusNotFound, http.StatusConflict},
		Middlewares: huma.Middlewares{a.few(spec)},
		Summary:     "The content of an attachment",
		Description: "A turn token opens the attachments of its own conversation, as long as the turn may act.",
	}}, a.getMedia)
}

func (a *API) getMedia(ctx context.Context, in *mediaInput) (*mediaOutput, error) {
	p := who(ctx)
	only := conversation.ID(0)
	if in.Token != "" {
		h, err := a.find(ctx, TurnInput{ConversationInput: ConversationInput{ID: in.Conversation}, No: in.No, Token: in.Token})
		if err != nil {
			return nil, err
		}
		p.Tenant, only = h.Tenant, h.Conversation
	}
	c, err := a.c.Store.Media(ctx, p.Tenant, in.ID)
	if errors.Is(err, conversation.ErrNotFound) || err == nil && only != 0 && c.Conversation != only {
		return nil, &answer{status: http.StatusNotFound, body: api.Error{Code: api.CodeNotFound, Message: "there is no attachment with this id"}}
	}
	if err != nil {
		return nil, err
	}
	name := c.FileName
	if name == "" {
		name = "media"
	}
	return &mediaOutput{
		ContentType: c.Mimetype, Disposition: mime.FormatMediaType("attachment", map[string]string{"filename": name}),
		Options: "nosniff", Cache: "private, no-store", Body: c.Bytes,
	}, nil
}
