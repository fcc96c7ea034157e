package main

import (
	"plantao/runtime/chatwoot"
	"plantao/runtime/desk"
	"plantao/runtime/seal"
	"plantao/runtime/server"
)

// newDesk makes the mirror in Chatwoot and what its hooks hand over to; nil without a Chatwoot.
func (r *router) newDesk(c serveConfig, metrics *server.Metrics) (server.DeskHooks, error) {
	if c.Chatwoot.URL == "" {
		return nil, nil
	}
	sealer, err := seal.New([]byte(c.Turn.Key.Reveal()), desk.SealPurpose)
	if err != nil {
		return nil, err
	}
	r.chatwoot, err = chatwoot.NewClient(chatwoot.ClientConfig{URL: c.Chatwoot.URL, PublicURL: c.Chatwoot.PublicURL})
	if err != nil {
		return nil, err
	}
	r.desk = desk.New(desk.Config{
		Store: r.store, Client: r.chatwoot, Sealer: sealer, Silence: c.Human.DeskSilence, Sweep: c.Chatwoot.Sweep, Poll: c.Turn.Poll,
		MaxMediaBytes: c.Chatwoot.MaxMediaBytes, Language: c.Chatwoot.Language, Changed: r.changed, Spoke: r.wake,
		Observer: metrics, Logger: r.log,
	})
	return desk.NewHooks(desk.HooksConfig{Store: r.store, Sealer: sealer, Wake: r.wakeDesk, Logger: r.log}), nil
}

// wakeDesk tells this process's desk that there may be something to show. Other replicas' poll.
func (r *router) wakeDesk() {
	if r.desk != nil {
		r.desk.Wake()
	}
}

// turnObserver also tells the desk of a turn's end: what was sent is to be shown.
type turnObserver struct {
	*server.Metrics
	ended func()
}

// TurnEnded implements dispatch.Observer.
func (o turnObserver) TurnEnded(outcome string) {
	o.Metrics.TurnEnded(outcome)
	o.ended()
}
