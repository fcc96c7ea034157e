package server

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"plantao/test/lab/evolution/schema"
	"plantao/test/lab/evolution/store"
)

// call is one request that passed the guards.
type call struct {
	// name is the instance's name in the path; empty on routes without one.
	name string
	// instance is nil on routes without one, and for one that another installation keeps in the same database.
	instance *instance
	key      string
	query    func(string) string
	body     map[string]any
	// file is the uploaded file of a multipart request; nil when there is none.
	file []byte
}

// action answers a call with a body, or with an error (see refusal).
type action func(ctx context.Context, c *call) (any, error)

// route is one entry of the table: what must hold before the action runs, and the status of its success.
type route struct {
	pattern string
	schema  *schema.Schema
	status  int
	upload  bool
	do      action
}

func (s *Server) routes() {
	for _, r := range []route{
		{"GET /instance/connect/{instance}", nil, http.StatusOK, false, s.connect},
		{"GET /instance/connectionState/{instance}", nil, http.StatusOK, false, s.connectionState},
		{"POST /instance/restart/{instance}", nil, http.StatusOK, false, s.restart},
		{"POST /instance/setPresence/{instance}", &presenceOnlySchema, http.StatusCreated, false, s.setPresence},
		{"DELETE /instance/logout/{instance}", nil, http.StatusOK, false, s.logout},
		{"DELETE /instance/delete/{instance}", nil, http.StatusOK, false, s.remove},
		{"POST /settings/set/{instance}", &settingsSchema, http.StatusCreated, false, s.setSettings},
		{"GET /settings/find/{instance}", nil, http.StatusOK, false, s.findSettings},
		{"POST /webhook/set/{instance}", &webhookSchema, http.StatusCreated, false, s.setWebhook},
		{"GET /webhook/find/{instance}", nil, http.StatusOK, false, s.findWebhook},
		{"POST /message/sendText/{instance}", &textSchema, http.StatusCreated, false, s.sendText},
		{"POST /message/sendMedia/{instance}", &mediaSchema, http.StatusCreated, true, s.sendMedia},
		{"POST /message/sendWhatsAppAudio/{instance}", &audioSchema, http.StatusCreated, true, s.sendAudio},
		{"POST /message/sendButtons/{instance}", &buttonsSchema, http.StatusCreated, false, s.sendButtons},
		{"POST /chat/findMessages/{instance}", &findMessagesSchema, http.StatusOK, false, s.findMessages},
		{"POST /chat/markMessageAsRead/{instance}", &readMessagesSchema, http.StatusCreated, false, s.markAsRead},
		{"POST /chat/sendPresence/{instance}", &presenceSchema, http.StatusCreated, false, s.sendPresence},
		{"POST /chat/getBase64FromMediaMessage/{instance}", &base64Schema, http.StatusCreated, false, s.getBase64},
		{"POST /chat/whatsappNumbers/{instance}", &numbersSchema, http.StatusOK, false, flat(s.whatsappNumbers)},
	} {
		s.mux.HandleFunc(r.pattern, s.guarded(r))
	}
	for _, method := range unavailableOnEvolution {
		s.mux.HandleFunc(method+"/{instance}", s.guarded(route{pattern: method, status: http.StatusOK, do: refuseByChannel(method)}))
	}
	for _, prefix := range unimitatedPrefixes {
		s.mux.HandleFunc(prefix, func(w http.ResponseWriter, r *http.Request) {
			s.answer(w, r, 0, nil, unimitated(r.Method+" "+r.URL.Path))
		})
	}
	s.mux.HandleFunc("POST /instance/create", s.create)
	s.mux.HandleFunc("GET /instance/fetchInstances", s.fetchInstances)
	s.mux.HandleFunc("POST /webhook/evolution", s.inlet)
	s.mux.HandleFunc("GET /{$}", s.welcome)
	s.mux.HandleFunc("/", s.unknown)
	if s.Config.Manager {
		s.mux.HandleFunc("/manager/", func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, 0, nil, unimitated("the manager")) })
	}
}

// unavailableOnEvolution are routes whose method the EVOLUTION channel refuses with 400.
var unavailableOnEvolution = []string{
	"POST /message/sendTemplate", "POST /message/sendPtv", "POST /message/sendStatus", "POST /message/sendSticker", "POST /message/sendLocation",
	"POST /message/sendContact", "POST /message/sendReaction", "POST /message/sendPoll", "POST /message/sendList", "POST /chat/archiveChat",
	"POST /chat/markChatUnread", "DELETE /chat/deleteMessageForEveryone", "POST /chat/updateMessage",
	"POST /chat/updateBlockStatus", "POST /chat/fetchBusinessProfile", "POST /chat/fetchProfile", "POST /chat/updateProfileName",
	"POST /chat/updateProfileStatus", "POST /chat/updateProfilePicture", "DELETE /chat/removeProfilePicture", "GET /chat/fetchPrivacySettings",
	"POST /chat/updatePrivacySettings",
}

// unimitatedPrefixes are routes that upstream has and this program lacks.
var unimitatedPrefixes = []string{
	"POST /chat/fetchProfilePictureUrl/", "POST /chat/findContacts/", "POST /chat/findStatusMessage/", "POST /chat/findChats/",
	"GET /chat/findChatByRemoteJid/", "/call/", "/business/", "/group/", "/template/", "/proxy/", "/label/", "/webhook/meta", "/verify-creds",
	"/assets/", "/store/", "/chatwoot/", "/typebot/", "/openai/", "/dify/", "/flowise/", "/evolutionBot/", "/evoai/", "/n8n/", "/s3/",
	"/rabbitmq/", "/sqs/", "/nats/", "/kafka/", "/pusher/", "/websocket/", "/baileys/",
}

func refuseByChannel(method string) action {
	return func(_ context.Context, c *call) (any, error) {
		if c.instance.isEvolution() {
			return nil, badRequest(notOnEvolution)
		}
		return nil, unimitated(method)
	}
}

// guarded runs upstream's checks in upstream's order: the instance exists, the key fits, the body is valid.
func (s *Server) guarded(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := s.run(w, r, rt)
		s.answer(w, r, rt.status, body, err)
	}
}

func (s *Server) run(w http.ResponseWriter, r *http.Request, rt route) (any, error) {
	c := &call{name: r.PathValue("instance"), key: r.Header.Get("apikey"), query: r.URL.Query().Get, body: bodyOf(r)}
	row, err := s.mustExist(s.life, c.name)
	if err != nil {
		return nil, err
	}
	if err := s.authorize(c.key, row.Token); err != nil {
		return nil, err
	}
	if c.instance = s.find(c.name); c.instance == nil {
		return nil, internal("Cannot read properties of undefined (the instance belongs to another DATABASE_CONNECTION_CLIENT_NAME)")
	}
	if rt.upload {
		if err := readUpload(w, r, c); err != nil {
			return nil, err
		}
	}
	if err := validate(rt.schema, c.body); err != nil {
		return nil, err
	}
	return rt.do(s.life, c)
}

// bodyOf returns the parsed body; a fresh empty object for requests without one.
func bodyOf(r *http.Request) map[string]any {
	body, _ := r.Context().Value(bodyKey{}).(map[string]any)
	if body == nil {
		return map[string]any{}
	}
	return body
}

func validate(sch *schema.Schema, body map[string]any) error {
	if sch == nil {
		return nil
	}
	if messages := sch.Check(body); len(messages) > 0 {
		return badRequest(messages)
	}
	return nil
}

func (s *Server) mustExist(ctx context.Context, name string) (store.Instance, error) {
	row, err := s.Store.InstanceByName(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return row, notFound(fmt.Sprintf("The %q instance does not exist", name))
	}
	return row, err
}

// authorize accepts the global key, or the token of the instance at hand.
func (s *Server) authorize(key string, token *string) error {
	if key == "" {
		return unauthorized()
	}
	if equal(key, s.Config.APIKey) || (token != nil && *token != "" && equal(key, *token)) {
		return nil
	}
	return unauthorized()
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// readUpload takes the fields and the file of a multipart form. Field values are texts, which is why a delay sent this way fails.
func readUpload(w http.ResponseWriter, r *http.Request, c *call) error {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		return nil
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
	if err := r.ParseMultipartForm(maxBodyBytes); err != nil {
		return internal("read multipart form: " + err.Error())
	}
	// What is left of a form is a temporary file at most; the system's cleaning takes it.
	defer func() { _ = r.MultipartForm.RemoveAll() }()
	for name, values := range r.MultipartForm.Value {
		c.body[name] = values[len(values)-1]
	}
	for name, files := range r.MultipartForm.File {
		if name != "file" || len(files) > 1 {
			return internal("Unexpected field")
		}
		file, err := readFile(files[0])
		if err != nil {
			return err
		}
		c.file = file
	}
	return nil
}

// decode turns a validated body into its Go form. Fields that no schema binds may have any type; they must be any in T.
func decode[T any](body map[string]any) (T, error) {
	var v T
	raw, err := json.Marshal(body)
	if err != nil {
		return v, fmt.Errorf("encode body: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // free fields go into messages as they were written
	if err := d.Decode(&v); err != nil {
		return v, internal(err.Error())
	}
	return v, nil
}

func (s *Server) welcome(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, http.StatusOK, map[string]any{
		"status":             http.StatusOK,
		"message":            "Welcome to the Evolution API, it is working!",
		"version":            "2.3.7",
		"clientName":         s.Config.Database.ClientName,
		"documentation":      "https://doc.evolution-api.com",
		"whatsappWebVersion": "2.3000.0", // upstream asks WhatsApp on each call
	}, nil)
}

func (s *Server) unknown(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, 0, nil, notFound(fmt.Sprintf("Cannot %s %s", r.Method, r.URL.RequestURI())))
}
