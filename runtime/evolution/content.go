package evolution

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"plantao/runtime/conversation"
)

// maxWrappers is how deep a message may be wrapped (ephemeral in view-once in …) before it counts as unknown.
const maxWrappers = 8

var wrappers = []string{
	"ephemeralMessage", "viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension", "documentWithCaptionMessage", "editedMessage",
}

// content is what a message says, in the router's words.
type content struct {
	kind  string
	text  string
	ref   string
	media *conversation.Media
}

// contextInfo says what a message answers. It stands beside the content or in it.
type contextInfo struct {
	StanzaID string `json:"stanzaId"`
}

func (c contextInfo) ref() string {
	if !usableID(c.StanzaID) {
		return ""
	}
	return clean(c.StanzaID)
}

// fields are the content fields of a message in the order they are looked for: a message has one of them, and side fields
// (messageContextInfo, senderKeyDistributionMessage) count for nothing.
var fields = []struct {
	field, kind string
	read        func(raw jsontext.Value, c *content) bool
}{
	{"conversation", "text", plainText},
	{"extendedTextMessage", "text", extendedText},
	{"imageMessage", "image", attachment},
	{"videoMessage", "video", attachment},
	{"ptvMessage", "video", attachment},
	{"audioMessage", "audio", attachment},
	{"documentMessage", "document", attachment},
	{"stickerMessage", "sticker", attachment},
	{"locationMessage", "location", location},
	{"liveLocationMessage", "location", location},
	{"contactMessage", "contact", contact},
	{"contactsArrayMessage", "contact", contacts},
	{"reactionMessage", "reaction", reaction},
	{"pollCreationMessageV3", "poll", poll},
	{"pollCreationMessage", "poll", poll},
	{"pollUpdateMessage", "poll_vote", pollVote},
	{"listResponseMessage", "choice", choice},
	{"buttonsResponseMessage", "choice", choice},
	{"templateButtonReplyMessage", "choice", choice},
	{"interactiveResponseMessage", "choice", choice},
	{"protocolMessage", "protocol", func(jsontext.Value, *content) bool { return true }},
}

// read finds out what a message says. Its parts that cannot be read are left out.
func read(m map[string]jsontext.Value) content {
	outer := m
	for range maxWrappers {
		inner := unwrapped(m)
		if inner == nil {
			c := unwrappedContent(m)
			if c.media != nil {
				c.media.Inline, c.media.URL = inline(outer), mediaURL(outer["mediaUrl"]) // beside the wrapper, not in it
			}
			return c
		}
		m = inner
	}
	return content{kind: "unknown"}
}

func inline(m map[string]jsontext.Value) bool { return len(m["base64"]) > 2 && m["base64"][0] == '"' }

// readTyped is read for a message that may say no more of its attachment than where the content is: on EVOLUTION channels
// messageType alone tells what it is.
func readTyped(m map[string]jsontext.Value, messageType string) content {
	c := read(m)
	if c.kind != "unknown" {
		return c
	}
	switch kind := kindOf(messageType); kind {
	case "image", "video", "audio", "document", "sticker":
		url := mediaURL(m["mediaUrl"])
		if inline(m) || url != "" {
			return content{kind: kind, media: &conversation.Media{Inline: inline(m), URL: url}}
		}
	}
	return c
}

// kindOf is the kind of a message of which nothing but its messageType is known.
func kindOf(messageType string) string {
	for _, f := range fields {
		if f.field == messageType {
			return f.kind
		}
	}
	return "unknown"
}

func unwrapped(m map[string]jsontext.Value) map[string]jsontext.Value {
	for _, w := range wrappers {
		var inner struct {
			Message map[string]jsontext.Value `json:"message"`
		}
		if raw, ok := m[w]; ok && json.Unmarshal(raw, &inner) == nil && inner.Message != nil {
			return inner.Message
		}
	}
	return nil
}

func unwrappedContent(m map[string]jsontext.Value) content {
	for _, f := range fields {
		raw, ok := m[f.field]
		if !ok || string(raw) == "null" {
			continue
		}
		c := content{kind: f.kind}
		if !f.read(raw, &c) {
			if c.kind == "text" {
				continue // a text that is none
			}
			c = content{kind: f.kind}
		}
		var x struct {
			ContextInfo contextInfo `json:"contextInfo"`
		}
		if c.ref == "" && raw[0] == '{' && json.Unmarshal(raw, &x) == nil {
			c.ref = x.ContextInfo.ref()
		}
		return c
	}
	return content{kind: "unknown"}
}

func mediaURL(raw jsontext.Value) string {
	var url string
	if json.Unmarshal(raw, &url) != nil || len(url) > 4096 || !strings.HasPrefix(url, "http") {
		return ""
	}
	return clean(url)
}

func plainText(raw jsontext.Value, c *content) bool {
	if json.Unmarshal(raw, &c.text) != nil {
		return false
	}
	c.text = clean(c.text)
	return true
}

func extendedText(raw jsontext.Value, c *content) bool {
	var x struct {
		Text string `json:"text"`
	}
	ok := json.Unmarshal(raw, &x) == nil
	c.text = clean(x.Text)
	return ok
}

// attachment reads what is known of a file. Its url is encrypted content and of no use to anybody.
func attachment(raw jsontext.Value, c *content) bool {
	var x struct {
		Mimetype   string         `json:"mimetype"`
		Caption    string         `json:"caption"`
		FileName   string         `json:"fileName"`
		FileLength jsontext.Value `json:"fileLength"`
		Seconds    jsontext.Value `json:"seconds"`
		PTT        bool           `json:"ptt"`
	}
	c.media = &conversation.Media{}
	if json.Unmarshal(raw, &x) != nil {
		return true // there is a file, whatever else
	}
	c.text = clean(x.Caption)
	c.media.Mimetype, c.media.FileName = firstRunes(clean(x.Mimetype), maxNameRunes), firstRunes(clean(x.FileName), maxNameRunes)
	c.media.Bytes, c.media.Seconds, c.media.Voice = longNumber(x.FileLength), int(min(longNumber(x.Seconds), 1<<30)), x.PTT
	return true
}

// longNumber reads a count written as a number, as a string, or as the {"low":…,"high":…} of a JavaScript Long.
func longNumber(raw jsontext.Value) int64 {
	if n, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64); err == nil {
		return max(n, 0)
	}
	var long struct {
		Low  int64 `json:"low"`
		High int64 `json:"high"`
	}
	if json.Unmarshal(raw, &long) != nil {
		return 0
	}
	return max(long.High<<32|long.Low&0xffffffff, 0)
}

func location(raw jsontext.Value, c *content) bool {
	var x struct {
		Latitude  *float64 `json:"degreesLatitude"`
		Longitude *float64 `json:"degreesLongitude"`
		Name      string   `json:"name"`
		Address   string   `json:"address"`
		Caption   string   `json:"caption"`
	}
	if json.Unmarshal(raw, &x) != nil || x.Latitude == nil || x.Longitude == nil {
		return false
	}
	c.text = lines(x.Name, x.Address, x.Caption, fmt.Sprintf("geo:%g,%g", *x.Latitude, *x.Longitude))
	return true
}

type card struct {
	Name  string `json:"displayName"`
	VCard string `json:"vcard"`
}

func (c card) text() string {
	all := []string{c.Name}
	for line := range strings.Lines(c.VCard) { // TEL;type=CELL;waid=5511…:+55 11 …
		if name, number, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && strings.Contains(strings.ToUpper(name), "TEL") {
			all = append(all, number)
		}
	}
	return lines(all...)
}

func contact(raw jsontext.Value, c *content) bool {
	var x card
	ok := json.Unmarshal(raw, &x) == nil
	c.text = x.text()
	return ok
}

func contacts(raw jsontext.Value, c *content) bool {
	var x struct {
		Contacts []card `json:"contacts"`
	}
	ok := json.Unmarshal(raw, &x) == nil
	all := make([]string, 0, len(x.Contacts))
	for _, one := range x.Contacts {
		all = append(all, one.text())
	}
	c.text = lines(all...)
	return ok
}

func reaction(raw jsontext.Value, c *content) bool {
	var x struct {
		Key  messageKey `json:"key"`
		Text string     `json:"text"` // empty: the reaction is taken back
	}
	ok := json.Unmarshal(raw, &x) == nil
	c.text = clean(x.Text)
	if usableID(x.Key.ID) {
		c.ref = clean(x.Key.ID)
	}
	return ok
}

func poll(raw jsontext.Value, c *content) bool {
	var x struct {
		Name    string `json:"name"`
		Options []struct {
			Name string `json:"optionName"`
		} `json:"options"`
	}
	ok := json.Unmarshal(raw, &x) == nil
	all := []string{x.Name}
	for _, o := range x.Options {
		all = append(all, "- "+o.Name)
	}
	c.text = lines(all...)
	return ok
}

func pollVote(raw jsontext.Value, c *content) bool {
	var x struct {
		Key  messageKey `json:"pollCreationMessageKey"`
		Vote struct {
			Selected []string `json:"selectedOptions"`
		} `json:"vote"` // decrypted by Evolution where it could
	}
	ok := json.Unmarshal(raw, &x) == nil
	if usableID(x.Key.ID) {
		c.ref = clean(x.Key.ID)
	}
	c.text = lines(x.Vote.Selected...)
	return ok
}

// chosen are the options of a poll somebody chose.
func chosen(raw jsontext.Value) string {
	var options []struct {
		Name   string           `json:"name"`
		Voters []jsontext.Value `json:"voters"`
	}
	if json.Unmarshal(raw, &options) != nil {
		return ""
	}
	var all []string
	for _, o := range options {
		if len(o.Voters) > 0 {
			all = append(all, o.Name)
		}
	}
	return lines(all...)
}

// choice is what a customer tapped on.
func choice(raw jsontext.Value, c *content) bool {
	var x struct {
		Title               string `json:"title"`
		SelectedDisplayText string `json:"selectedDisplayText"`
		SelectedButtonID    string `json:"selectedButtonId"`
		SelectedID          string `json:"selectedId"`
		SingleSelectReply   struct {
			RowID string `json:"selectedRowId"`
		} `json:"singleSelectReply"`
		Body struct {
			Text string `json:"text"`
		} `json:"body"`
	}
	ok := json.Unmarshal(raw, &x) == nil
	all := []string{x.SelectedDisplayText, x.Title, x.Body.Text, x.SelectedButtonID, x.SelectedID, x.SingleSelectReply.RowID}
	if i := slices.IndexFunc(all, func(s string) bool { return s != "" }); i >= 0 {
		c.text = clean(all[i])
	}
	return ok
}

func lines(all ...string) string {
	kept := all[:0:0]
	for _, s := range all {
		if s = strings.TrimSpace(clean(s)); s != "" {
			kept = append(kept, s)
		}
	}
	return strings.Join(kept, "\n")
}
