package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/websocket"
)

// errBrokerGone is returned while the broker cannot be reached or dropped the connection: wait and try again.
var errBrokerGone = errors.New("task broker is gone")

// message is any frame between launcher and broker; which fields are set depends on Type.
type message struct {
	Type     string   `json:"type"`
	Types    []string `json:"types,omitempty"`
	Name     string   `json:"name,omitempty"`
	TaskType string   `json:"taskType,omitempty"`
	OfferID  string   `json:"offerId,omitempty"`
	// ValidFor is milliseconds; -1 never expires.
	ValidFor int    `json:"validFor,omitempty"`
	TaskID   string `json:"taskId,omitempty"`
}

// broker speaks to n8n's task broker.
type broker struct {
	url       string
	authToken string
}

var brokerHTTP = &http.Client{Timeout: 5 * time.Second}

// ready is nil once the broker answers its health check.
func (b broker) ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/healthz", nil)
	if err != nil {
		return fmt.Errorf("ask the task broker for its health: %w", err)
	}
	res, err := brokerHTTP.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", errBrokerGone, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: health check answered %s", errBrokerGone, res.Status)
	}
	return nil
}

// grantToken exchanges the auth token for a token that opens one connection.
func (b broker) grantToken(ctx context.Context) (string, error) {
	body, err := json.Marshal(map[string]string{"token": b.authToken})
	if err != nil {
		return "", fmt.Errorf("encode grant request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+"/runners/auth", bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("ask for a grant token: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := brokerHTTP.Do(req)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errBrokerGone, err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return "", fmt.Errorf("the task broker refused N8N_RUNNERS_AUTH_TOKEN (%s): give n8n and its runner the same token", res.Status)
	default:
		return "", fmt.Errorf("ask for a grant token: %s", res.Status)
	}
	var answer struct {
		Data struct {
			Token string `json:"token"`
		} `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&answer); err != nil {
		return "", fmt.Errorf("decode grant answer: %w", err)
	}
	if answer.Data.Token == "" {
		return "", errors.New("the task broker's grant answer holds no token")
	}
	return answer.Data.Token, nil
}

// awaitTask registers as a runner of taskType, offers to run one task with no expiry, and returns nil
// once the broker has accepted the offer and been told that a real runner will take the task.
// The connection's heartbeat (ping) is answered by the websocket package.
func (b broker) awaitTask(ctx context.Context, taskType, grantToken string) error {
	id := rand.Text()
	cfg, err := websocket.NewConfig("ws"+strings.TrimPrefix(b.url, "http")+"/runners/_ws?id="+id, b.url)
	if err != nil {
		return fmt.Errorf("prepare connection to the task broker: %w", err)
	}
	cfg.Header.Set("Authorization", "Bearer "+grantToken)
	conn, err := cfg.DialContext(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errBrokerGone, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()

	for {
		var in message
		if err := websocket.JSON.Receive(conn, &in); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%w: %w", errBrokerGone, err)
		}
		var out message
		switch in.Type {
		case "broker:inforequest":
			out = message{Type: "runner:info", Types: []string{taskType}, Name: "launcher-" + taskType}
		case "broker:runnerregistered":
			out = message{Type: "runner:taskoffer", TaskType: taskType, OfferID: rand.Text(), ValidFor: -1}
		case "broker:taskofferaccept":
			out = message{Type: "runner:taskdeferred", TaskID: in.TaskID}
		default:
			continue
		}
		if err := websocket.JSON.Send(conn, out); err != nil {
			return fmt.Errorf("%w: %w", errBrokerGone, err)
		}
		if out.Type == "runner:taskdeferred" {
			return nil
		}
	}
}
