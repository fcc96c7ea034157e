package evolution

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"plantao/runtime/conversation"
)

var _ conversation.Fetcher = (*Client)(nil)

// FetchMedia implements conversation.Fetcher: from the URL the event names, if its host is one of MediaHosts, else through Evolution,
// which asks WhatsApp for it. What WhatsApp's own url leads to is encrypted (facts §8.6).
func (c *Client) FetchMedia(ctx context.Context, channel, messageID string, m conversation.Media) (conversation.Content, error) {
	if m.Bytes > c.mediaBytes {
		return conversation.Content{}, c.tooLarge()
	}
	ctx, cancel := context.WithTimeout(ctx, c.mediaTimeout)
	defer cancel()
	if c.mayFetch(m.URL) {
		if content, err := c.fetchURL(ctx, m); err == nil {
			return content, nil
		}
		// A URL can have run out; Evolution may still have it.
	}
	return c.fetchBase64(ctx, channel, messageID, m)
}

func (c *Client) tooLarge() error {
	return &conversation.FetchError{Final: true, Err: fmt.Errorf("attachment is larger than %d bytes, see media.max_bytes", c.mediaBytes)}
}

// mayFetch: an event's URL is anybody's word, and the router stands where it can reach what others cannot.
func (c *Client) mayFetch(address string) bool {
	u, err := url.Parse(address)
	return err == nil && address != "" && (u.Scheme == "http" || u.Scheme == "https") && u.User == nil &&
		slices.Contains(c.mediaHosts, strings.ToLower(u.Host))
}

func (c *Client) fetchURL(ctx context.Context, m conversation.Media) (conversation.Content, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.URL, nil) // without Evolution's key
	if err != nil {
		return conversation.Content{}, fmt.Errorf("make request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return conversation.Content{}, withoutURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return conversation.Content{}, &StatusError{Status: resp.StatusCode}
	}
	if resp.ContentLength > c.mediaBytes {
		return conversation.Content{}, c.tooLarge()
	}
	var buf bytes.Buffer
	buf.Grow(int(max(resp.ContentLength, m.Bytes, 0)) + bytes.MinRead)
	n, err := buf.ReadFrom(io.LimitReader(resp.Body, c.mediaBytes+1))
	switch {
	case err != nil:
		return conversation.Content{}, fmt.Errorf("read attachment: %w", err)
	case n > c.mediaBytes:
		return conversation.Content{}, c.tooLarge()
	case n == 0:
		return conversation.Content{}, errors.New("the attachment is empty")
	}
	return conversation.Content{Mimetype: m.Mimetype, FileName: m.FileName, Bytes: buf.Bytes()}, nil
}

type base64Request struct {
	Message struct {
		Key struct {
			ID string `json:"id"`
		} `json:"key"`
	} `json:"message"`
	ConvertToMp4 bool `json:"convertToMp4"`
}

func (c *Client) fetchBase64(ctx context.Context, channel, messageID string, m conversation.Media) (conversation.Content, error) {
	var body base64Request
	body.Message.Key.ID = messageID
	data, err := json.Marshal(body)
	if err != nil {
		return conversation.Content{}, fmt.Errorf("write request: %w", err)
	}
	req, err := c.request(ctx, http.MethodPost, "/chat/getBase64FromMediaMessage/"+url.PathEscape(channel), bytes.NewReader(data))
	if err != nil {
		return conversation.Content{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return conversation.Content{}, withoutURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
		return conversation.Content{}, &conversation.FetchError{
			// The message may not be in Evolution's database yet: it tells of it before it keeps it. An EVOLUTION channel never has it.
			Final: bytes.Contains(answer, []byte("Method not available")), Status: resp.StatusCode,
			Err: fmt.Errorf("fetch attachment: %w", &StatusError{Status: resp.StatusCode}),
		}
	}
	got, err := readBase64(resp.Body, m.Bytes, c.mediaBytes)
	if errors.Is(err, errTooLarge) {
		return conversation.Content{}, c.tooLarge()
	}
	if err != nil {
		return conversation.Content{}, fmt.Errorf("fetch attachment: %w", err)
	}
	if got.Mimetype == "" {
		got.Mimetype = m.Mimetype
	}
	if m.FileName != "" { // as the customer named it; Evolution makes one up for what has none
		got.FileName = m.FileName
	}
	return got, nil
}

var errTooLarge = errors.New("too large")

// maxFieldBytes bounds what is read of an answer beside the content.
const maxFieldBytes = 1 << 20

// readBase64 reads {"mimetype":…,"fileName":…,"base64":…,…} and decodes the content as it comes: neither the answer nor the base64 is
// in memory as a whole.
func readBase64(r io.Reader, expected, limit int64) (conversation.Content, error) {
	var got conversation.Content
	in := bufio.NewReaderSize(r, 32<<10)
	if err := expect(in, '{'); err != nil {
		return got, err
	}
	for {
		name, end, err := readName(in)
		if err != nil || end {
			if err == nil && len(got.Bytes) == 0 {
				err = errors.New("the answer has no content")
			}
			return got, err
		}
		switch name {
		case "base64":
			got.Bytes, err = readContent(in, expected, limit)
		case "mimetype":
			got.Mimetype, err = readText(in)
		case "fileName":
			got.FileName, err = readText(in)
		default:
			_, err = readValue(in)
		}
		if err != nil {
			return got, fmt.Errorf("read %q of the answer: %w", firstRunes(name, 40), err)
		}
	}
}

// readContent decodes a JSON string of base64, which has no escapes but \/.
func readContent(in *bufio.Reader, expected, limit int64) ([]byte, error) {
	if err := expect(in, '"'); err != nil {
		return nil, err
	}
	text := &stringReader{in: in}
	var buf bytes.Buffer
	if expected > 0 && expected <= limit {
		buf.Grow(int(expected) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(base64.NewDecoder(base64.StdEncoding, text), limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("decode base64: %w", err)
	case n > limit:
		return nil, errTooLarge
	}
	// The decoder stops where the base64 is complete, which can be before the string's end.
	if _, err := io.Copy(io.Discard, text); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// stringReader reads the rest of a JSON string, without its closing quote.
type stringReader struct {
	in   *bufio.Reader
	done bool
}

func (s *stringReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && !s.done {
		if n > 0 && s.in.Buffered() == 0 {
			break
		}
		b, err := s.in.ReadByte()
		switch {
		case err != nil:
			return n, noEOF(err)
		case b == '"':
			s.done = true
		case b == '\\':
			if b, err = s.in.ReadByte(); err != nil || b != '/' {
				return n, errors.New("base64 with an escape in it")
			}
			p[n] = b
			n++
		default:
			p[n] = b
			n++
		}
	}
	if n == 0 && s.done {
		return 0, io.EOF
	}
	return n, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// next is the next byte that is no space.
func next(in *bufio.Reader) (byte, error) {
	for {
		b, err := in.ReadByte()
		if err != nil {
			return 0, noEOF(err)
		}
		if !strings.ContainsRune(" \t\r\n", rune(b)) {
			return b, nil
		}
	}
}

func expect(in *bufio.Reader, want byte) error {
	b, err := next(in)
	if err == nil && b != want {
		err = fmt.Errorf("%q where %q belongs", b, want)
	}
	return err
}

// readName reads the name of an object's next field and its colon; end says that there is none.
func readName(in *bufio.Reader) (name string, end bool, err error) {
	b, err := next(in)
	if err == nil && b == ',' {
		b, err = next(in)
	}
	switch {
	case err != nil:
		return "", false, err
	case b == '}':
		return "", true, nil
	case b != '"':
		return "", false, fmt.Errorf("%q where a field's name belongs", b)
	}
	if err := in.UnreadByte(); err != nil {
		return "", false, err
	}
	if name, err = readText(in); err != nil {
		return "", false, err
	}
	return name, false, expect(in, ':')
}

func readText(in *bufio.Reader) (string, error) {
	raw, err := readValue(in)
	if err != nil {
		return "", err
	}
	var s string
	_ = json.Unmarshal(raw, &s) // of another type: as if it were not there
	return firstRunes(clean(s), maxNameRunes), nil
}

// readValue reads one JSON value of any kind.
func readValue(in *bufio.Reader) (json.RawMessage, error) {
	var raw []byte
	b, err := next(in)
	for depth, quoted, escaped := 0, false, false; err == nil; b, err = in.ReadByte() {
		if depth == 0 && !quoted && len(raw) > 0 && (b == ',' || b == '}' || b == ']') {
			return raw, in.UnreadByte()
		}
		if raw = append(raw, b); len(raw) > maxFieldBytes {
			return nil, errors.New("field is too long")
		}
		switch {
		case escaped:
			escaped = false
		case quoted && b == '\\':
			escaped = true
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '{' || b == '[':
			depth++
		case b == '}' || b == ']':
			depth--
		}
		if depth == 0 && !quoted && !escaped && (b == '"' || b == '}' || b == ']') {
			return raw, nil
		}
	}
	return nil, noEOF(err)
}
