//go:build e2e

package fault

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// edit takes something out of the router, as text of one of its files.
type edit struct{ file, old, new string }

// broken is a router without one of its guards. The rounds, or the check of histories, must find that out.
type brokenRouter struct {
	name  string
	edits []edit
	fault string // what brings it out
	kind  string // of problem; empty: clients see what no clerk would tell them
}

var brokenRouters = []brokenRouter{
	{"answers 200 before it commits", []edit{{"runtime/ingest/service.go", "	r, err := s.batch.add(ctx, e)\n",
		"	r, err := conversation.Receipt{State: conversation.Pending}, error(nil)\n	go func() {\n		time.Sleep(50 * time.Millisecond)\n" +
			"		_, _ = s.batch.add(context.WithoutCancel(ctx), e)\n		s.c.Wake()\n	}()\n"}}, "kill a router", lost},
	{"sends what may have been sent again", []edit{{"runtime/gate/gate.go", "	case conversation.SendNothing:\n",
		"	case conversation.SendNothing, conversation.SendUnknown:\n"}}, "", twice},
	{"sends what a dead router was sending again", []edit{
		{"runtime/postgres/sql/expire_sending.sql", "set state = 'ambiguous', reason = 'sender_lost'\n     where", "set state = 'replied'\n     where"},
		{"runtime/postgres/sql/expire_sending.sql", "set state = 'ambiguous', reason = 'sender_lost', check_after = now()\n", "set state = 'queued'\n"},
	}, "kill at gate.written", twice},
	{"has a gate that knows no epoch", []edit{
		{"runtime/postgres/sql/pass.sql", "epoch = $2 and owner_kind = 'ai' for share", "$2::bigint >= 0 for share"},
		{"runtime/postgres/sql/revoke_turn.sql", "open.state in ('running', 'replied')", "open.state = 'running'"},
		{"runtime/postgres/sql/revoke_turn.sql", "outbox.state = 'queued'", "outbox.state = 'none'"},
	}, "", lateGate},
	{"opens a turn beside another", []edit{
		{"migrations/00003_message_path.sql", "create unique index one_turn on turn (conversation_id)\n    where kind", "create index one_turn on turn (conversation_id)\n    where kind"},
		{"runtime/postgres/sql/due_conversation.sql", "   and not exists (select 1 from turn t\n", "   and not exists (select 1 from turn t where false)\n   and not exists (select 1 from turn t\n"},
		{"runtime/postgres/sql/due_conversation.sql", "t.kind = 'ai' and t.state in ('running', 'replied', 'sending', 'ambiguous')", "false"},
	}, "", doubled},
	{"undoes an intent that is not the one meant", []edit{
		{"runtime/postgres/sql/unsent.sql", "attempt <= $5 and state in ('sending', 'ambiguous'))", "$5::integer > 0 and state in ('sending', 'ambiguous'))"},
		{"runtime/postgres/sql/unsent.sql", "attempt <= $5 and state in ('sending', 'ambiguous')\n", "$5::integer > 0 and state in ('sending', 'ambiguous')\n"},
	}, "postgres hears unsent late", twice},
	{"takes no turn over", []edit{{"runtime/dispatch/dispatcher.go", "d.takeAll(ctx, d.c.Store.ReclaimTurn)", "error(nil)"}}, "kill at dispatch.claimed", stranded},
	{"lets a turn act after a take", []edit{{"runtime/postgres/turns.go", "case now.Epoch != h.Epoch || now.Owner.Kind != conversation.OwnedByAI:", "case now.Epoch < 0:"}}, "", ""},
	{"reads from a cache", []edit{
		{"runtime/server/conversations.go", "c, err := a.c.Store.Find(ctx, who(ctx).Tenant, id)", "c, err := cached(id, func() (conversation.Conversation, error) { return a.c.Store.Find(ctx, who(ctx).Tenant, id) })"},
		{"runtime/server/conversations.go", "// verbInfo is what", "var cache sync.Map\n\nfunc cached(id conversation.ID, find func() (conversation.Conversation, error)) (conversation.Conversation, error) {\n" +
			"	if c, ok := cache.Load(id); ok {\n		return c.(conversation.Conversation), nil\n	}\n	c, err := find()\n	if err == nil {\n		cache.Store(id, c)\n" +
			"		time.AfterFunc(20*time.Millisecond, func() { cache.Delete(id) })\n	}\n	return c, err\n}\n\n// verbInfo is what"},
		{"runtime/server/conversations.go", "\t\"strings\"\n", "\t\"strings\"\n\t\"sync\"\n\t\"time\"\n"},
	}, "", ""},
}

// TestFaultFindsWhatIsBroken: rounds that find nothing in a router without a guard would prove nothing about one with it.
func TestFaultFindsWhatIsBroken(t *testing.T) {
	list := brokenRouters
	if os.Getenv("SMOKE") != "" {
		list = list[:2]
	}
	for i, b := range list {
		t.Run(b.name, func(t *testing.T) {
			s := settings{
				binary: func() (string, error) { return b.build(i) }, lease: 800 * time.Millisecond, deadline: 4 * time.Second,
				patience: 800 * time.Millisecond, evolutionTimeout: 700 * time.Millisecond, quiesce: 10 * time.Second,
			}
			if b.kind == "" {
				s.deadline, s.patience = calm.deadline, calm.patience
			}
			c := newCluster(t, s)
			for n := range 40 {
				if b.found(t, c, n) {
					t.Logf("found in round %d", n)
					return
				}
			}
			t.Fatal("40 rounds found nothing wrong")
		})
	}
}

// found plays a round, or records a history, and says whether it shows what is broken.
func (b brokenRouter) found(t *testing.T, c *cluster, n int) bool {
	if b.kind == "" {
		h, _ := record(t, c, 1, n)
		return h.verify().result == porcupine.Illegal
	}
	extra := slices.DeleteFunc(deck(), func(f fault) bool { return f.name != b.fault })
	r := newRound(c, 1, n, n, extra)
	if b.fault != "" {
		r.plan, r.night = extra, true // alone, so that nothing covers it up
	}
	problems, err := r.play(t.Context())
	require.NoError(t, err)
	return slices.ContainsFunc(problems, func(p problem) bool { return p.Kind == b.kind })
}

// build builds the router with the edits in place of the files as they are.
func (b brokenRouter) build(i int) (string, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(baseDir, "broken-")
	if err != nil {
		return "", err
	}
	texts := map[string]string{}
	for _, e := range b.edits {
		path := filepath.Join(root, e.file)
		if _, ok := texts[path]; !ok {
			text, err := os.ReadFile(path)
			if err != nil {
				return "", err
			}
			texts[path] = string(text)
		}
		if strings.Count(texts[path], e.old) != 1 {
			return "", &editError{e}
		}
		texts[path] = strings.Replace(texts[path], e.old, e.new, 1)
	}
	replace := map[string]string{}
	for path, text := range texts {
		edited := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(edited, []byte(text), 0o644); err != nil {
			return "", err
		}
		replace[path] = edited
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o644); err != nil {
		return "", err
	}
	return buildRouter("router-broken-"+string(rune('a'+i)), "-tags", "failpoints", "-overlay", path)
}

// editError is an edit that fits the file no more.
type editError struct{ edit }

func (e *editError) Error() string {
	return e.file + " is written otherwise by now: change brokenRouters with it; looked for " + e.old
}
