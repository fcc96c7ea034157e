package conversation

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"strings"
	"time"
	"unicode"
)

// Bounds of a part. WhatsApp takes 65,536 characters of text; more is a mistake of the flow.
const (
	MaxPartTextBytes = 64 << 10
	maxMimetypeBytes = 127
	maxFileNameBytes = 255
)

// Draft is a part as a flow writes it, in its response or by the API.
type Draft struct {
	Text    string      `json:"text,omitempty"` // with an attachment: its caption, which may be missing
	DelayMS int64       `json:"delay_ms,omitempty"`
	Media   *DraftMedia `json:"media,omitempty"`
}

// DraftMedia is an attachment as a flow writes it: the ID of one the conversation has, or the content itself.
type DraftMedia struct {
	ID       int64     `json:"id,omitempty"`
	Base64   string    `json:"base64,omitempty"`
	Mimetype string    `json:"mimetype,omitempty"`
	FileName string    `json:"file_name,omitempty"`
	Kind     MediaKind `json:"kind,omitempty"` // empty: as its MIME type says
}

// DraftParts reads an answer's parts. The error says which part is wrong and repeats nothing of what it says.
func DraftParts(drafts []Draft) ([]Part, error) {
	parts := make([]Part, 0, len(drafts))
	bytes := 0
	for i, d := range drafts {
		p, err := d.part()
		if err != nil {
			return nil, fmt.Errorf("part %d %w", i+1, err)
		}
		if p.Content != nil {
			bytes += len(p.Content.Bytes)
		}
		if bytes > MaxContentBytes {
			return nil, fmt.Errorf("part %d: the attachments of one answer have at most %d bytes together: %w", i+1, MaxContentBytes, ErrInvalid)
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func (d Draft) part() (Part, error) {
	bad := func(format string, args ...any) (Part, error) {
		return Part{}, fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrInvalid)
	}
	p := Part{Text: strings.ReplaceAll(d.Text, "\x00", "")} // PostgreSQL's text cannot hold it
	switch {
	case strings.TrimSpace(p.Text) == "" && d.Media == nil:
		return bad("has an empty text")
	case len(p.Text) > MaxPartTextBytes:
		return bad("is over %d bytes", MaxPartTextBytes)
	case d.DelayMS < 0 || d.DelayMS > MaxPartDelay.Milliseconds():
		return bad("has delay_ms %d, which is not between 0 and %d", d.DelayMS, MaxPartDelay.Milliseconds())
	}
	p.Delay = time.Duration(d.DelayMS) * time.Millisecond
	m := d.Media
	if m == nil {
		return p, nil
	}
	switch m.Kind {
	case "", MediaImage, MediaVideo, MediaAudio, MediaDocument:
	default:
		return bad("has media of a kind that is none of image, video, audio, document")
	}
	switch {
	case m.ID < 0, (m.ID == 0) == (m.Base64 == ""):
		return bad("has media that names neither an id nor holds base64, or both")
	case m.ID > 0:
		p.Media = &PartMedia{ID: m.ID, Kind: m.Kind}
		return p, nil
	case base64.StdEncoding.DecodedLen(len(m.Base64)) > MaxContentBytes+2:
		return bad("has media of over %d bytes", MaxContentBytes)
	}
	content, err := base64.StdEncoding.DecodeString(m.Base64)
	if err != nil || len(content) == 0 {
		return bad("has media whose base64 cannot be read")
	}
	mimetype, _, err := mime.ParseMediaType(m.Mimetype)
	if err != nil || !strings.Contains(mimetype, "/") || len(m.Mimetype) > maxMimetypeBytes {
		return bad("has media without a mimetype, as image/jpeg")
	}
	if len(m.FileName) > maxFileNameBytes || strings.ContainsFunc(m.FileName, func(r rune) bool { return unicode.IsControl(r) || r == '/' || r == '\\' }) {
		return bad("has media with a file name that is too long, or is a path")
	}
	kind := m.Kind
	if kind == "" {
		kind = MediaKindOf(mimetype)
	}
	p.Content = &Content{Kind: kind, Mimetype: m.Mimetype, FileName: m.FileName, Bytes: content}
	return p, nil
}

// DraftHandover is a handover as a flow writes it beside its parts.
type DraftHandover struct {
	To      string          `json:"to"`
	Reason  string          `json:"reason,omitempty"`
	Context json.RawMessage `json:"context,omitempty"`
}

// DraftClose is a closing as a flow writes it beside its parts.
type DraftClose struct {
	Reason string `json:"reason,omitempty"`
}

// DraftThen reads what follows an answer; nil if nothing does. The error is an ErrInvalid.
func DraftThen(h *DraftHandover, c *DraftClose) (*Then, error) {
	var then Then
	switch {
	case h != nil && c != nil:
		return nil, fmt.Errorf("an answer hands over or closes, not both: %w", ErrInvalid)
	case h != nil:
		to, err := ParseOwner(h.To)
		if err != nil {
			return nil, err
		}
		then = Then{Verb: VerbPass, To: to, Reason: h.Reason, Context: h.Context}
	case c != nil:
		then = Then{Verb: VerbClose, Reason: c.Reason}
	default:
		return nil, nil
	}
	if string(then.Context) == "null" {
		then.Context = nil
	}
	return &then, then.Check()
}
