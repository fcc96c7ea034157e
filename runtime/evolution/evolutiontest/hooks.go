// Package evolutiontest holds what Evolution sends, as seeds for fuzzing.
package evolutiontest

import (
	"fmt"
	"strings"
)

// Hooks are webhooks in the shapes Evolution 2.3.7 sends them (facts §8.4 to §8.7), one or more of each kind, and some it does not.
func Hooks() []string {
	envelope := func(event, data string) string {
		return fmt.Sprintf(`{"event":%q,"instance":"p","data":%s,"destination":"http://r/hooks/evolution/p","date_time":"2026-11-27T10:00:00.000Z",`+
			`"sender":"5511900000000@s.whatsapp.net","server_url":"http://e:8080","apikey":null}`, event, data)
	}
	upsert := func(key, message string) string {
		return envelope("messages.upsert", fmt.Sprintf(`{"key":%s,"pushName":"Maria","status":"DELIVERY_ACK","message":%s,"messageType":"x",`+
			`"messageTimestamp":1795744800,"instanceId":"6b2e0a4c","source":"android","contextInfo":{"stanzaId":"Q1","participant":"1@lid"}}`, key, message))
	}
	const (
		key   = `{"remoteJid":"5511988887777@s.whatsapp.net","remoteJidAlt":"77@lid","fromMe":false,"id":"3EB0","participant":"","addressingMode":"pn"}`
		media = `{"url":"https://mmg.whatsapp.net/x.enc","directPath":"/v/x","mediaKey":"a2V5","mimetype":"image/jpeg","fileLength":"2048","fileSha256":"c2hh","caption":"veja","seconds":3,"fileName":"a.jpg","ptt":true,"jpegThumbnail":"/9j/"}`
	)
	all := []string{"", "{}", "[]", "null", `{"event":null}`, `{"event":"messages.upsert"}`, `{"event":"MESSAGES_UPSERT","data":[]}`, "\x1f\x8b"}
	for _, message := range []string{
		`{"conversation":"oi","messageContextInfo":{"deviceListMetadataVersion":2}}`,
		`{"extendedTextMessage":{"text":"veja https://x","contextInfo":{"stanzaId":"Q"}}}`,
		`{"imageMessage":` + media + `,"base64":"/9j/"}`, `{"videoMessage":` + media + `}`, `{"ptvMessage":` + media + `}`, `{"audioMessage":` + media + `,"speechToText":"oi"}`,
		`{"documentMessage":` + media + `,"mediaUrl":"http://s3/x"}`, `{"documentWithCaptionMessage":{"message":{"documentMessage":` + media + `}}}`, `{"stickerMessage":` + media + `}`,
		`{"locationMessage":{"degreesLatitude":-23.5,"degreesLongitude":-46.6,"name":"Loja","address":"Rua A"}}`, `{"liveLocationMessage":{"degreesLatitude":1e400}}`,
		`{"contactMessage":{"displayName":"Ana","vcard":"BEGIN:VCARD\nTEL;waid=5511:+55 11\nEND:VCARD"}}`, `{"contactsArrayMessage":{"contacts":[{"displayName":"Ana","vcard":""}]}}`,
		`{"reactionMessage":{"key":` + key + `,"text":"👍"}}`, `{"pollCreationMessageV3":{"name":"Qual?","options":[{"optionName":"a"},{"optionName":"b"}]}}`,
		`{"pollUpdateMessage":{"pollCreationMessageKey":` + key + `,"vote":{}}}`, `{"listResponseMessage":{"title":"a","singleSelectReply":{"selectedRowId":"1"}}}`,
		`{"buttonsResponseMessage":{"selectedButtonId":"1","selectedDisplayText":"sim"}}`, `{"templateButtonReplyMessage":{"selectedId":"1","selectedDisplayText":"sim"}}`,
		`{"interactiveResponseMessage":{"body":{"text":"a"},"nativeFlowResponseMessage":{"name":"flow","paramsJson":"{}"}}}`,
		`{"ephemeralMessage":{"message":{"viewOnceMessageV2":{"message":{"imageMessage":` + media + `}}}}}`,
		`{"protocolMessage":{"key":` + key + `,"type":"REVOKE"}}`, `{"editedMessage":{"message":{"protocolMessage":{"key":` + key + `,"editedMessage":{"conversation":"oi!"}}}}}`,
		`{}`, `null`, `{"unknownMessage":7}`, `{"conversation":"\u0000\ud800"}`, strings.Repeat(`{"ephemeralMessage":{"message":`, 40) + `{}` + strings.Repeat(`}}`, 40),
	} {
		all = append(all, upsert(key, message))
	}
	for _, k := range []string{
		`{"remoteJid":"120@g.us","fromMe":false,"id":"A","participant":"1@lid"}`, `{"remoteJid":"status@broadcast","fromMe":false,"id":"A"}`,
		`{"remoteJid":"1@newsletter","fromMe":false,"id":"A","server_id":"1"}`, `{"remoteJid":"551188887777@s.whatsapp.net","fromMe":true,"id":"A"}`, `{}`, `null`, `[]`,
	} {
		all = append(all, upsert(k, `{"conversation":"oi"}`))
	}
	for event, data := range map[string]string{
		"send.message":      `{"key":{"remoteJid":"5511","fromMe":true,"id":"OUT"},"message":{"conversation":"oi"},"messageTimestamp":"1795744800","status":"PENDING"}`,
		"messages.update":   `{"messageId":"db","keyId":"OUT","remoteJid":"77@lid","fromMe":true,"status":"READ","instanceId":"x"}`,
		"messages.edited":   `{"key":` + key + `,"type":"MESSAGE_EDIT","editedMessage":{"conversation":"oi!"},"timestampMs":"1795744800123"}`,
		"messages.delete":   `{"id":"3EB0","remoteJid":"5511988887777@s.whatsapp.net","fromMe":false,"status":"DELETED"}`,
		"connection.update": `{"instance":"p","state":"close","statusReason":401,"wuid":"5511@s.whatsapp.net"}`,
		"presence.update":   `{"id":"5511988887777@s.whatsapp.net","presences":{"5511988887777@s.whatsapp.net":{"lastKnownPresence":"composing"}}}`,
		"qrcode.updated":    `{"qrcode":{"instance":"p","pairingCode":null,"code":"2@x","base64":"data:image/png;base64,AA"}}`,
		"status.instance":   `{"instance":"p","status":"closed","disconnectionReasonCode":401}`,
		"messages.set":      `[{"key":{}}]`,
		"contacts.upsert":   `[{"id":"1@lid"}]`, "call": `{"id":"1","from":"1@lid","status":"offer"}`, "brand.new": `1`,
	} {
		all = append(all, envelope(event, data))
	}
	return all
}
