// Package audit is the append-only record of every change of state of a conversation. Each entry carries the hash of
// the one before it, so a changed, missing or moved row breaks the chain from there on.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"time"
)

// ErrBroken is a chain that does not verify.
var ErrBroken = errors.New("audit chain is broken")

// Entry is one audit row. At has microseconds, the precision the database keeps. Detail holds no message text and no
// phone number.
type Entry struct {
	Tenant       string
	Conversation int64
	Seq          int64 // counts from 1 in each conversation
	At           time.Time
	Actor        string
	Verb         string
	StateFrom    string
	StateTo      string
	EpochFrom    int64
	EpochTo      int64
	Reason       string
	RuleVersion  string
	Detail       map[string]string
	Prev         []byte // hash of the entry before; empty for the first
	Hash         []byte
}

// Sum computes the entry's hash over all fields but Hash itself. Every field is preceded by its length, so no two
// different entries have the same input.
func (e Entry) Sum() []byte {
	h := sha256.New()
	text(h, e.Tenant)
	number(h, e.Conversation)
	number(h, e.Seq)
	number(h, e.At.UnixMicro())
	for _, s := range []string{e.Actor, e.Verb, e.StateFrom, e.StateTo} {
		text(h, s)
	}
	number(h, e.EpochFrom)
	number(h, e.EpochTo)
	text(h, e.Reason)
	text(h, e.RuleVersion)
	number(h, int64(len(e.Detail)))
	for _, k := range slices.Sorted(maps.Keys(e.Detail)) {
		text(h, k)
		text(h, e.Detail[k])
	}
	text(h, string(e.Prev))
	return h.Sum(nil)
}

// Verify checks one conversation's entries in order of Seq, from the first.
func Verify(entries []Entry) error {
	var prev []byte
	for i, e := range entries {
		switch {
		case e.Seq != int64(i+1):
			return fmt.Errorf("conversation %d: entry %d is missing: %w", e.Conversation, i+1, ErrBroken)
		case !bytes.Equal(e.Prev, prev):
			return fmt.Errorf("conversation %d: entry %d does not follow entry %d: %w", e.Conversation, e.Seq, i, ErrBroken)
		case !bytes.Equal(e.Hash, e.Sum()):
			return fmt.Errorf("conversation %d: entry %d was changed: %w", e.Conversation, e.Seq, ErrBroken)
		}
		prev = e.Hash
	}
	return nil
}

func text(h hash.Hash, s string) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(s)))
	h.Write(n[:])
	h.Write([]byte(s))
}

func number(h hash.Hash, v int64) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(v))
	h.Write(n[:])
}
