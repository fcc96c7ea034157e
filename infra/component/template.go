package component

import (
	"fmt"
	"strings"
	"text/template"

	"plantao/templates"
)

// render fills an embedded template; the values are ours, so a failure is a programmer's mistake that
// a test of every component finds.
func render(name string, data any) (string, error) {
	t, err := template.New(name).Option("missingkey=error").ParseFS(templates.FS, name)
	if err != nil {
		return "", fmt.Errorf("read template %s: %w", name, err)
	}
	var b strings.Builder
	if err := t.ExecuteTemplate(&b, name[strings.LastIndex(name, "/")+1:], data); err != nil {
		return "", fmt.Errorf("fill template %s: %w", name, err)
	}
	return b.String(), nil
}

// file is an embedded file as it stands.
func file(name string) (string, error) {
	raw, err := templates.FS.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read embedded file %s: %w", name, err)
	}
	return string(raw), nil
}
