package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

const healthTimeout = 3 * time.Second

func healthCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "health", Short: "Ask the router on this machine whether it is alive (for a container's health check)",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, p := decodeServe(o.sources())
			_, port, err := net.SplitHostPort(c.Listen)
			p.require(err == nil, "listen: %q is not host:port", c.Listen)
			if err := p.err(); err != nil {
				return err
			}
			return health(cmd.Context(), "http://"+net.JoinHostPort("127.0.0.1", port)+"/healthz")
		},
	}
	cmd.Flags().StringVar(&o.listen, "listen", "", "address the router listens on")
	return cmd
}

func health(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnhealthy, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s answered %s", errUnhealthy, url, resp.Status)
	}
	return nil
}
