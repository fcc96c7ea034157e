package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Events are the names a webhook may subscribe to, in upstream's order. "events": [] on set stores all of them.
var Events = []string{
	"APPLICATION_STARTUP", "QRCODE_UPDATED", "MESSAGES_SET", "MESSAGES_UPSERT", "MESSAGES_EDITED", "MESSAGES_UPDATE", "MESSAGES_DELETE",
	"SEND_MESSAGE", "SEND_MESSAGE_UPDATE", "CONTACTS_SET", "CONTACTS_UPSERT", "CONTACTS_UPDATE", "PRESENCE_UPDATE", "CHATS_SET",
	"CHATS_UPSERT", "CHATS_UPDATE", "CHATS_DELETE", "GROUPS_UPSERT", "GROUP_UPDATE", "GROUP_PARTICIPANTS_UPDATE", "CONNECTION_UPDATE",
	"LABELS_EDIT", "LABELS_ASSOCIATION", "CALL", "TYPEBOT_START", "TYPEBOT_CHANGE_STATUS", "REMOVE_INSTANCE", "LOGOUT_INSTANCE",
	"INSTANCE_CREATE", "INSTANCE_DELETE", "STATUS_INSTANCE",
}

// Event is one thing to tell the receiver of an instance's webhook.
type Event struct {
	// Name is lower case with dots, such as messages.upsert.
	Name string
	// Data may be nil, which is sent as null.
	Data any
	// History is set on messages.set only and adds isLatest and progress at the top level.
	History *History
}

// History tells how far a history sync is.
type History struct {
	IsLatest bool
	// Progress is in percent.
	Progress int
}

// envelope is the body of a webhook, its fields in upstream's order.
type envelope struct {
	Event       string `json:"event"`
	Instance    string `json:"instance"`
	Data        any    `json:"data"`
	Destination string `json:"destination"`
	DateTime    string `json:"date_time"`
	// Sender is missing before an instance is paired, and always on the EVOLUTION channel.
	Sender    string `json:"sender,omitempty"`
	ServerURL string `json:"server_url"`
	// APIKey is the instance token, or null unless tokens are exposed.
	APIKey   *string `json:"apikey"`
	IsLatest *bool   `json:"isLatest,omitempty"`
	Progress *int    `json:"progress,omitempty"`
}

func (e envelope) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // JavaScript does not
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("encode event %s: %w", e.Event, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// DateTime is the wall clock of zone written as if it were UTC, upstream's way to show local time.
func DateTime(now time.Time, zone *time.Location) string {
	return now.In(zone).Format("2006-01-02T15:04:05.000") + "Z"
}

// upperName turns group-participants.update into GROUP_PARTICIPANTS_UPDATE.
func upperName(event string) string {
	return strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(event))
}

// pathName turns MESSAGES_UPSERT into messages-upsert, the last path segment of a byEvents webhook.
func pathName(upper string) string {
	return strings.ToLower(strings.ReplaceAll(upper, "_", "-"))
}

var absoluteURL = regexp.MustCompile(`^https?://`)

// jwtLife is how long the token made from jwt_key is valid; retries of a delivery do not renew it.
const jwtLife = 10 * time.Minute

// signJWT makes the HS256 token that upstream makes of the special header jwt_key.
func signJWT(key string, now time.Time) string {
	claims := fmt.Sprintf(`{"iat":%d,"exp":%d,"app":"evolution","action":"webhook"}`, now.Unix(), now.Add(jwtLife).Unix())
	enc := base64.RawURLEncoding
	signed := enc.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(signed))
	return signed + "." + enc.EncodeToString(mac.Sum(nil))
}
