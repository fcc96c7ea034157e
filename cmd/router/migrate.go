package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"plantao/runtime/postgres"
)

func migrateCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "migrate", Short: "Bring the database to this binary's schema version", Args: cobra.NoArgs,
		Long: "Bring the database to this binary's schema version. Safe to run at any time and twice at once: an\n" +
			"advisory lock makes the second wait, and it then finds nothing to do.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadMigrate(o.sources())
			if err != nil {
				return err
			}
			applied, err := postgres.Migrate(cmd.Context(), c.Database.postgres("router-migrate"))
			for _, name := range applied {
				fmt.Fprintln(o.stdout, "applied", name)
			}
			if err != nil {
				return err
			}
			if len(applied) == 0 {
				fmt.Fprintln(o.stdout, "nothing to do: the schema is current")
			}
			return nil
		},
	}
}

func (c databaseConfig) postgres(app string) postgres.Config {
	return postgres.Config{URL: c.URL, Password: c.Password.Reveal(), MaxConns: c.MaxConns, AppName: app}
}
