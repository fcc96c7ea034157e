// Package templates embeds the files that are placed on hosts and in containers, one folder per service.
package templates

import "embed"

// FS holds them by "<service>/<file>".
//
//go:embed */*
var FS embed.FS
