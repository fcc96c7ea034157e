package server

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"plantao/test/lab/evolution/control"
	"plantao/test/lab/evolution/jid"
	"plantao/test/lab/evolution/store"
)

// What WhatsApp itself does here, on the word of the control port: messages that come in, attachments, dropped connections.

// mediaTypes are the attachments a message can have, by the word of the send routes.
var mediaTypes = []string{"image", "video", "audio", "document", "sticker"}

// mediaContent is what a message says of its attachment. The url leads to encrypted content.
func mediaContent(data []byte, mimetype, fileName, caption string, voice bool) map[string]any {
	c := map[string]any{
		"url": "https://mmg.whatsapp.net/v/t62.7118-24/" + randomText() + ".enc?ccb=11-4", "directPath": "/v/t62.7118-24/x.enc",
		"mediaKey": randomBase64(32), "fileSha256": randomBase64(32), "mimetype": mimetype, "fileLength": strconv.Itoa(len(data)),
	}
	for name, text := range map[string]string{"fileName": fileName, "caption": caption} {
		if text != "" {
			c[name] = text
		}
	}
	if voice {
		c["ptt"], c["seconds"] = true, 1
	}
	return c
}

func randomText() string { return hex.EncodeToString(randomBytes(12)) }

// Receive implements control.Host. A phone that is not connected gets it when it is, as WhatsApp keeps it.
func (s *Server) Receive(ctx context.Context, in control.Incoming) (string, error) {
	i := s.find(in.Instance)
	switch {
	case i == nil:
		return "", fmt.Errorf("no instance %q", in.Instance)
	case i.integration != whatsAppChannel:
		return "", fmt.Errorf("instance %q has integration %s: post to /webhook/evolution instead", in.Instance, i.integration)
	case in.RemoteJID == "" || (in.Text == "") == (in.MediaType == ""):
		return "", fmt.Errorf("a message has a remoteJid and either a text or a mediaType")
	case in.MediaType != "" && !slices.Contains(mediaTypes, in.MediaType):
		return "", fmt.Errorf("mediaType %q is none of %s", in.MediaType, strings.Join(mediaTypes, ", "))
	}
	if in.ID == "" {
		in.ID = "3A" + strings.ToUpper(hex.EncodeToString(randomBytes(9)))
	}
	if state, _ := i.status(); state != stateOpen {
		s.Board.Hold(in)
		return in.ID, nil
	}
	return in.ID, s.incoming(ctx, i, in)
}

// incoming stores a message, then tells the webhook, in upstream's order on WhatsApp.
func (s *Server) incoming(ctx context.Context, i *instance, in control.Incoming) error {
	if in.At == 0 {
		in.At = time.Now().Unix()
	}
	if in.Source == "" {
		in.Source = "android"
	}
	messageType, message := "conversation", map[string]any{"conversation": in.Text}
	if in.MediaType != "" {
		data, err := base64.StdEncoding.DecodeString(in.Base64)
		if err != nil || len(data) == 0 {
			return fmt.Errorf("base64 of the attachment: it must hold some content")
		}
		s.Board.Upload(in.ID, data)
		messageType = in.MediaType + "Message"
		message = map[string]any{messageType: mediaContent(data, in.Mimetype, in.FileName, in.Caption, in.MediaType == "audio")}
	}
	raw := present(map[string]any{
		"key":      present(map[string]any{"id": in.ID, "remoteJid": in.RemoteJID, "fromMe": in.FromMe, "remoteJidAlt": given(in.RemoteJIDAlt)}),
		"pushName": given(in.PushName), "status": "DELIVERY_ACK", "message": message, "messageType": messageType,
		"messageTimestamp": in.At, "source": in.Source, "instanceId": i.id,
	})
	if _, err := s.Store.SaveMessage(ctx, toRow(raw)); err != nil {
		return err
	}
	told := s.shown(raw)
	if hook, err := s.Store.Webhook(ctx, i.id); err == nil && hook.Base64 != nil && *hook.Base64 && in.MediaType != "" {
		told = maps.Clone(told)
		withContent := maps.Clone(message)
		withContent["base64"] = in.Base64
		told["message"] = withContent
	}
	s.emit(ctx, i, "messages.upsert", told)
	return nil
}

func given(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// Disconnect implements control.Host. A silent one is the short drop of which no event tells; the others end the pairing.
func (s *Server) Disconnect(ctx context.Context, name string, silent bool) error {
	i := s.find(name)
	if i == nil {
		return fmt.Errorf("no instance %q", name)
	}
	state, owner := i.status()
	if i.integration != whatsAppChannel || state != stateOpen {
		return fmt.Errorf("instance %q is not connected to WhatsApp", name)
	}
	if !silent {
		return s.endSession(ctx, i)
	}
	i.set(stateConnecting, owner, qrCode{})
	return nil
}

// getBase64 fetches an attachment from WhatsApp. Only Evolution's own database knows which message has which.
func (s *Server) getBase64(ctx context.Context, c *call) (any, error) {
	if err := c.instance.mustBeOnWhatsApp(); err != nil {
		return nil, err
	}
	in, err := decode[struct {
		Message struct {
			Key struct {
				ID string `json:"id"`
			} `json:"key"`
		} `json:"message"`
	}](c.body)
	if err != nil {
		return nil, err
	}
	page, err := s.Store.FindMessages(ctx, c.instance.id, store.MessageFilter{KeyID: in.Message.Key.ID})
	if err != nil {
		return nil, err
	}
	if in.Message.Key.ID == "" || len(page.Records) == 0 {
		return nil, badRequest("Message not found")
	}
	for _, kind := range mediaTypes {
		field := kind + "Message"
		about, ok := page.Records[0].Message[field].(map[string]any)
		if !ok {
			continue
		}
		data, ok := s.Board.Download(in.Message.Key.ID)
		if !ok {
			return nil, badRequest("Error: Failed to fetch stream from WhatsApp: 410")
		}
		name, _ := about["fileName"].(string)
		if name == "" {
			name = in.Message.Key.ID + "." + strings.TrimPrefix(kind, "document")
		}
		return map[string]any{
			"mediaType": field, "fileName": name, "caption": about["caption"],
			"size":     map[string]any{"fileLength": about["fileLength"], "height": nil, "width": nil},
			"mimetype": about["mimetype"], "base64": base64.StdEncoding.EncodeToString(data), "buffer": nil,
		}, nil
	}
	return nil, badRequest("The message is not of the media type")
}

// sendMediaOnWhatsApp uploads an attachment and sends it.
func (s *Server) sendMediaOnWhatsApp(ctx context.Context, i *instance, out outgoing, file attached) (any, error) {
	data := file.data
	if data == nil {
		if isURL(file.media) {
			return nil, unimitated("media by URL on WhatsApp")
		}
		var err error
		if data, err = base64.StdEncoding.DecodeString(file.media); err != nil {
			return nil, badRequest("Error: invalid base64")
		}
	}
	field := file.kind + "Message"
	out.messageType = field
	out.content = map[string]any{field: mediaContent(data, file.mimetype, file.fileName, file.caption, file.voice)}
	out.upload = data
	return s.send(ctx, i, out)
}

// attached is a file on its way out.
type attached struct {
	kind, media, mimetype, fileName, caption string
	data                                     []byte // of an uploaded file
	voice                                    bool
}

// marked are the read marks that WhatsApp is told of: those of groups and of people known by their number. Others are dropped, and
// upstream says success all the same.
func marked(i *instance, body map[string]any) (list []control.Mark, err error) {
	in, err := decode[struct {
		ReadMessages []struct {
			ID        string `json:"id"`
			RemoteJID string `json:"remoteJid"`
		} `json:"readMessages"`
	}](body)
	for _, m := range in.ReadMessages {
		if jid.IsUser(m.RemoteJID) || jid.IsGroup(m.RemoteJID) {
			list = append(list, control.Mark{Instance: i.name, ID: m.ID, RemoteJID: m.RemoteJID})
		}
	}
	return list, err
}
