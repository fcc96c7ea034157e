package chatwoot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"path"
	"strings"
	"time"
)

// SourcePrefix begins the source_id of every message the router posts.
const SourcePrefix = "plantao:"

const (
	// uploadTimeout bounds a message with attachments, downloadTimeout fetching one.
	uploadTimeout   = 30 * time.Second
	downloadTimeout = 30 * time.Second
	// maxHops is how many redirects an attachment may lead through: one to its storage, and one more.
	maxHops = 3
)

// Errors of Download.
var (
	ErrForeign  = errors.New("the attachment is not kept in chatwoot")
	ErrTooLarge = errors.New("the attachment is too large")
)

// ClientConfig says where Chatwoot is.
type ClientConfig struct {
	URL string // inside, such as http://chatwoot:3000
	// PublicURL is Chatwoot's FRONTEND_URL: addresses of attachments begin with it, and are fetched from URL instead. Empty: only
	// those that begin with URL are fetched.
	PublicURL string
	// HTTP is used without following redirects. Nil: a client of its own, without proxy.
	HTTP *http.Client
}

// Client makes the calls the desk needs. Safe for concurrent use.
type Client struct {
	c              *client
	inside, public *url.URL
}

// Access says as whom to call, and where.
type Access struct {
	Account, Inbox      int64
	BotToken, UserToken Secret
}

// NewClient makes a Client. It dials nothing.
func NewClient(c ClientConfig) (*Client, error) {
	inside, err := url.Parse(c.URL)
	if err != nil || inside.Host == "" {
		return nil, errors.New("chatwoot: url must be an http or https URL such as http://chatwoot:3000")
	}
	made := &Client{c: newClient(c.URL, c.HTTP), inside: inside}
	if c.PublicURL != "" {
		if made.public, err = url.Parse(c.PublicURL); err != nil || made.public.Host == "" {
			return nil, errors.New("chatwoot: public url must be an http or https URL such as https://chat.example.com")
		}
	}
	return made, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.c.http.CloseIdleConnections() }

// Unsure says whether a call that failed may have been carried out all the same.
func Unsure(err error) bool {
	if s := status(err); s != 0 {
		return s >= 500
	}
	var dial *net.OpError
	return err != nil && (!errors.As(err, &dial) || dial.Op != "dial")
}

// Unreachable says whether an error is about Chatwoot as a whole rather than about what was asked.
func Unreachable(err error) bool {
	if err == nil {
		return false
	}
	s := status(err)
	return s == 0 || s >= 500 || s == http.StatusTooManyRequests || s == http.StatusUnauthorized
}

func (c *Client) user(a Access) *client { return c.c.as(a.UserToken) }
func (c *Client) bot(a Access) *client  { return c.c.as(a.BotToken) }

func (a Access) path(format string, args ...any) string {
	return fmt.Sprintf("/api/v1/accounts/%d", a.Account) + fmt.Sprintf(format, args...)
}

// Contact is a customer as Chatwoot has them.
type Contact struct {
	ID         int64          `json:"id"`
	Name       string         `json:"name"`
	Phone      string         `json:"phone_number"` // + and digits
	Identifier string         `json:"identifier"`
	Inboxes    []ContactInbox `json:"contact_inboxes"`
}

// ContactInbox is a contact's entry in an inbox.
type ContactInbox struct {
	SourceID string    `json:"source_id"`
	Inbox    reference `json:"inbox"`
}

// SearchContacts finds contacts by part of a name, e-mail, phone or identifier: at most the first page, so compare.
func (c *Client) SearchContacts(ctx context.Context, a Access, text string) ([]Contact, error) {
	var list struct {
		Payload []Contact `json:"payload"`
	}
	_, err := c.user(a).call(ctx, http.MethodGet, a.path("/contacts/search?q=%s", url.QueryEscape(text)), nil, nil, &list)
	return list.Payload, err
}

// CreateContact makes a contact with an entry in the inbox. Status 422: phone or identifier is another's.
func (c *Client) CreateContact(ctx context.Context, a Access, who Contact, sourceID string) (Contact, error) {
	body := map[string]any{"inbox_id": a.Inbox, "name": who.Name, "identifier": who.Identifier, "source_id": sourceID}
	if who.Phone != "" {
		body["phone_number"] = who.Phone
	}
	var made struct {
		Payload struct {
			Contact Contact `json:"contact"`
		} `json:"payload"`
	}
	_, err := c.user(a).call(ctx, http.MethodPost, a.path("/contacts"), nil, body, &made)
	return made.Payload.Contact, err
}

// UpdateContact writes the fields given.
func (c *Client) UpdateContact(ctx context.Context, a Access, id int64, fields map[string]any) error {
	_, err := c.user(a).call(ctx, http.MethodPut, a.path("/contacts/%d", id), nil, fields, nil)
	return err
}

// AddToInbox gives a contact an entry in the inbox. Status 422: the source id is another's.
func (c *Client) AddToInbox(ctx context.Context, a Access, contact int64, sourceID string) error {
	_, err := c.user(a).call(ctx, http.MethodPost, a.path("/contacts/%d/contact_inboxes", contact), nil,
		map[string]any{"inbox_id": a.Inbox, "source_id": sourceID}, nil)
	return err
}

// Conversation is a conversation as Chatwoot has it.
type Conversation struct {
	ID         int64          `json:"id"` // the display id
	InboxID    int64          `json:"inbox_id"`
	Status     string         `json:"status"`
	Labels     []string       `json:"labels"`
	Additional map[string]any `json:"additional_attributes"`
	Meta       struct {
		Assignee *reference `json:"assignee"`
		Type     string     `json:"assignee_type"`
	} `json:"meta"`
	LastActivityAt int64       `json:"last_activity_at"` // unix seconds
	UpdatedAt      float64     `json:"updated_at"`
	Messages       []reference `json:"messages"` // the newest one
}

// Assignee is user:ID, bot:ID, or empty.
func (c Conversation) Assignee() string {
	switch {
	case c.Meta.Assignee == nil || c.Meta.Assignee.ID == 0:
		return ""
	case c.Meta.Type == "AgentBot":
		return fmt.Sprintf("bot:%d", c.Meta.Assignee.ID)
	}
	return fmt.Sprintf("user:%d", c.Meta.Assignee.ID)
}

// ContactConversations lists a contact's newest conversations.
func (c *Client) ContactConversations(ctx context.Context, a Access, contact int64) ([]Conversation, error) {
	var list struct {
		Payload []Conversation `json:"payload"`
	}
	_, err := c.user(a).call(ctx, http.MethodGet, a.path("/contacts/%d/conversations", contact), nil, nil, &list)
	return list.Payload, err
}

// CreateConversation makes a pending conversation, marked with what identifies it.
func (c *Client) CreateConversation(ctx context.Context, a Access, contact int64, sourceID string, mark map[string]any) (Conversation, error) {
	var made Conversation
	_, err := c.bot(a).call(ctx, http.MethodPost, a.path("/conversations"), nil, map[string]any{
		"inbox_id": a.Inbox, "contact_id": contact, "source_id": sourceID, "status": "pending", "additional_attributes": mark,
	}, &made)
	return made, err
}

// Conversation reads one. Status 404: it was deleted there.
func (c *Client) Conversation(ctx context.Context, a Access, display int64) (Conversation, error) {
	var got Conversation
	_, err := c.bot(a).call(ctx, http.MethodGet, a.path("/conversations/%d", display), nil, nil, &got)
	return got, err
}

// Conversations lists the inbox's conversations, newest activity first, 25 a page from 1.
func (c *Client) Conversations(ctx context.Context, a Access, page int) ([]Conversation, error) {
	var list struct {
		Data struct {
			Payload []Conversation `json:"payload"`
		} `json:"data"`
	}
	_, err := c.user(a).call(ctx, http.MethodGet,
		a.path("/conversations?inbox_id=%d&status=all&sort_by=last_activity_at_desc&page=%d", a.Inbox, page), nil, nil, &list)
	return list.Data.Payload, err
}

// SetStatus writes open, pending or resolved.
func (c *Client) SetStatus(ctx context.Context, a Access, display int64, to string) error {
	_, err := c.bot(a).call(ctx, http.MethodPost, a.path("/conversations/%d/toggle_status", display), nil, map[string]any{"status": to}, nil)
	return err
}

// Assign gives the conversation to a user; zero: to nobody. False: nobody has it now, because the user is none of the account's.
func (c *Client) Assign(ctx context.Context, a Access, display, user int64) (given bool, err error) {
	var got *reference
	_, err = c.bot(a).call(ctx, http.MethodPost, a.path("/conversations/%d/assignments", display), nil, map[string]any{"assignee_id": user}, &got)
	return got != nil && got.ID == user, err
}

// SetLabels replaces the conversation's labels.
func (c *Client) SetLabels(ctx context.Context, a Access, display int64, labels []string) error {
	_, err := c.bot(a).call(ctx, http.MethodPost, a.path("/conversations/%d/labels", display), nil, map[string]any{"labels": labels}, nil)
	return err
}

// Types of message, as the API numbers them.
const (
	Incoming = 0
	Outgoing = 1
)

// Message is a message as Chatwoot has it.
type Message struct {
	ID         int64          `json:"id"`
	Content    string         `json:"content"`
	Type       int            `json:"message_type"`
	Status     string         `json:"status"`
	Private    bool           `json:"private"`
	SourceID   string         `json:"source_id"`
	CreatedAt  int64          `json:"created_at"` // unix seconds
	Attributes map[string]any `json:"content_attributes"`
	Sender     *struct {
		ID   int64  `json:"id"`
		Type string `json:"type"` // user, agent_bot, contact
	} `json:"sender"`
	Attachments []Attachment `json:"attachments"`
}

// Deleted says that somebody took the message back.
func (m Message) Deleted() bool { return m.Attributes["deleted"] == true }

// Attachment is what is attached to a message.
type Attachment struct {
	ID       int64  `json:"id"`
	FileType string `json:"file_type"` // image, audio, video, file, …
	DataURL  string `json:"data_url"`
}

// Messages lists up to 100 messages with an id above after, by creation. Continue from the largest id.
func (c *Client) Messages(ctx context.Context, a Access, display, after int64) ([]Message, error) {
	return c.messages(ctx, a, a.path("/conversations/%d/messages?after=%d", display, after))
}

// Message reads one; false if it is not there.
func (c *Client) Message(ctx context.Context, a Access, display, id int64) (Message, bool, error) {
	// There is no call for one message: from id on, below the next.
	list, err := c.messages(ctx, a, a.path("/conversations/%d/messages?after=%d&before=%d", display, id, id+1))
	for _, m := range list {
		if m.ID == id {
			return m, true, err
		}
	}
	return Message{}, false, err
}

func (c *Client) messages(ctx context.Context, a Access, path string) ([]Message, error) {
	var list struct {
		Payload []Message `json:"payload"`
	}
	_, err := c.user(a).call(ctx, http.MethodGet, path, nil, nil, &list)
	return list.Payload, err
}

// NewMessage is a message to post.
type NewMessage struct {
	Content  string
	Incoming bool // else outgoing
	Private  bool // a note only agents see
	AsUser   bool // else the bot says it; incoming ones are the contact's
	SourceID string
	SentAt   time.Time // zero: now
	Files    []File
}

// File is an attachment to post.
type File struct {
	Name, Mimetype string
	Content        []byte
}

// Post posts a message and returns its id. Nothing keeps Chatwoot from taking the same twice: see Unsure.
func (c *Client) Post(ctx context.Context, a Access, display int64, m NewMessage) (int64, error) {
	as := c.bot(a)
	if m.AsUser {
		as = c.user(a)
	}
	kind := "outgoing"
	if m.Incoming {
		kind = "incoming"
	}
	attributes := map[string]any{}
	if !m.SentAt.IsZero() {
		attributes["external_created_at"] = m.SentAt.Unix()
	}
	where := a.path("/conversations/%d/messages", display)
	var made Message
	if len(m.Files) == 0 {
		_, err := as.call(ctx, http.MethodPost, where, nil, map[string]any{"content": m.Content, "message_type": kind, "private": m.Private,
			"source_id": m.SourceID, "content_attributes": attributes}, &made)
		return made.ID, err
	}
	extra, err := json.Marshal(attributes)
	if err != nil {
		return 0, fmt.Errorf("encode attributes: %w", err)
	}
	body, contentType, err := form(map[string]string{"content": m.Content, "message_type": kind, "private": fmt.Sprint(m.Private),
		"source_id": m.SourceID, "content_attributes": string(extra)}, m.Files)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	req, err := as.request(ctx, http.MethodPost, where, nil, nil)
	if err != nil {
		return 0, err
	}
	req.Body, req.ContentLength = io.NopCloser(body), int64(body.Len())
	req.Header.Set("Content-Type", contentType)
	_, err = as.do(req, http.MethodPost, where, &made)
	return made.ID, err
}

func form(fields map[string]string, files []File) (*bytes.Buffer, string, error) {
	body := &bytes.Buffer{}
	w := multipart.NewWriter(body)
	for name, value := range fields {
		if err := w.WriteField(name, value); err != nil {
			return nil, "", fmt.Errorf("encode form: %w", err)
		}
	}
	for _, f := range files {
		head := textproto.MIMEHeader{}
		head.Set("Content-Disposition", multipart.FileContentDisposition("attachments[]", f.Name))
		head.Set("Content-Type", f.Mimetype)
		part, err := w.CreatePart(head)
		if err == nil {
			_, err = part.Write(f.Content)
		}
		if err != nil {
			return nil, "", fmt.Errorf("encode form: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", fmt.Errorf("encode form: %w", err)
	}
	return body, w.FormDataContentType(), nil
}

// SetMessageStatus writes sent, delivered, read or failed. Chatwoot takes nearly any order: the caller keeps it. Only a user may.
func (c *Client) SetMessageStatus(ctx context.Context, a Access, display, message int64, to, problem string) error {
	body := map[string]any{"status": to}
	if problem != "" {
		body["external_error"] = problem
	}
	_, err := c.user(a).call(ctx, http.MethodPatch, a.path("/conversations/%d/messages/%d", display, message), nil, body, nil)
	return err
}

// Download fetches an attachment of at most so many bytes. Only Chatwoot itself is asked, whatever the address and what it leads to
// say, and no token is sent: the address is a capability. Errors: ErrForeign, ErrTooLarge.
func (c *Client) Download(ctx context.Context, dataURL string, most int64) (File, error) {
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	at, err := url.Parse(dataURL)
	if err != nil {
		return File{}, ErrForeign
	}
	name := path.Base(at.Path)
	for range maxHops {
		if at, err = c.inward(at); err != nil {
			return File{}, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
		if err != nil {
			return File{}, ErrForeign
		}
		got, next, err := c.fetch(req, most)
		if err != nil {
			return File{}, err
		}
		if next == nil {
			got.Name = name
			return got, nil
		}
		at = next
	}
	return File{}, fmt.Errorf("%w: it leads on and on", ErrForeign)
}

// inward is the address as it is reached from here.
func (c *Client) inward(at *url.URL) (*url.URL, error) {
	here := func(u *url.URL) bool { return u != nil && at.Scheme == u.Scheme && strings.EqualFold(at.Host, u.Host) }
	if at.User != nil || !here(c.inside) && !here(c.public) {
		return nil, ErrForeign
	}
	to := *at
	to.Scheme, to.Host = c.inside.Scheme, c.inside.Host
	return &to, nil
}

func (c *Client) fetch(req *http.Request, most int64) (File, *url.URL, error) {
	resp, err := c.c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address is a capability
		}
		return File{}, nil, fmt.Errorf("fetch attachment: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		next, err := resp.Location()
		if err != nil {
			return File{}, nil, ErrForeign
		}
		return File{}, next, nil
	}
	if resp.StatusCode != http.StatusOK {
		return File{}, nil, &StatusError{Method: http.MethodGet, Path: "attachment", Status: resp.StatusCode}
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return File{}, nil, fmt.Errorf("fetch attachment: %w", err)
	case int64(len(content)) > most:
		return File{}, nil, ErrTooLarge
	}
	return File{Mimetype: resp.Header.Get("Content-Type"), Content: content}, nil, nil
}
