package jid_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"plantao/test/lab/evolution/jid"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, number, want string }{
		{"formatting is stripped", "+55 (11) 98765-4321", "5511987654321@s.whatsapp.net"},
		{"São Paulo keeps the ninth digit", "5511987654321", "5511987654321@s.whatsapp.net"},
		{"area code 30 keeps it", "5530987654321", "5530987654321@s.whatsapp.net"},
		{"area code 31 loses it", "5531987654321", "553187654321@s.whatsapp.net"},
		{"Recife loses it", "5581991234567", "558191234567@s.whatsapp.net"},
		{"next digit below 7 keeps it", "5581961234567", "5581961234567@s.whatsapp.net"},
		{"twelve digits stay", "558191234567", "558191234567@s.whatsapp.net"},
		{"other countries stay", "351912345678", "351912345678@s.whatsapp.net"},
		{"Mexico loses the extra digit", "5215512345678", "525512345678@s.whatsapp.net"},
		{"Argentina loses the extra digit", "5491123456789", "541123456789@s.whatsapp.net"},
		{"Argentina of twelve digits stays", "541123456789", "541123456789@s.whatsapp.net"},
		{"eighteen digits are a group", "120363041234567890", "120363041234567890@g.us"},
		{"old group id", "5511987654321-1600000000", "5511987654321-1600000000@g.us"},
		{"a jid passes", "5531987654321@s.whatsapp.net", "5531987654321@s.whatsapp.net"},
		{"a device suffix goes", "553187654321:12@s.whatsapp.net", "553187654321@s.whatsapp.net"},
		{"lid passes", "987654321@lid", "987654321@lid"},
		{"broadcast passes", "status@broadcast", "status@broadcast"},
		{"an unknown server is cut off", "351912345678@c.us", "351912345678@s.whatsapp.net"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, jid.Create(tt.number))
		})
	}
}
