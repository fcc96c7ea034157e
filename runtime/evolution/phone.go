package evolution

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"plantao/runtime/conversation"
)

var (
	_ conversation.Phone   = (*Client)(nil)
	_ conversation.Manners = (*Client)(nil)
)

// Connection implements conversation.Phone.
func (c *Client) Connection(ctx context.Context, channel string) (conversation.Connection, error) {
	var answer struct {
		Instance struct {
			State conversation.ConnectionState `json:"state"`
		} `json:"instance"`
	}
	err := c.call(ctx, http.MethodGet, "/instance/connectionState/"+url.PathEscape(channel), nil, &answer)
	switch state := answer.Instance.State; {
	case noInstance(err):
		return conversation.Connection{State: conversation.ConnectionClosed, Reason: conversation.ReasonNoInstance}, nil
	case err != nil:
		return conversation.Connection{}, fmt.Errorf("read connection of channel %q: %w", channel, err)
	case !knownState(state):
		return conversation.Connection{}, fmt.Errorf("read connection of channel %q: the answer names no state", channel)
	default:
		return conversation.Connection{State: state}, nil
	}
}

func knownState(s conversation.ConnectionState) bool {
	switch s {
	case conversation.ConnectionOpen, conversation.ConnectionConnecting, conversation.ConnectionClosed, conversation.ConnectionRefused:
		return true
	}
	return false
}

// pairing is what connect answers: a code, or how the instance stands when there is none.
type pairing struct {
	PairingCode string `json:"pairingCode"`
	Code        string `json:"code"`
	Instance    struct {
		State conversation.ConnectionState `json:"state"`
	} `json:"instance"`
}

// Connect implements conversation.Phone.
func (c *Client) Connect(ctx context.Context, channel, phone string) (conversation.Pairing, error) {
	got, err := c.connect(ctx, channel, phone)
	if err == nil && phone != "" && got.Code != "" && got.PairingCode == "" {
		// Evolution goes on showing the code it has begun with, whatever number it is asked for. No phone is paired yet, so there is
		// nothing that logging out could end.
		err = c.call(ctx, http.MethodDelete, "/instance/logout/"+url.PathEscape(channel), nil, nil)
		if err == nil {
			got, err = c.connect(ctx, channel, phone)
		}
	}
	switch {
	case noInstance(err):
		return conversation.Pairing{}, fmt.Errorf("connect channel %q: %w", channel, conversation.ErrUnknownChannel)
	case err != nil:
		return conversation.Pairing{}, fmt.Errorf("connect channel %q: %w: %w", channel, conversation.ErrUnavailable, err)
	}
	p := conversation.Pairing{State: got.Instance.State, QR: got.Code, Code: got.PairingCode}
	if p.State == "" {
		p.State = conversation.ConnectionConnecting
	}
	return p, nil
}

func (c *Client) connect(ctx context.Context, channel, phone string) (got pairing, err error) {
	path := "/instance/connect/" + url.PathEscape(channel)
	if phone != "" {
		path += "?number=" + url.QueryEscape(phone)
	}
	err = c.call(ctx, http.MethodGet, path, nil, &got)
	return got, err
}

// ShowTyping implements conversation.Manners. The call blocks for as long as the contact is shown it (facts §8.3).
func (c *Client) ShowTyping(ctx context.Context, channel, chatJID string, recording bool, d time.Duration) error {
	presence := "composing"
	if recording {
		presence = "recording"
	}
	return c.call(ctx, http.MethodPost, "/chat/sendPresence/"+url.PathEscape(channel), struct {
		Number   string `json:"number"`
		Presence string `json:"presence"`
		Delay    int64  `json:"delay"`
	}{number(chatJID), presence, d.Milliseconds()}, nil)
}

type readMessage struct {
	ID        string `json:"id"`
	FromMe    bool   `json:"fromMe"`
	RemoteJID string `json:"remoteJid"`
}

// MarkRead implements conversation.Manners. Evolution drops the marks of @lid chats and says nothing (facts §8.3), so they are not
// sent; an EVOLUTION channel has none.
func (c *Client) MarkRead(ctx context.Context, channel, chatJID string, ids []string) error {
	if !strings.HasSuffix(chatJID, phoneServer) || len(ids) == 0 {
		return nil
	}
	body := struct {
		ReadMessages []readMessage `json:"readMessages"`
	}{}
	for _, id := range ids {
		body.ReadMessages = append(body.ReadMessages, readMessage{ID: id, RemoteJID: chatJID})
	}
	return c.call(ctx, http.MethodPost, "/chat/markMessageAsRead/"+url.PathEscape(channel), body, nil)
}

const (
	// historyPage is how many messages are asked for at once: thumbnails are kilobytes each, written as objects of numbers.
	historyPage = 25
	// historyPages bounds one walk through a channel's messages.
	historyPages = 4000
	// maxHistoryBytes bounds one page.
	maxHistoryBytes = 32 << 20
)

// sweptEvent is a message of Evolution's database as the webhook that may have been lost.
type sweptEvent struct {
	Event    string          `json:"event"`
	Instance string          `json:"instance"`
	Swept    bool            `json:"swept"`
	Data     json.RawMessage `json:"data"`
}

type historyRecord struct {
	upsert
	Updates []struct {
		Status string `json:"status"`
	} `json:"MessageUpdate"`
}

// History implements conversation.Phone. Evolution's pages begin with the newest message, and what comes in meanwhile moves the others
// back, so that a walk from the newest on may see one twice and misses none. Only the oldest are kept on the way.
//
// The filter by time spares pages where it works; not every version applies it, and no record is believed to be in time because of it.
func (c *Client) History(ctx context.Context, channel string, from time.Time, limit int) (list []conversation.Record, more bool, err error) {
	seen := map[string]bool{}
	for page := 1; page <= historyPages; page++ {
		raws, pages, err := c.historyPage(ctx, channel, from, page)
		if err != nil {
			return nil, false, fmt.Errorf("read messages of channel %q: %w", channel, err)
		}
		older := len(raws) == 0
		for _, raw := range raws {
			var r historyRecord
			if json.Unmarshal(raw, &r) != nil || !r.Key.usable() || seen[r.Key.ID] {
				continue // the same message can stand there twice
			}
			sentAt := timestamp(r.MessageTimestamp)
			if sentAt.Before(from) {
				older = older || !sentAt.IsZero()
				continue
			}
			record, err := recordOf(channel, raw, r, sentAt)
			if err != nil {
				return nil, false, err
			}
			seen[r.Key.ID] = true
			list = append(list, record)
		}
		slices.SortStableFunc(list, func(a, b conversation.Record) int { return a.SentAt.Compare(b.SentAt) })
		if len(list) > limit {
			list, more = slices.Clone(list[:limit]), true
		}
		if older || page >= pages {
			return list, more, nil
		}
	}
	return nil, false, fmt.Errorf("read messages of channel %q: more than %d since %s", channel, historyPages*historyPage, from.Format(time.RFC3339))
}

// historyPage reads one page and says how many there are; a version without pages answers everything at once.
func (c *Client) historyPage(ctx context.Context, channel string, from time.Time, page int) (list []json.RawMessage, pages int, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	body, err := json.Marshal(map[string]any{
		"where": map[string]any{"messageTimestamp": map[string]string{
			"gte": from.UTC().Format(time.RFC3339), "lte": time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339), // each counts only with the other
		}},
		"page": page, "offset": historyPage,
	})
	if err != nil {
		return nil, 0, fmt.Errorf("write request: %w", err)
	}
	req, err := c.request(ctx, http.MethodPost, "/chat/findMessages/"+url.PathEscape(channel), bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, 0, withoutURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return nil, 0, &StatusError{Status: resp.StatusCode}
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxHistoryBytes))
	if err != nil {
		return nil, 0, fmt.Errorf("read answer: %w", err)
	}
	return records[json.RawMessage](answer)
}

func recordOf(channel string, raw json.RawMessage, r historyRecord, sentAt time.Time) (conversation.Record, error) {
	out := conversation.Record{ID: clean(r.Key.ID), FromMe: r.Key.FromMe, SentAt: sentAt}
	var err error
	if out.Body, err = json.Marshal(sweptEvent{Event: "messages.upsert", Instance: channel, Swept: true, Data: raw}); err != nil {
		return out, fmt.Errorf("wrap message: %w", err)
	}
	for _, u := range r.Updates {
		if rank := slices.Index(statuses, u.Status); out.FromMe && rank >= 0 && rank > slices.Index(statuses, out.Status) {
			out.Status = u.Status
		}
	}
	if out.Status == "" {
		return out, nil
	}
	data, err := json.Marshal(map[string]any{"keyId": r.Key.ID, "remoteJid": r.Key.RemoteJID, "fromMe": true, "status": out.Status})
	if err == nil {
		out.StatusBody, err = json.Marshal(sweptEvent{Event: "messages.update", Instance: channel, Swept: true, Data: data})
	}
	if err != nil {
		return out, fmt.Errorf("wrap status: %w", err)
	}
	return out, nil
}

// statuses of a message of ours, in the order they come.
var statuses = []string{"ERROR", "PENDING", "SERVER_ACK", "DELIVERY_ACK", "READ", "PLAYED"}
