// Command pulumi-resource-plantao is the provider plugin that the Pulumi engine starts.
package main

import (
	"context"
	"fmt"
	"os"

	"plantao/infra/provider"
)

func main() {
	if err := provider.Run(context.Background()); err != nil {
		// Stdout carries the engine's handshake; errors go to stderr only.
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
