package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"plantao/test/lab/evolution/store"
	"plantao/test/lab/evolution/webhook"
)

// notOnEvolution is the channel's answer to every method it lacks.
const notOnEvolution = "Method not available on Evolution Channel"

func (s *Server) connectionState(_ context.Context, c *call) (any, error) {
	state, _ := c.instance.status()
	return map[string]any{"instance": map[string]any{"instanceName": c.name, "state": state}}, nil
}

// connect answers the state when open, the code when one is shown already, and a new code after a wait when closed.
func (s *Server) connect(ctx context.Context, c *call) (any, error) {
	i := c.instance
	switch state, _ := i.status(); state {
	case stateOpen:
		return s.connectionState(ctx, c)
	case stateConnecting:
		return i.code(), nil
	}
	if i.isEvolution() {
		// The channel has nothing to connect: it stays closed until the process starts again, and there is no code.
		s.Wait(ctx, connectWait)
		return map[string]any{}, nil
	}
	if err := s.startPairing(ctx, i, c.query("number")); err != nil {
		return nil, err
	}
	s.Wait(ctx, connectWait)
	return i.code(), nil
}

func (s *Server) restart(ctx context.Context, c *call) (any, error) {
	if state, _ := c.instance.status(); state == stateClose {
		// Upstream throws a plain object and prints it.
		return map[string]any{"error": true, "message": "[object Object]"}, nil
	}
	return s.connect(ctx, c)
}

func (s *Server) setPresence(_ context.Context, c *call) (any, error) {
	if err := c.instance.mustBeOnWhatsApp(); err != nil {
		return nil, err
	}
	return map[string]any{"presence": c.body["presence"]}, nil
}

// mustBeOnWhatsApp refuses what needs a WhatsApp connection.
func (i *instance) mustBeOnWhatsApp() error {
	if i.isEvolution() {
		return badRequest(notOnEvolution)
	}
	if state, _ := i.status(); state != stateOpen {
		return badRequest("Error: Connection Closed")
	}
	return nil
}

func (s *Server) logout(ctx context.Context, c *call) (any, error) {
	if state, _ := c.instance.status(); state == stateClose {
		return nil, badRequest(fmt.Sprintf("The %q instance is not connected", c.name))
	}
	if err := s.endSession(ctx, c.instance); err != nil {
		return nil, err
	}
	return success("Instance logged out"), nil
}

func success(message string) map[string]any {
	return map[string]any{"status": "SUCCESS", "error": false, "response": map[string]any{"message": message}}
}

// endSession ends the pairing. The EVOLUTION channel has none: it only shows state close until the process starts again, and still sends.
func (s *Server) endSession(ctx context.Context, i *instance) error {
	if i.isEvolution() {
		i.set(stateClose, "", qrCode{})
		return nil
	}
	from := i.origin() // still with the jid of the session that ends
	if err := s.Store.SetDisconnected(ctx, i.id, loggedOut); err != nil {
		return err
	}
	i.set(stateClose, from.Sender, qrCode{})
	s.emit(ctx, i, "status.instance", map[string]any{
		"instance": i.name, "status": "closed", "disconnectionAt": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		"disconnectionReasonCode": loggedOut,
		"disconnectionObject":     `{"error":{"output":{"statusCode":401,"payload":{"message":"Intentional Logout"}}}}`,
	})
	s.emit(ctx, i, "logout.instance", nil)
	s.emit(ctx, i, "connection.update", map[string]any{"instance": i.name, "state": stateClose, "statusReason": loggedOut})
	return nil
}

func (s *Server) remove(ctx context.Context, c *call) (any, error) {
	i := c.instance
	if state, _ := i.status(); state != stateClose {
		if err := s.endSession(ctx, i); err != nil {
			return nil, badRequest(err.Error())
		}
	}
	s.emit(ctx, i, "instance.delete", map[string]any{"instanceName": i.name, "instanceId": i.id})
	s.emit(ctx, i, "remove.instance", nil)
	s.forget(ctx, i)
	return success("Instance deleted"), nil
}

// instanceInfo is one entry of fetchInstances.
type instanceInfo struct {
	store.Instance
	Chatwoot  any          `json:"Chatwoot"`
	Proxy     any          `json:"Proxy"`
	Rabbitmq  any          `json:"Rabbitmq"`
	Nats      any          `json:"Nats"`
	Sqs       any          `json:"Sqs"`
	Websocket any          `json:"Websocket"`
	Setting   any          `json:"Setting"`
	Count     store.Counts `json:"_count"`
}

func (s *Server) fetchInstances(w http.ResponseWriter, r *http.Request) {
	body, err := s.listInstances(s.life, r.Header.Get("apikey"), r.URL.Query().Get)
	s.answer(w, r, http.StatusOK, body, err)
}

// listInstances shows all instances to the global key and their own to an instance token.
func (s *Server) listInstances(ctx context.Context, key string, query func(string) string) (any, error) {
	if key == "" {
		return nil, unauthorized()
	}
	all := equal(key, s.Config.APIKey)
	rows, err := s.rowsFor(ctx, key, all)
	if err != nil {
		return nil, err
	}
	out := []instanceInfo{}
	for _, row := range rows {
		if !matches(row, query) {
			continue
		}
		info, err := s.describe(ctx, row)
		if err != nil {
			return nil, err
		}
		out = append(out, info)
	}
	if len(out) == 0 && !all {
		return nil, unauthorized()
	}
	if wanted := firstOf(query, "instanceId", "number", "instanceName"); len(out) == 0 && wanted != "" {
		return nil, notFound(fmt.Sprintf("Instance %q not found", wanted))
	}
	return out, nil
}

func (s *Server) rowsFor(ctx context.Context, key string, all bool) ([]store.Instance, error) {
	if all {
		return s.Store.Instances(ctx, s.Config.Database.ClientName)
	}
	return s.Store.InstancesByToken(ctx, key)
}

func matches(row store.Instance, query func(string) string) bool {
	if id := query("instanceId"); id != "" && id != row.ID {
		return false
	}
	if number := query("number"); number != "" && (row.Number == nil || number != *row.Number) {
		return false
	}
	name := query("instanceName")
	return name == "" || name == row.Name
}

func firstOf(query func(string) string, names ...string) string {
	for _, name := range names {
		if v := query(name); v != "" {
			return v
		}
	}
	return ""
}

func (s *Server) describe(ctx context.Context, row store.Instance) (instanceInfo, error) {
	if !s.Config.ExposeTokens {
		row.Token = nil
	}
	info := instanceInfo{Instance: row}
	settings, err := s.Store.Settings(ctx, row.ID)
	switch {
	case err == nil:
		info.Setting = shownSettings(settings)
	case !errors.Is(err, store.ErrNotFound):
		return info, err
	}
	info.Count, err = s.Store.Counts(ctx, row.ID)
	return info, err
}

func (s *Server) setSettings(ctx context.Context, c *call) (any, error) {
	in, err := decode[store.Settings](c.body)
	if err != nil {
		return nil, err
	}
	if err := s.Store.SaveSettings(ctx, c.instance.id, in); err != nil {
		return nil, err
	}
	return map[string]any{"settings": map[string]any{"instanceName": c.name, "settings": in}}, nil
}

func (s *Server) findSettings(ctx context.Context, c *call) (any, error) {
	v, err := s.Store.Settings(ctx, c.instance.id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return shownSettings(v), err
}

func (s *Server) setWebhook(ctx context.Context, c *call) (any, error) {
	hook, _ := c.body["webhook"].(map[string]any)
	return s.saveWebhook(ctx, c.instance, hook, hook["enabled"] == true)
}

func (s *Server) findWebhook(ctx context.Context, c *call) (any, error) {
	w, err := s.Store.Webhook(ctx, c.instance.id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return w, err
}

// saveWebhook keeps the webhook part of a body. A disabled one keeps no events, "events": [] means all, and missing events of an
// enabled one are the error of JavaScript that upstream answers.
func (s *Server) saveWebhook(ctx context.Context, i *instance, hook map[string]any, enabled bool) (store.Webhook, error) {
	url, ok := hook["url"].(string)
	if !ok {
		return store.Webhook{}, internal("Argument `url` is missing.")
	}
	w := store.Webhook{InstanceID: i.id, URL: url, Enabled: &enabled, Events: []string{}}
	w.Headers, _ = hook["headers"].(map[string]any)
	w.ByEvents, w.Base64 = boolean(hook["byEvents"]), boolean(hook["base64"])
	if enabled {
		list, ok := hook["events"].([]any)
		if !ok {
			return store.Webhook{}, internal("Cannot read properties of undefined (reading 'length')")
		}
		for _, event := range list {
			w.Events = append(w.Events, fmt.Sprint(event))
		}
		if len(list) == 0 {
			w.Events = webhook.Events
		}
	}
	return s.Store.SaveWebhook(ctx, w)
}

func boolean(v any) *bool {
	if b, ok := v.(bool); ok {
		return &b
	}
	return nil
}
