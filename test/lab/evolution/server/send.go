package server

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"plantao/test/lab/evolution/control"
	"plantao/test/lab/evolution/jid"
	"plantao/test/lab/evolution/store"
)

// outgoing is a message on its way to a customer.
type outgoing struct {
	number      string
	delay       time.Duration
	quoted      any
	messageType string
	content     map[string]any
	upload      []byte // the attachment, which WhatsApp keeps
}

// sendBase are the fields all send routes share.
type sendBase struct {
	Number string      `json:"number"`
	Delay  json.Number `json:"delay"`
	Quoted any         `json:"quoted"`
}

func (b sendBase) outgoing(messageType string, content map[string]any) outgoing {
	return outgoing{number: b.Number, delay: milliseconds(b.Delay), quoted: b.Quoted, messageType: messageType, content: content}
}

// milliseconds reads a validated number, which may be written 1e3; absent and negative mean no wait.
func milliseconds(n json.Number) time.Duration {
	r, ok := new(big.Rat).SetString(n.String())
	if !ok || r.Sign() < 0 {
		return 0
	}
	ms, _ := r.Float64()
	return time.Duration(ms * float64(time.Millisecond))
}

func (s *Server) sendText(ctx context.Context, c *call) (any, error) {
	in, err := decode[struct {
		sendBase
		Text string `json:"text"`
	}](c.body)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(in.Text) == "" {
		return nil, badRequest("Text is required")
	}
	return s.send(ctx, c.instance, in.outgoing("conversation", map[string]any{"conversation": in.Text}))
}

func (s *Server) sendButtons(ctx context.Context, c *call) (any, error) {
	in, err := decode[struct {
		sendBase
		Title       any `json:"title"`
		Description any `json:"description"`
		Footer      any `json:"footer"`
		Buttons     any `json:"buttons"`
	}](c.body)
	if err != nil {
		return nil, err
	}
	if !c.instance.isEvolution() {
		return nil, unimitated("buttons on WhatsApp")
	}
	return s.send(ctx, c.instance, in.outgoing("buttonMessage", present(map[string]any{
		"title": in.Title, "description": in.Description, "footer": in.Footer, "buttons": in.Buttons,
	})))
}

// send carries out one send with the fault a test may have bound to it.
func (s *Server) send(ctx context.Context, i *instance, out outgoing) (any, error) {
	fault := s.Board.NextFault(out.number)
	if !fault.After {
		if err := s.suffer(ctx, fault); err != nil {
			return nil, err
		}
	}
	way := s.sendOnWhatsApp
	if i.isEvolution() {
		way = s.sendOnEvolution
	}
	raw, err := way(ctx, i, out)
	if err != nil {
		return nil, err
	}
	if fault.After {
		if err := s.suffer(ctx, fault); err != nil {
			return nil, err
		}
	}
	return raw, nil
}

func (s *Server) suffer(ctx context.Context, f control.Fault) error {
	switch f.Action {
	case control.Hold:
		s.Board.Await(ctx)
	case control.Delay:
		s.Wait(ctx, time.Duration(f.DelayMS)*time.Millisecond)
	case control.Close:
		return errCloseConnection
	case control.Status:
		message := f.Message
		if message == nil {
			message = []any{http.StatusText(f.Status)}
		}
		return &refusal{Status: f.Status, Message: message}
	}
	return nil
}

// sendOnEvolution is the channel without WhatsApp: the number stands in the key as it was sent, the id is a UUID, and no status
// follows. It does not look at the connection state.
func (s *Server) sendOnEvolution(ctx context.Context, i *instance, out outgoing) (map[string]any, error) {
	if quoted, ok := out.quoted.(map[string]any); ok {
		if quoted["key"] == nil {
			return nil, badRequest("Message not found")
		}
		out.content["quoted"] = quoted["key"]
	}
	s.pause(ctx, out.delay)
	raw := map[string]any{
		"key":              map[string]any{"fromMe": true, "id": uuid.NewString(), "remoteJid": out.number},
		"message":          out.content,
		"messageType":      out.messageType,
		"messageTimestamp": time.Now().Unix(),
		"source":           "unknown",
		"instanceId":       i.id,
	}
	s.emit(ctx, i, "send.message", raw)
	if _, err := s.Store.SaveMessage(ctx, toRow(raw)); err != nil {
		return nil, badRequest(err.Error())
	}
	s.record(i, out, raw)
	return raw, nil
}

// sendOnWhatsApp is upstream's WhatsApp path over a connection that only the control port can open.
func (s *Server) sendOnWhatsApp(ctx context.Context, i *instance, out outgoing) (map[string]any, error) {
	if err := i.mustBeOnWhatsApp(); err != nil {
		return nil, err
	}
	found, err := s.lookUp(ctx, out.number)
	if err != nil {
		return nil, err
	}
	if !found.Exists && !jid.IsGroup(found.JID) && !strings.Contains(found.JID, "@broadcast") {
		return nil, badRequest(found)
	}
	s.pause(ctx, out.delay)
	id := "3EB0" + strings.ToUpper(hex.EncodeToString(randomBytes(9)))
	raw := map[string]any{
		"key":              map[string]any{"remoteJid": strings.ToLower(found.JID), "fromMe": true, "id": id},
		"pushName":         "Você",
		"status":           "PENDING",
		"message":          out.content,
		"contextInfo":      nil,
		"messageType":      out.messageType,
		"messageTimestamp": time.Now().Unix(),
		"instanceId":       i.id,
		"source":           "web",
	}
	if out.upload != nil {
		s.Board.Upload(id, out.upload)
	}
	row, err := s.Store.SaveMessage(ctx, toRow(raw))
	if err != nil {
		return nil, badRequest(err.Error())
	}
	s.emit(ctx, i, "send.message", raw)
	s.record(i, out, raw)
	for _, status := range []string{"SERVER_ACK", "DELIVERY_ACK"} {
		if err := s.acknowledge(ctx, i, row, id, strings.ToLower(found.JID), status); err != nil {
			return nil, err
		}
	}
	return raw, nil
}

func (s *Server) acknowledge(ctx context.Context, i *instance, messageID, keyID, remoteJID, status string) error {
	s.emit(ctx, i, "messages.update", map[string]any{
		"messageId": messageID, "keyId": keyID, "remoteJid": remoteJID, "fromMe": true, "participant": nil, "status": status, "instanceId": i.id,
	})
	return s.Store.SaveMessageUpdate(ctx, messageID, i.id, keyID, remoteJID, status)
}

// pause makes the call last as long as its delay.
func (s *Server) pause(ctx context.Context, d time.Duration) {
	if d > 0 {
		s.Wait(ctx, d)
	}
}

func (s *Server) record(i *instance, out outgoing, raw map[string]any) {
	key, _ := raw["key"].(map[string]any)
	id, _ := key["id"].(string)
	remoteJID, _ := key["remoteJid"].(string)
	body, _ := out.content["conversation"].(string)
	s.Board.Record(control.Sent{
		Instance: i.name, Number: out.number, RemoteJID: remoteJID, ID: id, MessageType: out.messageType, Text: body, At: time.Now(),
	})
}

// toRow turns the payload of a message event into its row. Fields of the wrong type are left out; the database refuses what it needs.
func toRow(raw map[string]any) store.Message {
	m := store.Message{Source: "unknown"}
	m.Key, _ = raw["key"].(map[string]any)
	m.Message, _ = raw["message"].(map[string]any)
	m.ContextInfo, _ = raw["contextInfo"].(map[string]any)
	m.MessageType, _ = raw["messageType"].(string)
	m.MessageTimestamp, _ = raw["messageTimestamp"].(int64)
	m.InstanceID, _ = raw["instanceId"].(string)
	if source, ok := raw["source"].(string); ok {
		m.Source = source
	}
	m.PushName, m.Status = optional(raw["pushName"]), optional(raw["status"])
	return m
}

func optional(v any) *string {
	if text, ok := v.(string); ok {
		return &text
	}
	return nil
}
