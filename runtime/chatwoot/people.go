package chatwoot

import (
	"context"
	"net/http"
)

// Agent is a user of the account.
type Agent struct {
	ID    int64  `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
	Role  string `json:"role"`
	// Availability is online, busy or offline: what the user chose, and offline without an open browser for a minute.
	Availability string `json:"availability_status"`
}

// Team is a team of the account. Its name is in small letters.
type Team struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// Agents lists the account's users.
func (c *Client) Agents(ctx context.Context, a Access) (list []Agent, err error) {
	_, err = c.user(a).call(ctx, http.MethodGet, a.path("/agents"), nil, nil, &list)
	return list, err
}

// Teams lists the account's teams.
func (c *Client) Teams(ctx context.Context, a Access) (list []Team, err error) {
	_, err = c.user(a).call(ctx, http.MethodGet, a.path("/teams"), nil, nil, &list)
	return list, err
}

// TeamMembers lists a team's users.
func (c *Client) TeamMembers(ctx context.Context, a Access, team int64) (list []Agent, err error) {
	_, err = c.user(a).call(ctx, http.MethodGet, a.path("/teams/%d/team_members", team), nil, nil, &list)
	return list, err
}
