package conversation

import (
	"context"
	"time"
)

// Person is a human as the desk knows them.
type Person struct {
	ID, Name, Email string
	Presence        Presence
	Teams           []string
}

// People keeps the humans and teams that the desk has.
type People interface {
	// PutPeople writes humans with their presence, which is believed for as long as wait, and who is in which team. teams are all there
	// are: those that are not among them, and members who are not, are forgotten. A human who is gone stays known, in no team.
	PutPeople(ctx context.Context, tenant string, teams []string, list []Person, wait time.Duration) error
}
