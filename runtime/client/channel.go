package client

import (
	"context"
	"net/http"
	"net/url"

	"plantao/runtime/api"
)

// Channels lists the channels by name.
func (c *Client) Channels(ctx context.Context) (api.Channels, error) {
	var list api.Channels
	err := c.call(ctx, http.MethodGet, "/v1/channels", nil, nil, &list)
	return list, err
}

// Channel reads one channel.
func (c *Client) Channel(ctx context.Context, name string) (api.Channel, error) {
	var one api.Channel
	err := c.call(ctx, http.MethodGet, channelPath(name), nil, nil, &one)
	return one, err
}

// Connect asks for what a person needs to connect a phone to the channel.
func (c *Client) Connect(ctx context.Context, name string, r api.ConnectRequest) (api.Pairing, error) {
	var p api.Pairing
	err := c.call(ctx, http.MethodPost, channelPath(name)+"/connect", nil, r, &p)
	return p, err
}

func channelPath(name string) string { return "/v1/channels/" + url.PathEscape(name) }
