package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/runtime/api"
	"plantao/runtime/client"
)

// TestWhatIsPromisedIsJudged goes from the text of rules to what an operator sees.
func TestWhatIsPromisedIsJudged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	op := r.as("operator:otto")
	_, err := op.PutRules(t.Context(), `sla: [{name: vip, first_response: 1h, resolution: 1s}]
rules: []
`)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, r.post(upsert("1", "5511900000001@s.whatsapp.net", "oi")).status)
	b.settled()
	list := func(f client.PromiseFilter) []api.Promise {
		page, err := op.Promises(t.Context(), f)
		require.NoError(t, err)
		return page.Promises
	}
	b.eventually("the resolution is judged", func() bool { return len(list(client.PromiseFilter{State: "broken"})) == 1 })
	broken := list(client.PromiseFilter{State: "broken"})[0]
	require.Equal(t, []any{"resolution", "vip"}, []any{broken.Kind, broken.SLA})
	require.Equal(t, broken.Due, *broken.EndedAt)
	require.Equal(t, time.Second, broken.Due.Sub(broken.Since))
	require.Equal(t, broken.RuleVersion, b.text("select rule_version from audit where verb = 'claim'"))
	require.Contains(t, r.get("/metrics").body, `router_sla_broken_total{kind="resolution",sla="vip"} 1`)

	open := list(client.PromiseFilter{State: "open", Conversation: broken.Conversation})
	require.Len(t, open, 1)
	require.Equal(t, "first_response", open[0].Kind)
	require.Nil(t, open[0].EndedAt)
	page, err := op.Promises(t.Context(), client.PromiseFilter{Limit: 1})
	require.NoError(t, err)
	require.Equal(t, page.Promises[0].ID, page.Next)
	require.Len(t, list(client.PromiseFilter{After: page.Next}), 1)
	b.exec("update promise set due = now() where state = 'open'")
	b.eventually("the first response is judged", func() bool { return len(list(client.PromiseFilter{State: "open"})) == 0 })
	met := list(client.PromiseFilter{State: "met"})
	require.Len(t, met, 1, "the flow has answered")
	require.False(t, met[0].EndedAt.After(met[0].Due))
}
