package server

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"plantao/test/lab/evolution/control"
	"plantao/test/lab/evolution/jid"
	"plantao/test/lab/evolution/store"
)

// onWhatsApp is the answer to whether a number exists.
type onWhatsApp struct {
	JID    string `json:"jid"`
	Exists bool   `json:"exists"`
	Number string `json:"number"`
	LID    string `json:"lid,omitempty"`
}

// lookUp asks the WhatsApp that is not there: every number of 8 to 15 digits exists, except those the control port calls absent.
// A group and a @lid are taken as they are.
func (s *Server) lookUp(ctx context.Context, number string) (onWhatsApp, error) {
	found := onWhatsApp{JID: jid.Create(number), Number: jid.User(number)}
	user := jid.User(found.JID)
	switch {
	case jid.IsLID(found.JID):
		found.Exists, found.LID = true, "lid"
	case jid.IsUser(found.JID):
		found.Exists = len(user) >= 8 && len(user) <= 15 && !s.Board.Absent(found.JID)
	case jid.IsGroup(found.JID):
		found.Exists = !s.Board.Absent(found.JID)
	}
	if found.Exists && jid.IsUser(found.JID) {
		return found, s.Store.SaveOnWhatsApp(ctx, found.JID)
	}
	return found, nil
}

func (s *Server) whatsappNumbers(ctx context.Context, c *call) (any, error) {
	if err := c.instance.mustBeOnWhatsApp(); err != nil {
		return nil, err
	}
	in, err := decode[struct {
		Numbers []string `json:"numbers"`
	}](c.body)
	if err != nil {
		return nil, err
	}
	out := []onWhatsApp{}
	for _, number := range in.Numbers {
		found, err := s.lookUp(ctx, number)
		if err != nil {
			return nil, err
		}
		out = append(out, found)
	}
	return out, nil
}

// flat makes errors look as they do on the one route that catches them itself.
func flat(do action) action {
	return func(ctx context.Context, c *call) (any, error) {
		body, err := do(ctx, c)
		var r *refusal
		if errors.As(err, &r) {
			r.Flat = true
		}
		return body, err
	}
}

// markAsRead tells WhatsApp of groups' and phone numbers' messages; @lid entries never reach it.
func (s *Server) markAsRead(_ context.Context, c *call) (any, error) {
	if err := c.instance.mustBeOnWhatsApp(); err != nil {
		return nil, err
	}
	marks, err := marked(c.instance, c.body)
	if err != nil {
		return nil, err
	}
	for _, m := range marks {
		s.Board.RecordMark(m)
	}
	return map[string]any{"message": "Read messages", "read": "success"}, nil
}

// sendPresence blocks for the delay.
func (s *Server) sendPresence(ctx context.Context, c *call) (any, error) {
	if err := c.instance.mustBeOnWhatsApp(); err != nil {
		return nil, err
	}
	in, err := decode[struct {
		Number   string      `json:"number"`
		Delay    json.Number `json:"delay"`
		Presence string      `json:"presence"`
	}](c.body)
	if err != nil {
		return nil, err
	}
	found, err := s.lookUp(ctx, in.Number)
	if err != nil {
		return nil, err
	}
	if !found.Exists && !strings.Contains(found.JID, "@broadcast") {
		// Upstream throws the refusal inside its own try and prints the object.
		return nil, badRequest("[object Object]")
	}
	s.Board.RecordPresence(control.Presence{
		Instance: c.instance.name, Number: in.Number, Presence: in.Presence, DelayMS: milliseconds(in.Delay).Milliseconds(),
	})
	s.pause(ctx, milliseconds(in.Delay))
	return map[string]any{"presence": in.Presence}, nil
}

// messageQuery is the body of chat/findMessages. Page counts from 1; Offset is upstream's name for the page size.
type messageQuery struct {
	Where struct {
		ID          string `json:"id"`
		Source      string `json:"source"`
		MessageType string `json:"messageType"`
		Key         struct {
			ID        string `json:"id"`
			RemoteJID string `json:"remoteJid"`
			FromMe    bool   `json:"fromMe"`
		} `json:"key"`
		MessageTimestamp struct {
			GTE string `json:"gte"`
			LTE string `json:"lte"`
		} `json:"messageTimestamp"`
	} `json:"where"`
	Page   int `json:"page"`
	Offset int `json:"offset"`
}

func (s *Server) findMessages(ctx context.Context, c *call) (any, error) {
	in, err := decode[messageQuery](c.body)
	if err != nil {
		return nil, err
	}
	f := store.MessageFilter{
		ID: in.Where.ID, KeyID: in.Where.Key.ID, RemoteJID: in.Where.Key.RemoteJID, MessageType: in.Where.MessageType, Source: in.Where.Source,
		FromMe: in.Where.Key.FromMe, Page: in.Page, PageSize: in.Offset,
	}
	if span := in.Where.MessageTimestamp; span.GTE != "" && span.LTE != "" {
		if f.Since, err = unixSeconds(span.GTE); err != nil {
			return nil, err
		}
		if f.Until, err = unixSeconds(span.LTE); err != nil {
			return nil, err
		}
	}
	page, err := s.Store.FindMessages(ctx, c.instance.id, f)
	if err != nil {
		return nil, err
	}
	return map[string]any{"messages": page}, nil
}

func unixSeconds(text string) (int64, error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.Unix(), nil
		}
	}
	return 0, internal("Invalid Date")
}
