package server

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"plantao/runtime/api"
	"plantao/runtime/conversation"
)

// Lines is what the API needs of the channels.
type Lines interface {
	Lines(ctx context.Context, tenant string) ([]conversation.Line, error)
}

// Connector begins to connect a channel to a phone.
type Connector interface {
	Connect(ctx context.Context, channel, number string) (conversation.Pairing, error)
}

type channelsOutput struct{ Body api.Channels }

// ChannelInput names a channel. It is exported because huma passes over embedded types that are not.
type ChannelInput struct {
	Name string `path:"name" doc:"The channel" maxLength:"200"`
}

type channelOutput struct{ Body api.Channel }

type connectInput struct {
	ChannelInput
	Body api.ConnectRequest
}

type pairingOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         api.Pairing
}

func (a *API) channels(spec huma.API) {
	add(a, spec, operation{scopes: reads, Operation: huma.Operation{
		OperationID: "list-channels", Method: http.MethodGet, Path: "/v1/channels", Summary: "Channels and how each stands with WhatsApp",
	}}, a.listChannels)
	add(a, spec, operation{scopes: reads, Operation: huma.Operation{
		OperationID: "get-channel", Method: http.MethodGet, Path: "/v1/channels/{name}", Summary: "How a channel stands with WhatsApp",
		Errors: []int{http.StatusNotFound},
	}}, a.getChannel)
	add(a, spec, operation{scopes: []conversation.Scope{conversation.ScopeOperate}, Operation: huma.Operation{
		OperationID: "connect-channel", Method: http.MethodPost, Path: "/v1/channels/{name}/connect",
		Summary:     "What a person needs to connect a phone: a QR code, or a code to type",
		Description: "Asking again shows the code of now; codes change about once a minute. A channel that is connected has none.",
		Errors:      []int{http.StatusNotFound},
	}}, a.connectChannel)
}

func (a *API) listChannels(ctx context.Context, _ *struct{}) (*channelsOutput, error) {
	list, err := a.c.Lines.Lines(ctx, who(ctx).Tenant)
	if err != nil {
		return nil, err
	}
	out := &channelsOutput{Body: api.Channels{Channels: []api.Channel{}}}
	for _, l := range list {
		out.Body.Channels = append(out.Body.Channels, api.FromLine(l))
	}
	return out, nil
}

// channel finds one of the caller's own: another tenant's is as unknown as none.
func (a *API) channel(ctx context.Context, name string) (conversation.Line, error) {
	list, err := a.c.Lines.Lines(ctx, who(ctx).Tenant)
	if err != nil {
		return conversation.Line{}, err
	}
	for _, l := range list {
		if l.Name == name {
			return l, nil
		}
	}
	return conversation.Line{}, fmt.Errorf("channel %q: %w", name, conversation.ErrUnknownChannel)
}

func (a *API) getChannel(ctx context.Context, in *ChannelInput) (*channelOutput, error) {
	l, err := a.channel(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	return &channelOutput{Body: api.FromLine(l)}, nil
}

func (a *API) connectChannel(ctx context.Context, in *connectInput) (*pairingOutput, error) {
	l, err := a.channel(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	p, err := a.c.Connector.Connect(ctx, l.Name, in.Body.Number)
	if err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "code to connect a channel was asked for", "channel", l.Name, "by", who(ctx).Actor, "connection", p.State)
	return &pairingOutput{CacheControl: "no-store", Body: api.Pairing{Connection: string(p.State), QR: p.QR, Code: p.Code}}, nil
}
