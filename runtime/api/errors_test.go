package api

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTableWorksBothWays(t *testing.T) {
	t.Parallel()
	codes := map[string]bool{}
	for _, e := range table {
		status, body := FromError(fmt.Errorf("while testing: %w", e.err))
		assert.Equal(t, e.status, status)
		assert.Equal(t, e.code, body.Code)
		assert.Equal(t, e.err, ToError(body.Code))
		assert.False(t, codes[e.code], "code %q is there twice", e.code)
		codes[e.code] = true
	}
	status, body := FromError(errors.New("password of the database is hunter2"))
	assert.Equal(t, http.StatusInternalServerError, status)
	assert.NotContains(t, body.Message, "hunter2")
	assert.NoError(t, ToError("nonsense"))
}
