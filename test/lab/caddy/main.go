// Command caddy is Caddy with its standard modules, built from Go modules where no image of it can be had.
// It stands in a module of its own: its hundreds of dependencies are none of the product's.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func main() { caddycmd.Main() }
