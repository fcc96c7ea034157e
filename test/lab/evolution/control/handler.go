package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"plantao/test/lab/evolution/webhook"
)

// Host is the stand-in as the control port sees it.
type Host interface {
	// Pair connects a WHATSAPP-BAILEYS instance as if number had scanned its QR code.
	Pair(ctx context.Context, instance, number string) error
	// Receive lets a message reach a WHATSAPP-BAILEYS instance and returns its id.
	Receive(ctx context.Context, in Incoming) (string, error)
	// Disconnect ends a WHATSAPP-BAILEYS instance's connection: silently, as a short drop does, or for good.
	Disconnect(ctx context.Context, instance string, silent bool) error
	// Emit sends any event through the instance's webhook, as if WhatsApp had caused it.
	Emit(ctx context.Context, instance, event string, data any) error
	// Post sends a delivery once, without retries.
	Post(ctx context.Context, d webhook.Delivery) (int, error)
	// Pending is the number of webhooks being tried or waiting for a retry.
	Pending() int
}

// maxReplay bounds one replay, against a slip of the keyboard.
const maxReplay = 10_000

// Handler serves the control port:
//
//	GET    /lab/sent?instance=&number=   {"messages":[Sent]} in the order they left
//	DELETE /lab/sent                     forget them
//	POST   /lab/faults                   Fault: {"action":"hold|delay|status|close","after":false,"count":1,"number":"","delay_ms":0,"status":500,"message":[]}
//	GET    /lab/faults                   {"faults":[Fault],"holding":0}
//	DELETE /lab/faults                   forget them and release held sends
//	POST   /lab/release                  {"released":n}
//	GET    /lab/webhooks                 {"pending":n,"tries":[Try]}
//	POST   /lab/webhooks/drop            {"event":"","count":n}: lose the next n; -1 all; 0 none
//	POST   /lab/webhooks/replay          {"event":"","times":n}: {"statuses":[200,…]}
//	POST   /lab/pair                     {"instance":"","number":""}
//	POST   /lab/disconnect               {"instance":"","silent":false}: the connection ends for good, or drops and no event tells
//	POST   /lab/receive                  Incoming: {"id":""}; a phone that is not connected gets it when it is paired
//	GET    /lab/shown                    {"marks":[Mark],"presences":[Presence]}: what contacts were shown beside messages
//	POST   /lab/absent                   {"numbers":[]}: the numbers that are not on WhatsApp
//	POST   /lab/emit                     {"instance":"","event":"messages.update","data":{}}
func Handler(b *Board, host Host) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Lab-Stand-In", "evolution")
			answer, err := f(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			// A failed write means that the test has gone away.
			_ = json.NewEncoder(w).Encode(answer)
		})
	}
	handle("GET /lab/sent", func(r *http.Request) (any, error) {
		q := r.URL.Query()
		return map[string]any{"messages": b.Sent(q.Get("instance"), q.Get("number"))}, nil
	})
	handle("DELETE /lab/sent", func(*http.Request) (any, error) { b.ForgetSent(); return done, nil })
	handle("POST /lab/faults", func(r *http.Request) (any, error) { return addFault(b, r) })
	handle("GET /lab/faults", func(*http.Request) (any, error) {
		faults, holding := b.Faults()
		return map[string]any{"faults": faults, "holding": holding}, nil
	})
	handle("DELETE /lab/faults", func(*http.Request) (any, error) { b.ClearFaults(); return done, nil })
	handle("POST /lab/release", func(*http.Request) (any, error) { return map[string]int{"released": b.Release()}, nil })
	handle("GET /lab/webhooks", func(*http.Request) (any, error) {
		return map[string]any{"pending": host.Pending(), "tries": b.Tries()}, nil
	})
	handle("POST /lab/webhooks/drop", func(r *http.Request) (any, error) {
		in, err := read[struct {
			Event string `json:"event"`
			Count int    `json:"count"`
		}](r)
		if err == nil {
			b.AddDrop(in.Event, in.Count)
		}
		return done, err
	})
	handle("POST /lab/webhooks/replay", func(r *http.Request) (any, error) { return replay(b, host, r) })
	handle("POST /lab/pair", func(r *http.Request) (any, error) {
		in, err := read[struct {
			Instance string `json:"instance"`
			Number   string `json:"number"`
		}](r)
		if err == nil {
			err = host.Pair(r.Context(), in.Instance, in.Number)
		}
		return done, err
	})
	handle("POST /lab/disconnect", func(r *http.Request) (any, error) {
		in, err := read[struct {
			Instance string `json:"instance"`
			Silent   bool   `json:"silent"`
		}](r)
		if err == nil {
			err = host.Disconnect(r.Context(), in.Instance, in.Silent)
		}
		return done, err
	})
	handle("POST /lab/receive", func(r *http.Request) (any, error) {
		in, err := read[Incoming](r)
		if err != nil {
			return nil, err
		}
		id, err := host.Receive(r.Context(), in)
		return map[string]string{"id": id}, err
	})
	handle("GET /lab/shown", func(*http.Request) (any, error) {
		marks, presences := b.Shown()
		return map[string]any{"marks": marks, "presences": presences}, nil
	})
	handle("POST /lab/absent", func(r *http.Request) (any, error) {
		in, err := read[struct {
			Numbers []string `json:"numbers"`
		}](r)
		if err == nil {
			b.SetAbsent(in.Numbers)
		}
		return done, err
	})
	handle("POST /lab/emit", func(r *http.Request) (any, error) {
		in, err := read[struct {
			Instance string `json:"instance"`
			Event    string `json:"event"`
			Data     any    `json:"data"`
		}](r)
		if err == nil {
			err = host.Emit(r.Context(), in.Instance, in.Event, in.Data)
		}
		return done, err
	})
	return mux
}

var done = map[string]bool{"ok": true}

func addFault(b *Board, r *http.Request) (any, error) {
	f, err := read[Fault](r)
	if err != nil {
		return nil, err
	}
	switch f.Action {
	case Hold, Close:
	case Delay:
		if f.DelayMS <= 0 {
			return nil, errors.New("action delay needs delay_ms above 0")
		}
	case Status:
		if f.Status < 400 || f.Status > 599 {
			return nil, fmt.Errorf("action status needs a status from 400 to 599, not %d", f.Status)
		}
	default:
		return nil, fmt.Errorf("unknown action %q: use hold, delay, status or close", f.Action)
	}
	b.AddFault(f)
	return done, nil
}

func replay(b *Board, host Host, r *http.Request) (any, error) {
	in, err := read[struct {
		Event string `json:"event"`
		Times int    `json:"times"`
	}](r)
	if err != nil {
		return nil, err
	}
	if in.Times < 1 || in.Times > maxReplay {
		return nil, fmt.Errorf("times must be from 1 to %d, not %d", maxReplay, in.Times)
	}
	d, ok := b.Last(in.Event)
	if !ok {
		return nil, fmt.Errorf("no webhook of event %q was sent yet", in.Event)
	}
	statuses := make([]int, in.Times)
	for i := range statuses {
		// No answer is status 0; the test sees it in the list.
		statuses[i], _ = host.Post(r.Context(), d)
	}
	return map[string]any{"statuses": statuses}, nil
}

// read decodes a request body and refuses unknown fields, so that a misspelt one does not pass for its default.
func read[T any](r *http.Request) (T, error) {
	var v T
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, fmt.Errorf("read request: %w", err)
	}
	return v, nil
}
