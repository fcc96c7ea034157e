package control

import (
	"slices"
	"time"
)

// Incoming is a message that reaches a WHATSAPP-BAILEYS instance: from a customer, or, with FromMe, typed on the channel's own phone.
type Incoming struct {
	Instance     string `json:"instance"`
	RemoteJID    string `json:"remoteJid"`
	RemoteJIDAlt string `json:"remoteJidAlt,omitempty"`
	FromMe       bool   `json:"fromMe,omitempty"`
	// ID is WhatsApp's; empty: one is made.
	ID       string `json:"id,omitempty"`
	PushName string `json:"pushName,omitempty"`
	// Source is the sender's device: android, ios, web, desktop; empty: android.
	Source string `json:"source,omitempty"`
	// At is when it was written, in seconds since 1970; zero: now.
	At int64 `json:"at,omitempty"`
	// Text, or an attachment: MediaType image, video, audio, document or sticker, its content as base64 and what WhatsApp says of it.
	Text      string `json:"text,omitempty"`
	MediaType string `json:"mediaType,omitempty"`
	Mimetype  string `json:"mimetype,omitempty"`
	FileName  string `json:"fileName,omitempty"`
	Caption   string `json:"caption,omitempty"`
	Base64    string `json:"base64,omitempty"`
}

// Mark is a read mark that reached WhatsApp.
type Mark struct {
	Instance  string `json:"instance"`
	ID        string `json:"id"`
	RemoteJID string `json:"remoteJid"`
}

// Presence is what a contact was shown.
type Presence struct {
	Instance string `json:"instance"`
	Number   string `json:"number"`
	Presence string `json:"presence"`
	DelayMS  int64  `json:"delay_ms"`
}

// shown is what contacts were shown beside messages.
type shown struct {
	marks     []Mark
	presences []Presence
}

// RecordMark remembers a read mark.
func (b *Board) RecordMark(m Mark) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shown.marks = bounded(append(b.shown.marks, m))
}

// RecordPresence remembers a presence.
func (b *Board) RecordPresence(p Presence) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shown.presences = bounded(append(b.shown.presences, p))
}

// Shown lists both, oldest first.
func (b *Board) Shown() (marks []Mark, presences []Presence) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.shown.marks), slices.Clone(b.shown.presences)
}

// keepContent bounds the attachments WhatsApp remembers here.
const keepContent = 100

// content is an attachment on WhatsApp's servers.
type content struct {
	id   string
	data []byte
}

// Upload keeps an attachment as WhatsApp does, by its message.
func (b *Board) Upload(id string, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.contents = append(b.contents, content{id, data})
	if len(b.contents) > keepContent {
		b.contents = slices.Delete(b.contents, 0, len(b.contents)-keepContent)
	}
}

// Download returns it; false when WhatsApp has it no more.
func (b *Board) Download(id string) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.contents {
		if c.id == id {
			return c.data, true
		}
	}
	return nil, false
}

// Hold keeps a message for a phone that is not connected, with the time it was written.
func (b *Board) Hold(in Incoming) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if in.At == 0 {
		in.At = time.Now().Unix()
	}
	b.offline = append(b.offline, in)
}

// Held takes what was kept for an instance.
func (b *Board) Held(instance string) []Incoming {
	b.mu.Lock()
	defer b.mu.Unlock()
	var mine, others []Incoming
	for _, in := range b.offline {
		if in.Instance == instance {
			mine = append(mine, in)
		} else {
			others = append(others, in)
		}
	}
	b.offline = others
	return mine
}
