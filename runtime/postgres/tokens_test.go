package postgres_test

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	holder := func(secret string) (conversation.Principal, error) {
		return w.store.Authenticate(t.Context(), sha256.Sum256([]byte(secret)))
	}
	refused := func(secret, why string) {
		t.Helper()
		_, err := holder(secret)
		require.ErrorIs(t, err, conversation.ErrBadToken, why)
	}
	until := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	p := conversation.Principal{Tenant: "default", Token: "ana-desk", Actor: conversation.Actor{Kind: conversation.ActorHuman, ID: "ana"},
		Scopes: []conversation.Scope{conversation.ScopeRead, conversation.ScopeAct}, Until: until}
	refused("one", "not written yet")
	require.NoError(t, w.store.PutToken(t.Context(), p, "one"))
	got, err := holder("one")
	require.NoError(t, err)
	require.True(t, until.Equal(got.Until))
	got.Until = p.Until
	require.Equal(t, p, got)
	require.Equal(t, "0", w.text(`select count(*)::text from api_token where to_jsonb(api_token)::text like '%one%'`), "the secret is nowhere")

	p.Scopes, p.Until = []conversation.Scope{conversation.ScopeOperate}, time.Time{}
	require.NoError(t, w.store.PutToken(t.Context(), p, "two"))
	refused("one", "the name has another secret now")
	got, err = holder("two")
	require.NoError(t, err)
	require.Equal(t, p, got, "for ever")

	ok, err := w.store.RevokeToken(t.Context(), "other", p.Token)
	require.NoError(t, err)
	require.False(t, ok, "another tenant's")
	ok, err = w.store.RevokeToken(t.Context(), "default", p.Token)
	require.NoError(t, err)
	require.True(t, ok)
	refused("two", "revoked")
	ok, err = w.store.RevokeToken(t.Context(), "default", p.Token)
	require.NoError(t, err)
	require.False(t, ok, "once")
	rows, err := w.store.Tokens(t.Context(), "default")
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.False(t, rows[0].Revoked.IsZero())
	require.Equal(t, p, rows[0].Principal)

	require.NoError(t, w.store.PutToken(t.Context(), p, "three"))
	_, err = holder("three")
	require.NoError(t, err, "a revoked name may be used again")
	w.exec("update api_token set expires_at = now() - interval '1 second'")
	refused("three", "expired")

	p.Token, p.Scopes = "useless", nil
	require.Error(t, w.store.PutToken(t.Context(), p, "four"), "a token that allows nothing")
}

func TestForgottenKeysAreFree(t *testing.T) {
	t.Parallel()
	d := newDesk(t, newWorld(t).db)
	id := d.talk(toF)
	old := d.handOver(d.find(id), "old")
	_, err := d.store.Do(t.Context(), old)
	require.NoError(t, err)
	d.exec("update verb_idem set created_at = created_at - interval '2 days'")
	young := d.handOver(d.find(id), "young")
	_, err = d.store.Do(t.Context(), young)
	require.NoError(t, err)
	n, err := d.store.ForgetKeys(t.Context(), 24*time.Hour)
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	r, err := d.store.Do(t.Context(), young)
	require.NoError(t, err)
	require.True(t, r.Replayed)
	_, err = d.store.Do(t.Context(), old)
	require.ErrorIs(t, err, conversation.ErrStaleEpoch, "its epoch guards it still")
}
