// Package migrations holds the numbered SQL of the router's database, embedded so that the binary and the schema it
// expects cannot be shipped apart.
package migrations

import (
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Files are the migrations, named NNNNN_what.sql in goose's format. They are applied in order of their number.
//
//go:embed *.sql
var Files embed.FS

// Version is the schema version this binary was built for: the highest number among Files.
func Version() (int64, error) {
	names, err := fs.Glob(Files, "*.sql")
	if err != nil {
		return 0, fmt.Errorf("list embedded migrations: %w", err)
	}
	var newest int64
	for _, name := range names {
		number, _, ok := strings.Cut(name, "_")
		if !ok {
			return 0, fmt.Errorf("read migration name %q: no number before the first underscore", name)
		}
		v, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read migration name %q: %w", name, err)
		}
		newest = max(newest, v)
	}
	return newest, nil
}
