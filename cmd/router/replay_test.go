package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"plantao/runtime/client"
	"plantao/runtime/conversation"
)

// TestDecisionsAreReadOverTheAPI goes from messages to what a draft of rules is asked about, a page at a time.
func TestDecisionsAreReadOverTheAPI(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	_, err := r.as("operator:test").PutRules(t.Context(), `rules: [{name: alguem, when: '"gente" in message.words', to: {queue: suporte}}]`)
	require.NoError(t, err)
	for _, jid := range []string{testCustomer, "5511900000001@s.whatsapp.net", "5511900000002@s.whatsapp.net"} {
		require.Equal(t, http.StatusOK, r.post(upsert(uuid.NewString(), jid, "quero falar com gente")).status)
	}
	reader := r.as("operator:reader", conversation.ScopeOperate)
	since := time.Now().Add(-time.Hour)
	require.Eventually(t, func() bool {
		list, err := reader.Decisions(t.Context(), since, "", 0)
		require.NoError(t, err)
		return len(list.Decisions) == 3
	}, 20*time.Second, 50*time.Millisecond)

	seen, after := map[string]bool{}, ""
	for range 3 {
		page, err := reader.Decisions(t.Context(), since, after, 1)
		require.NoError(t, err)
		require.Len(t, page.Decisions, 1)
		d := page.Decisions[0]
		require.Equal(t, []any{"queue:suporte", "rule:alguem", "IDLE", []string{"quero falar com gente"}, 1, "none"},
			[]any{d.Owner, d.Reason, d.State, d.Facts.Texts, d.Facts.Waiting, d.Facts.LastOwner})
		seen[d.Conversation], after = true, page.Next
	}
	require.Len(t, seen, 3)
	last, err := reader.Decisions(t.Context(), since, after, 1)
	require.NoError(t, err)
	require.Empty(t, last.Decisions)
	require.Empty(t, last.Next)

	_, err = r.as("human:ana", conversation.ScopeAct, conversation.ScopeRead).Decisions(t.Context(), since, "", 0)
	require.ErrorIs(t, err, conversation.ErrScope)
	for _, place := range []string{"7", "1-2"} {
		_, err = reader.Decisions(t.Context(), since, place, 0)
		var refused *client.Error
		require.ErrorAs(t, err, &refused, place)
		require.Equal(t, http.StatusUnprocessableEntity, refused.Status)
	}
	last, err = reader.Decisions(t.Context(), since, "999999999999999999-1-1", 0)
	require.NoError(t, err)
	require.Empty(t, last.Decisions, "it is later than all")
}
