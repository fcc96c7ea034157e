package conversation

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// MinTurnKeyBytes is the least length of a turn key: HMAC-SHA256 gains nothing below its own output size.
const MinTurnKeyBytes = 32

// TurnKey makes turn tokens. All replicas share one key. It never prints.
type TurnKey struct{ key []byte }

// NewTurnKey takes the key's bytes; an error if there are fewer than MinTurnKeyBytes.
func NewTurnKey(key []byte) (TurnKey, error) {
	if len(key) < MinTurnKeyBytes {
		return TurnKey{}, fmt.Errorf("turn key has %d bytes, needs at least %d", len(key), MinTurnKeyBytes)
	}
	return TurnKey{key: append([]byte(nil), key...)}, nil
}

// Token is the capability to answer one holding of one turn. Formula: package comment.
func (k TurnKey) Token(t TurnRef) string {
	mac := hmac.New(sha256.New, k.key)
	field := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		mac.Write(n[:])
		mac.Write(b)
	}
	number := func(v int64) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(v))
		field(n[:])
	}
	field([]byte(t.Tenant))
	number(int64(t.Conversation))
	number(t.Epoch)
	number(int64(t.No))
	number(int64(t.Gen))
	number(t.Deadline.UnixMicro())
	number(t.Cluster)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Trace identifies a turn to whoever follows a request through several services.
type Trace struct {
	ID   [16]byte
	Span [8]byte
}

// Parent is the trace as a W3C traceparent header: version 00, sampled.
func (t Trace) Parent() string { return fmt.Sprintf("00-%x-%x-01", t.ID, t.Span) }

// String is the trace id in hexadecimal digits.
func (t Trace) String() string { return hex.EncodeToString(t.ID[:]) }

// Trace makes a turn's trace from the turn itself, so that every attempt and every replica has the same without it being kept. The
// key makes it one that nobody else's turn has.
func (k TurnKey) Trace(t TurnRef) Trace {
	mac := hmac.New(sha256.New, k.key)
	fmt.Fprintf(mac, "trace\x00%s\x00%d\x00%d\x00%d", t.Tenant, t.Conversation, t.No, t.Cluster)
	var trace Trace
	sum := mac.Sum(nil)
	copy(trace.ID[:], sum)
	copy(trace.Span[:], sum[len(trace.ID):])
	return trace
}

// String hides the key from every printing verb.
func (TurnKey) String() string { return "[redacted]" }

// GoString hides the key from %#v.
func (TurnKey) GoString() string { return "[redacted]" }
