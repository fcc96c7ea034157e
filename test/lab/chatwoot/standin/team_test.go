package standin

import (
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTeamsAndAgents(t *testing.T) {
	const account = "/api/v1/accounts/1"
	l := ready(t, nil)
	_, token := l.agent("beto@example.com")
	list := func(path string) (names []string) {
		status, got := l.do(token, "GET", account+path, nil)
		require.Equal(t, 200, status)
		for _, one := range got.([]any) {
			names = append(names, fmt.Sprint(one.(object)["name"], " ", one.(object)["availability_status"]))
		}
		return names
	}
	ana := l.must("POST", "/agents", object{"name": "Ana", "email": "Ana@example.com"})
	assert.Equal(t, []any{"ana@example.com", "agent", "offline", true}, []any{ana["email"], ana["role"], ana["availability_status"], ana["auto_offline"]})
	assert.Contains(t, l.refused(422, "POST", "/agents", object{"name": "Ana", "email": "ana@example.com"}), "already been taken")
	l.refused(422, "POST", "/agents", object{"name": "Ana", "email": "ana"})
	l.refused(500, "POST", "/agents", object{"name": "x", "email": "x@example.com", "role": "chief"})
	status, _ := l.do(token, "POST", account+"/agents", object{"name": "x", "email": "x@example.com"})
	assert.Equal(t, 401, status, "administrators only")

	team := l.must("POST", "/teams", object{"name": "Vendas"})
	assert.Equal(t, []any{"vendas", true, false}, []any{team["name"], team["allow_auto_assign"], team["is_member"]}, "names are in small letters")
	assert.Contains(t, l.refused(422, "POST", "/teams", object{"name": "VENDAS"}), "already been taken")
	l.refused(422, "POST", "/teams", object{"name": " "})
	members := fmt.Sprintf("/teams/%v/team_members", team["id"])
	l.refused(401, "POST", members, object{"user_ids": []int{999}})
	l.do(l.tok, "POST", account+members, object{"user_ids": []any{ana["id"]}})
	assert.Equal(t, []string{"Ana offline"}, list(members))

	// A browser that is open, what its user chose, and a browser that was closed a minute ago.
	see := fmt.Sprintf("OnlineStatusTracker.update_presence(1, 'User', %v)\n", ana["id"])
	require.NoError(t, l.app.RunScript(t.Context(), strings.NewReader(see), l.get))
	assert.Equal(t, []string{"Ana online"}, list(members))
	l.must("PATCH", fmt.Sprintf("/agents/%v", ana["id"]), object{"availability": "busy"})
	assert.Equal(t, []string{"Ana busy"}, list(members))
	l.refused(500, "PATCH", fmt.Sprintf("/agents/%v", ana["id"]), object{"availability": "asleep"})
	l.refused(404, "PATCH", "/agents/999", object{"availability": "busy"})
	require.NoError(t, l.app.redis.ZAdd(t.Context(), presenceKey(1), goredis.Z{Score: float64(time.Now().Add(-61 * time.Second).Unix()), Member: fmt.Sprint(ana["id"])}).Err())
	assert.Equal(t, []string{"Ana offline"}, list(members))

	l.do(l.tok, "PATCH", account+members, object{"user_ids": []int{}})
	assert.Empty(t, list(members))
	l.do(l.tok, "DELETE", account+fmt.Sprintf("/teams/%v", team["id"]), nil)
	assert.Empty(t, list("/teams"))
	l.refused(404, "GET", fmt.Sprintf("/teams/%v", team["id"]), nil)
}
