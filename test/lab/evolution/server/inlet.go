package server

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"

	"github.com/google/uuid"

	"plantao/test/lab/evolution/jid"
	"plantao/test/lab/evolution/store"
	"plantao/test/lab/evolution/webhook"
)

// The texts that trigger upstream's leftover debug functions.
const (
	placeholderTrigger = "requestPlaceholder"
	historyTrigger     = "onDemandHistSync"
)

// historyLength is how many messages onDemandHistSync asks for.
const historyLength = 50

// inlet answers POST /webhook/evolution: a customer's message from outside, without any key.
func (s *Server) inlet(w http.ResponseWriter, r *http.Request) {
	body, err := s.receive(s.life, bodyOf(r))
	s.answer(w, r, http.StatusOK, body, err)
}

// receive finds the instance by its number. Whatever is wrong with the message itself, upstream logs it and answers success.
func (s *Server) receive(ctx context.Context, body map[string]any) (any, error) {
	number := body["numberId"]
	if number == nil || number == "" {
		s.Log.ErrorContext(ctx, "inlet: numberId not found")
		return nothing, nil
	}
	text, ok := number.(string)
	if !ok {
		return nil, internal("Invalid value provided. Expected String for numberId")
	}
	row, err := s.Store.InstanceByNumber(ctx, text)
	if errors.Is(err, store.ErrNotFound) {
		s.Log.ErrorContext(ctx, "inlet: instance not found")
		return nothing, nil
	}
	if err != nil {
		return nil, err
	}
	i := s.find(row.Name)
	if i == nil {
		return nil, internal("Cannot read properties of undefined (reading 'connectToWhatsapp')")
	}
	if i.isEvolution() {
		s.arrive(ctx, i, body)
		return success200, nil
	}
	// On WhatsApp upstream takes the payload for a number to pair with, and starts over.
	if err := s.startPairing(ctx, i, ""); err != nil {
		return nil, internal(err.Error())
	}
	return success200, nil
}

var success200 = map[string]any{"status": "success"}

// arrive tells the webhook of a message, then stores it, in upstream's order: a message may be told and then not be kept.
func (s *Server) arrive(ctx context.Context, i *instance, body map[string]any) {
	content, _ := body["message"].(map[string]any)
	if content == nil {
		return
	}
	key, _ := body["key"].(map[string]any)
	if key == nil {
		s.Log.ErrorContext(ctx, "inlet: message without key", "instance", i.name)
		return
	}
	stored := incomingKey(key, body["profilePicUrl"])
	raw := present(map[string]any{
		"key": stored, "pushName": body["pushName"], "message": content, "messageType": body["messageType"],
		"messageTimestamp": time.Now().Unix(), "source": "unknown", "instanceId": i.id,
	})
	text, _ := content["conversation"].(string)
	times := 1
	if text == placeholderTrigger {
		s.Log.InfoContext(ctx, "requested placeholder resync", "instance", i.name)
		times = 2 // the phone sends the message again
	}
	for range times {
		s.emit(ctx, i, "messages.upsert", s.shown(raw))
	}
	if _, err := s.Store.SaveMessage(ctx, toRow(raw)); err != nil {
		s.Log.ErrorContext(ctx, "inlet: store message", "instance", i.name, "err", err)
		return
	}
	remoteJID, _ := stored["remoteJid"].(string)
	if err := s.remember(ctx, i, remoteJID, body); err != nil {
		s.Log.ErrorContext(ctx, "inlet: store contact", "instance", i.name, "err", err)
	}
	if text == historyTrigger {
		s.sendHistory(ctx, i, remoteJID)
	}
}

// incomingKey keeps what upstream keeps on this channel, and the fields of a WhatsApp key that tests of LID addressing need.
func incomingKey(key map[string]any, picture any) map[string]any {
	id := key["id"]
	if id == nil || id == "" {
		id = uuid.NewString()
	}
	return present(map[string]any{
		"id": id, "remoteJid": key["remoteJid"], "fromMe": key["fromMe"], "profilePicUrl": picture,
		"remoteJidAlt": key["remoteJidAlt"], "participant": key["participant"], "addressingMode": key["addressingMode"],
	})
}

// shown is a message as the webhook shows it: a @lid is replaced by the other form when that is known, and is gone.
func (s *Server) shown(raw map[string]any) map[string]any {
	key, _ := raw["key"].(map[string]any)
	remoteJID, _ := key["remoteJid"].(string)
	alt, _ := key["remoteJidAlt"].(string)
	if !jid.IsLID(remoteJID) || alt == "" {
		return raw
	}
	out, outKey := maps.Clone(raw), maps.Clone(key)
	outKey["remoteJid"] = alt
	out["key"] = outKey
	return out
}

// remember keeps the contact and the chat, and tells of them. On this channel the data is one object, not a list.
func (s *Server) remember(ctx context.Context, i *instance, remoteJID string, body map[string]any) error {
	if remoteJID == "" {
		return errors.New("key has no remoteJid")
	}
	contact := store.Contact{RemoteJID: remoteJID, PushName: optional(body["pushName"]), ProfilePicURL: optional(body["profilePicUrl"]), InstanceID: i.id}
	if err := s.Store.SaveContact(ctx, contact); err != nil {
		return err
	}
	s.emit(ctx, i, "contacts.upsert", contact)
	existed, err := s.Store.SaveChat(ctx, i.id, remoteJID)
	if err != nil {
		return err
	}
	chat := map[string]any{"remoteJid": remoteJID, "instanceId": i.id}
	if existed {
		s.emit(ctx, i, "chats.update", chat)
	}
	s.emit(ctx, i, "chats.upsert", chat)
	return nil
}

// sendHistory is the burst that follows onDemandHistSync: the chat's messages as messages.set.
func (s *Server) sendHistory(ctx context.Context, i *instance, remoteJID string) {
	s.Log.InfoContext(ctx, "requested on-demand sync", "instance", i.name)
	page, err := s.Store.FindMessages(ctx, i.id, store.MessageFilter{RemoteJID: remoteJID, PageSize: historyLength})
	if err != nil {
		s.Log.ErrorContext(ctx, "read history", "instance", i.name, "err", err)
		return
	}
	list := []any{}
	for _, m := range page.Records {
		list = append(list, present(map[string]any{
			"key": m.Key, "pushName": m.PushName, "message": m.Message, "messageType": m.MessageType,
			"messageTimestamp": m.MessageTimestamp, "source": m.Source, "instanceId": m.InstanceID,
		}))
	}
	s.Sender.Emit(ctx, i.origin(), webhook.Event{Name: "messages.set", Data: list, History: &webhook.History{IsLatest: false, Progress: 100}})
}
