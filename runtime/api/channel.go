package api

import (
	"time"

	"plantao/runtime/conversation"
)

// Channel is an Evolution instance: where messages come from and answers go to.
type Channel struct {
	Name        string     `json:"name"`
	Integration string     `json:"integration" doc:"WHATSAPP-BAILEYS, or EVOLUTION without a phone"`
	Number      string     `json:"number,omitempty" doc:"Digits, where it was set"`
	Flow        string     `json:"flow,omitempty" doc:"The AI flow that answers; absent: humans do"`
	Connection  string     `json:"connection" enum:"unknown,open,connecting,close,refused" doc:"How it stands with WhatsApp; what is not open sends nothing"`
	Reason      string     `json:"reason,omitempty" doc:"WhatsApp's number for it, as 401 for a phone that was logged out, or no_such_instance"`
	Since       *time.Time `json:"since,omitempty" doc:"When that changed last"`
	SweptTo     time.Time  `json:"swept_to" doc:"WhatsApp's time up to which no message is missing"`
}

// Channels is the list, by name.
type Channels struct {
	Channels []Channel `json:"channels"`
}

// ConnectRequest asks for what a person needs to connect a phone.
type ConnectRequest struct {
	Number string `json:"number,omitempty" doc:"The phone's, for a code to be typed on it; absent: a QR code only" pattern:"^[0-9]{8,15}$" example:"5511987654321"`
}

// Pairing connects a phone. It is as good as the phone for the minute it lasts: show it to nobody else, keep it nowhere.
type Pairing struct {
	Connection string `json:"connection" enum:"open,connecting,close,refused" doc:"open: there is nothing to do"`
	QR         string `json:"qr,omitempty" doc:"The text of the QR code"`
	Code       string `json:"code,omitempty" doc:"To be typed on the phone, where it was asked for"`
}

// FromLine is a channel on the wire.
func FromLine(l conversation.Line) Channel {
	c := Channel{
		Name: l.Name, Integration: l.Integration, Number: l.Number, Flow: l.Flow, Connection: string(l.State), Reason: l.Reason,
		SweptTo: l.SweptTo.UTC(),
	}
	if !l.Since.IsZero() {
		since := l.Since.UTC()
		c.Since = &since
	}
	return c
}
