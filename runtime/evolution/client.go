package evolution

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"plantao/runtime/conversation"
	"plantao/runtime/dial"
	"plantao/runtime/failpoint"
)

// errLate is a send that came to the wire after the time it was allowed to.
var errLate = errors.New("the lease or the deadline ran out before the first byte")

const (
	maxAnswerBytes = 4 << 20
)

// ClientConfig says how to reach Evolution.
type ClientConfig struct {
	URL    string
	APIKey string
	// Timeout bounds one call, from dialling to the last byte of the answer. Zero means 30 s: sendText looks the number
	// up and waits for WhatsApp.
	Timeout time.Duration
	// MediaTimeout bounds a call that carries an attachment, which Evolution passes on to WhatsApp before it answers. Zero means 60 s.
	MediaTimeout time.Duration
	// MediaBytes is the largest attachment that is fetched. Zero means 20 MB.
	MediaBytes int64
	// MediaHosts are the hosts, as host or host:port, from which an attachment is fetched that an event names by its URL.
	MediaHosts []string
}

// Client implements conversation.Sender.
type Client struct {
	base         string
	apiKey       string
	timeout      time.Duration
	mediaTimeout time.Duration
	mediaBytes   int64
	mediaHosts   []string
	http         *http.Client
}

var _ conversation.Sender = (*Client)(nil)

// NewClient dials nothing.
func NewClient(c ClientConfig) *Client {
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.MediaTimeout == 0 {
		c.MediaTimeout = 60 * time.Second
	}
	if c.MediaBytes == 0 {
		c.MediaBytes = 20 << 20
	}
	places := []string{c.URL}
	for _, host := range c.MediaHosts {
		places = append(places, "http://"+host, "https://"+host)
	}
	dialer := dial.To(places...)
	return &Client{
		base: strings.TrimRight(c.URL, "/"), apiKey: c.APIKey, timeout: c.Timeout,
		mediaTimeout: c.MediaTimeout, mediaBytes: c.MediaBytes, mediaHosts: c.MediaHosts,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dialer.DialContext(ctx, network, addr)
					if err != nil {
						return nil, err
					}
					return &wireConn{Conn: conn}, nil
				},
				MaxIdleConnsPerHost: 16,
				IdleConnTimeout:     60 * time.Second,
			},
			// A redirected POST becomes a GET, or is posted twice: neither is wanted.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// wireConn counts written bytes, so that "nothing was written" is known and not guessed, and refuses the first byte of a
// request that comes too late.
type wireConn struct {
	net.Conn
	mu       sync.Mutex
	notAfter time.Time // for the next write; zero: no bound
	written  int64
}

func (c *wireConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.notAfter.IsZero() && !time.Now().Before(c.notAfter) {
		return 0, errLate
	}
	if !c.notAfter.IsZero() {
		failpoint.Hit("evolution.write") // a send, and no read-back
	}
	c.notAfter = time.Time{} // what has begun is finished: half a request helps nobody
	n, err := c.Conn.Write(p)
	c.written += int64(n)
	return n, err
}

// arm bounds the next write and returns how much has been written so far.
func (c *wireConn) arm(notAfter time.Time) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notAfter = notAfter
	return c.written
}

func (c *wireConn) count() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written
}

// wire watches one request: which connection it got last, and how much had been written there before.
type wire struct {
	notAfter time.Time
	mu       sync.Mutex
	got      bool
	conn     *wireConn // nil if the connection is of a kind that cannot be watched
	before   int64
}

func (w *wire) gotConn(info httptrace.GotConnInfo) {
	conn := info.Conn
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got, w.conn = true, nil
	if c, ok := conn.(*wireConn); ok {
		w.conn, w.before = c, c.arm(w.notAfter)
	}
}

// outcome says what a failed request did. The transport repeats a request on another connection only when it wrote
// nothing on the first, so the last connection tells. After a cancelled context the count tells nothing: the transport's
// own goroutine may be writing right now.
func (w *wire) outcome(err error, cancelled bool) conversation.SendOutcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.got, errors.Is(err, errLate):
		return conversation.SendNothing
	case !cancelled && w.conn != nil && w.conn.count() == w.before:
		return conversation.SendNothing
	}
	return conversation.SendUnknown
}

type sendTextRequest struct {
	Number string `json:"number"`
	Text   string `json:"text"`
}

// SendText implements conversation.Sender.
func (c *Client) SendText(ctx context.Context, channel, chatJID, text string, notAfter time.Time) (conversation.Delivery, error) {
	body, err := json.Marshal(sendTextRequest{Number: number(chatJID), Text: text})
	if err != nil {
		return conversation.Delivery{}, &conversation.SendError{Outcome: conversation.SendRefused, Err: err}
	}
	return c.send(ctx, "/message/sendText/"+url.PathEscape(channel), textUpload(body), c.timeout, notAfter)
}

// send writes one message to the wire, once.
func (c *Client) send(ctx context.Context, path string, up upload, timeout time.Duration, notAfter time.Time) (conversation.Delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	w := wire{notAfter: notAfter}
	req, err := up.request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: w.gotConn}), c, path)
	if err != nil {
		return conversation.Delivery{}, &conversation.SendError{Outcome: conversation.SendRefused, Err: err}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		outcome := w.outcome(err, ctx.Err() != nil)
		return conversation.Delivery{}, &conversation.SendError{Outcome: outcome, Err: withoutURL(err)}
	}
	defer resp.Body.Close()
	return sendAnswer(resp)
}

func sendAnswer(resp *http.Response) (conversation.Delivery, error) {
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	fail := func(outcome conversation.SendOutcome, err error) (conversation.Delivery, error) {
		return conversation.Delivery{}, &conversation.SendError{Outcome: outcome, Status: resp.StatusCode, Err: err}
	}
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests:
		return fail(conversation.SendNothing, errors.New("too many requests"))
	case code == http.StatusRequestTimeout || code >= 500:
		return fail(conversation.SendUnknown, errors.New("evolution failed"))
	case code == http.StatusBadRequest && notConnected(answer):
		// Evolution looks at its connection before it writes to WhatsApp, and after that waits for nothing that would say so.
		return fail(conversation.SendNothing, conversation.ErrNotConnected)
	case code >= 300:
		return fail(conversation.SendRefused, errors.New(refusal(answer)))
	}
	if err != nil {
		return fail(conversation.SendUnknown, fmt.Errorf("read answer: %w", err))
	}
	var sent struct {
		Key messageKey `json:"key"`
	}
	if err := json.Unmarshal(answer, &sent); err != nil || !usableID(sent.Key.ID) {
		return fail(conversation.SendUnknown, errors.New("answer names no message id"))
	}
	return conversation.Delivery{MessageID: clean(sent.Key.ID), ChatJID: clean(sent.Key.RemoteJID)}, nil
}

// refusal says what kind of refusal it was. The answer itself can hold the customer's number and is not repeated.
func refusal(answer []byte) string {
	switch {
	case bytes.Contains(answer, []byte(`"exists":false`)), bytes.Contains(answer, []byte(`"exists": false`)):
		return "the number is not on WhatsApp"
	case bytes.Contains(answer, []byte("Method not available")):
		return "this channel's integration cannot send that"
	}
	return "evolution refused the message"
}

func notConnected(answer []byte) bool {
	return bytes.Contains(bytes.ToLower(answer), []byte("connection closed"))
}

type findMessagesRequest struct {
	Where  findWhere `json:"where"`
	Page   int       `json:"page"`
	Offset int       `json:"offset"` // page size, in Evolution's words
}

type findWhere struct {
	Key map[string]any `json:"key"`
}

// readBackRecords is how many messages of one chat are looked through: far more than a chat has in the minutes asked for.
const readBackRecords = 100

// SentSince implements conversation.Sender. Evolution may have filed the message under another form of the chat's id than
// the one it was sent to, so every form is asked for.
func (c *Client) SentSince(ctx context.Context, channel, chatJID string, t time.Time) ([]conversation.Delivery, error) {
	var found []conversation.Delivery
	for _, jid := range forms(chatJID) {
		var answer json.RawMessage
		err := c.call(ctx, http.MethodPost, "/chat/findMessages/"+url.PathEscape(channel), findMessagesRequest{
			Where: findWhere{Key: map[string]any{"remoteJid": jid, "fromMe": true}}, Page: 1, Offset: readBackRecords,
		}, &answer)
		if err != nil {
			return nil, fmt.Errorf("read back messages of channel %q: %w", channel, err)
		}
		list, _, err := records[upsert](answer)
		if err != nil {
			return nil, fmt.Errorf("read back messages of channel %q: %w", channel, err)
		}
		for _, r := range list {
			sentAt := timestamp(r.MessageTimestamp)
			if !r.Key.FromMe || r.Key.RemoteJID != jid || !usableID(r.Key.ID) || sentAt.Before(t) {
				continue // not every version applies every filter
			}
			if r.Source == "android" || r.Source == "ios" {
				continue // written on the phone itself
			}
			c := read(r.Message)
			if c.kind == "unknown" { // EVOLUTION channels keep no more of an attachment than its kind
				c.kind = kindOf(r.MessageType)
			}
			found = append(found, conversation.Delivery{MessageID: clean(r.Key.ID), ChatJID: jid, Type: c.kind, Text: c.text, SentAt: sentAt})
		}
	}
	slices.SortStableFunc(found, func(a, b conversation.Delivery) int { return b.SentAt.Compare(a.SentAt) })
	return found, nil
}

// records takes the answer of findMessages in both shapes: paged since 2.2, a bare list before. It says how many pages there are.
func records[T any](answer []byte) (list []T, pages int, err error) {
	var paged struct {
		Messages struct {
			Pages   int `json:"pages"`
			Records []T `json:"records"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(answer, &paged); err == nil {
		return paged.Messages.Records, paged.Messages.Pages, nil
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		return nil, 0, fmt.Errorf("read list of messages: %w", err)
	}
	return list, 1, nil
}

// StatusError is an answer of Evolution with a status that is not a success.
type StatusError struct {
	Status int
	gone   bool // there is no such instance
}

func noInstance(err error) bool {
	var se *StatusError
	return errors.As(err, &se) && se.gone
}

func (e *StatusError) Error() string { return fmt.Sprintf("evolution answered status %d", e.Status) }

// call sends JSON and reads JSON. A nil out ignores the answer.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("write request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if resp.StatusCode >= 300 {
		// A 404 alone may be a proxy's.
		return &StatusError{Status: resp.StatusCode,
			gone: resp.StatusCode == http.StatusNotFound && bytes.Contains(answer, []byte("instance does not exist"))}
	}
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("apikey", c.apiKey)
	req.Header.Set("Accept", "application/json")
	if method != http.MethodGet {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// withoutURL drops the URL that net/http puts before the cause.
func withoutURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}
