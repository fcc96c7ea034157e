package evolution

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"plantao/runtime/conversation"
	"plantao/runtime/evolution/evolutiontest"
)

func FuzzDecode(f *testing.F) {
	for _, body := range evolutiontest.Hooks() {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		kept := string(body)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		e, err := Decode(body)
		runtime.ReadMemStats(&after)
		// A few copies of the body, and the maps JSON is read into: 500 bytes for what takes 6 in the body ({"":0,).
		if used, most := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+200*len(body)); used > most {
			t.Fatalf("%d bytes for a body of %d", used, len(body))
		}
		if string(body) != kept {
			t.Fatal("the body was changed")
		}
		if err != nil {
			if !errors.Is(err, conversation.ErrMalformed) {
				t.Fatalf("error %v is none of the sender's", err)
			}
			return
		}
		if e.Kind == "" || e.WAID == "" || len(e.WAID) > 2*maxIDBytes+1 {
			t.Fatalf("kind %q, key %q", e.Kind, e.WAID)
		}
		if e.Kind == conversation.KindUnknown && e.Problem == "" {
			t.Fatal("unknown, and nobody says why")
		}
		for _, s := range []string{e.WAID, e.ChatJID, e.AltJID, e.FormJID, e.ContactName, e.Type, e.Text, e.Ref, e.Instance} {
			if strings.Contains(s, "\x00") || !utf8.ValidString(s) {
				t.Fatalf("%q is nothing PostgreSQL takes", s)
			}
		}
	})
}
