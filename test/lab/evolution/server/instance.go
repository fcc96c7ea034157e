package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"plantao/test/lab/evolution/jid"
	"plantao/test/lab/evolution/store"
	"plantao/test/lab/evolution/webhook"
)

// Integrations of an instance.
const (
	evolutionChannel = "EVOLUTION"
	whatsAppChannel  = "WHATSAPP-BAILEYS"
	businessChannel  = "WHATSAPP-BUSINESS"
)

// Connection states.
const (
	stateOpen       = "open"
	stateConnecting = "connecting"
	stateClose      = "close"
)

const (
	// createWait is how long instance/create with qrcode waits for a code; connectWait is the same for instance/connect.
	createWait  = 5 * time.Second
	connectWait = 2 * time.Second
	// loggedOut is WhatsApp's reason for a connection that ended for good.
	loggedOut = 401
)

// instance is one channel while the process lives.
type instance struct {
	id, name, integration, token string

	mu       sync.Mutex
	state    string
	ownerJID string
	qr       qrCode
}

// qrCode is what a person scans. The zero value means that there is none.
type qrCode struct {
	PairingCode *string `json:"pairingCode"`
	Code        string  `json:"code,omitempty"`
	Base64      string  `json:"base64,omitempty"`
	Count       int     `json:"count"`
}

func newInstance(row store.Instance) *instance {
	i := &instance{id: row.ID, name: row.Name, state: stateClose}
	if row.Integration != nil {
		i.integration = *row.Integration
	}
	if row.Token != nil {
		i.token = *row.Token
	}
	if i.isEvolution() {
		i.state = stateOpen
	}
	return i
}

func (i *instance) isEvolution() bool { return i.integration == evolutionChannel }

func (i *instance) origin() webhook.Origin {
	i.mu.Lock()
	defer i.mu.Unlock()
	return webhook.Origin{ID: i.id, Name: i.name, Token: i.token, Sender: i.ownerJID}
}

func (i *instance) status() (state, ownerJID string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.state, i.ownerJID
}

func (i *instance) code() qrCode {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.qr
}

func (i *instance) set(state, ownerJID string, qr qrCode) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state, i.ownerJID, i.qr = state, ownerJID, qr
}

// load brings back the instances of this installation. A WhatsApp instance that was pairing gets a new code, one that was paired
// is open again.
func (s *Server) load(ctx context.Context) error {
	if !s.Config.Database.SaveInstances {
		return nil
	}
	rows, err := s.Store.Instances(ctx, s.Config.Database.ClientName)
	if err != nil {
		return fmt.Errorf("load instances: %w", err)
	}
	for _, row := range rows {
		i := newInstance(row)
		s.instances[i.name] = i
		if i.isEvolution() {
			continue
		}
		switch {
		case row.ConnectionStatus == stateOpen && row.OwnerJID != nil:
			err = s.open(ctx, i, *row.OwnerJID)
		case row.ConnectionStatus == stateConnecting:
			err = s.startPairing(ctx, i, "")
		}
		if err != nil {
			return fmt.Errorf("reconnect instance %q: %w", i.name, err)
		}
	}
	return nil
}

// startPairing does what upstream does when WhatsApp offers a code. number asks for a pairing code besides.
func (s *Server) startPairing(ctx context.Context, i *instance, number string) error {
	qr, err := newQRCode(s.Config.QRColor)
	if err != nil {
		return err
	}
	if number != "" {
		code := newPairingCode()
		qr.PairingCode = &code
	}
	i.set(stateConnecting, "", qr)
	if err := s.Store.SetConnection(ctx, i.id, stateConnecting, nil); err != nil {
		return err
	}
	s.emit(ctx, i, "connection.update", map[string]any{"instance": i.name, "state": stateConnecting, "statusReason": http.StatusOK})
	s.emit(ctx, i, "qrcode.updated", map[string]any{"qrcode": map[string]any{
		"instance": i.name, "pairingCode": qr.PairingCode, "code": qr.Code, "base64": qr.Base64,
	}})
	return nil
}

// pair connects a WhatsApp instance as if a phone had scanned its code; only the control port can.
func (s *Server) pair(ctx context.Context, i *instance, number string) error {
	if i.integration != whatsAppChannel {
		return fmt.Errorf("instance %q has integration %s: only %s can be paired", i.name, i.integration, whatsAppChannel)
	}
	return s.open(ctx, i, jid.Create(number))
}

func (s *Server) open(ctx context.Context, i *instance, ownerJID string) error {
	i.set(stateOpen, ownerJID, qrCode{})
	if err := s.Store.SetConnection(ctx, i.id, stateOpen, &ownerJID); err != nil {
		return err
	}
	defer func() {
		// What WhatsApp kept comes once the phone is back, with the time it was written.
		for _, in := range s.Board.Held(i.name) {
			if err := s.incoming(ctx, i, in); err != nil {
				s.Log.ErrorContext(ctx, "deliver what WhatsApp kept", "instance", i.name, "err", err)
			}
		}
	}()
	s.emit(ctx, i, "connection.update", map[string]any{
		"instance": i.name, "wuid": ownerJID, "profileName": nil, "profilePictureUrl": nil, "state": stateOpen, "statusReason": http.StatusOK,
	})
	return nil
}

// create answers POST /instance/create. The name is looked up before the key is.
func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	body, err := s.createInstance(s.life, r.Header.Get("apikey"), bodyOf(r))
	s.answer(w, r, http.StatusCreated, body, err)
}

// newInstanceBody is the body of instance/create. Webhook is free of any schema, so its fields are checked by hand.
type newInstanceBody struct {
	InstanceName string  `json:"instanceName"`
	Integration  any     `json:"integration"`
	Token        string  `json:"token"`
	Number       *string `json:"number"`
	BusinessID   *string `json:"businessId"`
	QRCode       bool    `json:"qrcode"`
	Webhook      any     `json:"webhook"`
	ProxyHost    string  `json:"proxyHost"`
	ChatwootURL  string  `json:"chatwootUrl"`
	store.Settings
}

func (s *Server) createInstance(ctx context.Context, key string, body map[string]any) (any, error) {
	if name, ok := body["instanceName"].(string); ok {
		if _, err := s.Store.InstanceByName(ctx, name); err == nil {
			return nil, forbidden(fmt.Sprintf("This name %q is already in use.", name))
		}
	}
	if err := s.authorize(key, nil); err != nil {
		return nil, err
	}
	if err := validate(&instanceSchema, body); err != nil {
		return nil, err
	}
	in, err := decode[newInstanceBody](body)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	i, err := s.insertInstance(ctx, in)
	if err != nil {
		return nil, err
	}
	answer, err := s.setUp(ctx, i, in)
	if err != nil {
		// Upstream removes what it made and answers 400 whatever went wrong.
		s.forget(ctx, i)
		return nil, badRequest(firstMessage(err))
	}
	return answer, nil
}

func (in newInstanceBody) check() error {
	switch {
	case in.InstanceName == "":
		return badRequest([]string{`The "instanceName" cannot be empty`})
	case in.Integration == businessChannel && in.Token == "":
		return badRequest("token is required")
	case in.Integration == businessChannel:
		return unimitated("integration " + businessChannel)
	case in.Integration != evolutionChannel && in.Integration != whatsAppChannel:
		return badRequest("Invalid integration")
	case in.ChatwootURL != "":
		return badRequest("Chatwoot is not enabled")
	case in.ProxyHost != "":
		return unimitated("proxies")
	}
	return nil
}

func (s *Server) insertInstance(ctx context.Context, in newInstanceBody) (*instance, error) {
	integration, _ := in.Integration.(string)
	token := in.Token
	if token == "" {
		token = newToken()
	}
	row := store.Instance{
		ID: uuid.NewString(), Name: in.InstanceName, ConnectionStatus: stateOpen, Integration: &integration, Number: in.Number,
		BusinessID: in.BusinessID, Token: &token, ClientName: &s.Config.Database.ClientName,
	}
	if integration == whatsAppChannel {
		row.ConnectionStatus = stateClose
	}
	if err := s.Store.CreateInstance(ctx, row); err != nil {
		return nil, err
	}
	i := newInstance(row)
	s.mu.Lock()
	s.instances[i.name] = i
	s.mu.Unlock()
	return i, nil
}

// setUp does the rest of a creation: webhook, settings, and the code when it was asked for.
func (s *Server) setUp(ctx context.Context, i *instance, in newInstanceBody) (any, error) {
	hook, _ := in.Webhook.(map[string]any)
	if hook != nil {
		// Upstream enables it whatever "enabled" says.
		if _, err := s.saveWebhook(ctx, i, hook, true); err != nil {
			return nil, err
		}
	}
	s.emit(ctx, i, "instance.create", map[string]any{"instanceName": i.name, "instanceId": i.id})
	if err := s.Store.SaveSettings(ctx, i.id, in.Settings); err != nil {
		return nil, err
	}
	answer := map[string]any{}
	if in.QRCode && i.integration == whatsAppChannel {
		var number string
		if in.Number != nil {
			number = *in.Number
		}
		if err := s.startPairing(ctx, i, number); err != nil {
			return nil, err
		}
		s.Wait(ctx, createWait)
		answer["qrcode"] = i.code()
	}
	state, _ := i.status()
	answer["instance"] = map[string]any{
		"instanceName": i.name, "instanceId": i.id, "integration": i.integration,
		"webhookWaBusiness": nil, "accessTokenWaBusiness": "", "status": state,
	}
	answer["hash"] = i.token
	answer["webhook"] = present(map[string]any{
		"webhookUrl": hook["url"], "webhookHeaders": hook["headers"], "webhookByEvents": hook["byEvents"], "webhookBase64": hook["base64"],
	})
	for _, name := range []string{"websocket", "rabbitmq", "nats", "sqs"} {
		answer[name] = map[string]any{}
	}
	answer["settings"] = shownSettings(in.Settings)
	return answer, nil
}

// shownSettings is how instance/create shows settings: with empty texts.
func shownSettings(v store.Settings) map[string]any {
	return map[string]any{
		"rejectCall": v.RejectCall, "msgCall": v.MsgCall, "groupsIgnore": v.GroupsIgnore, "alwaysOnline": v.AlwaysOnline,
		"readMessages": v.ReadMessages, "readStatus": v.ReadStatus, "syncFullHistory": v.SyncFullHistory, "wavoipToken": v.WavoipToken,
	}
}

// present drops nil values, as JSON drops JavaScript's undefined.
func present(m map[string]any) map[string]any {
	for name, value := range m {
		if value == nil {
			delete(m, name)
		}
	}
	return m
}

// firstMessage gives the first message of a refusal, which is all that instance/create keeps of it.
func firstMessage(err error) any {
	message := asRefusal(err).Message
	if list, ok := message.([]any); ok && len(list) > 0 {
		return list[0]
	}
	return message
}

// forget removes an instance from the database and from memory.
func (s *Server) forget(ctx context.Context, i *instance) {
	if err := s.Store.DeleteInstance(ctx, i.name); err != nil {
		s.Log.ErrorContext(ctx, "remove instance", "instance", i.name, "err", err)
	}
	s.mu.Lock()
	delete(s.instances, i.name)
	s.mu.Unlock()
}

// newToken looks like upstream's: an upper-case UUID.
func newToken() string { return strings.ToUpper(uuid.NewString()) }
