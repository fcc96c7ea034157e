package templates

import (
	"fmt"
	"io/fs"
)

// N8N holds the workflows to install in n8n: one JSON file each, in n8n's export form.
func N8N() fs.FS {
	sub, err := fs.Sub(FS, "n8n")
	if err != nil { // only for a name that is no path
		panic(fmt.Sprintf("templates: open n8n: %v", err))
	}
	return sub
}
