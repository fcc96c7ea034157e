package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"plantao/cmd/plantao/text"
	"plantao/runtime/api"
	"plantao/runtime/client"
	"plantao/runtime/conversation"
)

// conflicts are refusals because the conversation stands elsewhere, or somebody else has what is needed: exit code 11.
var conflicts = []struct {
	err error
	why text.Key
}{
	{conversation.ErrStaleEpoch, text.ConflictStale},
	{conversation.ErrWrongState, text.ConflictState},
	{conversation.ErrNotOwner, text.ConflictOwner},
	{conversation.ErrAtCapacity, text.ConflictCapacity},
	{conversation.ErrTurnClosed, text.ConflictTurn},
	{conversation.ErrSenderAlive, text.ConflictSender},
	{conversation.ErrMerged, text.ConflictMerged},
	{conversation.ErrHumanOnDuty, text.ConflictHuman},
}

// explain turns an answer of the router into a sentence that says what to do. Whatever else failed stays as it is.
func (r *router) explain(id string, err error) error {
	var (
		told    *text.Error
		refused *client.Error
	)
	if errors.As(err, &told) || !errors.As(err, &refused) {
		return err // said already, or no answer at all
	}
	for _, c := range conflicts {
		if errors.Is(err, c.err) {
			return failure{errHeld, r.conflict(id, c.why, refused.Body)}
		}
	}
	switch {
	case errors.Is(err, conversation.ErrNotFound):
		return notFound(text.ConversationMissing, id, r.opts.suffix())
	case errors.Is(err, conversation.ErrUnknownChannel):
		return notFound(text.ChannelMissing, id, r.opts.suffix())
	case errors.Is(err, conversation.ErrNoRules):
		return r.noRules(id)
	case errors.Is(err, conversation.ErrBadToken):
		return r.badToken()
	case errors.Is(err, conversation.ErrScope):
		return text.Because(refused, text.TokenScope, makeToken(r.opts.Stack))
	case errors.Is(err, conversation.ErrNoAgent):
		return text.Fail(text.HandbackNoAgent, id)
	case errors.Is(err, conversation.ErrTooMany):
		return text.Fail(text.RouterBusy)
	case errors.Is(err, conversation.ErrInvalid), refused.Status == http.StatusUnprocessableEntity:
		return failure{errUsage, text.Because(errors.New(details(refused.Body)), text.RequestRefused)}
	}
	return text.Because(refused, text.RouterFailed, r.opts.suffix())
}

// conflict says why, and who has the conversation now.
func (r *router) conflict(id string, why text.Key, body api.Error) error {
	said := text.New(why)
	if len(body.Details) > 0 {
		said = text.New(text.ConflictDetail, said, details(body))
	}
	if body.Now == nil {
		return text.Fail(text.Conflict, said, id, r.opts.suffix())
	}
	if body.Now.MergedInto != "" {
		return text.Fail(text.Conflict, said, printable(body.Now.MergedInto), r.opts.suffix())
	}
	now := text.New(text.ConflictNow, r.program.ownerWord(body.Now.Owner), r.program.stateWord(body.Now.State), body.Now.Epoch)
	return text.Fail(text.ConflictWith, said, now, id, r.opts.suffix())
}

// details is what the router says is wrong, or at least its message.
func details(body api.Error) string {
	if len(body.Details) == 0 {
		return printable(body.Message)
	}
	return printable(strings.Join(body.Details, "; "))
}

func (r *router) badToken() error {
	if r.tokenFrom == "" {
		return text.Fail(text.TokenRefusedStack, r.opts.Stack, routerTokenEnv, makeToken(r.opts.Stack))
	}
	return text.Fail(text.TokenRefused, r.tokenFrom, makeToken(r.opts.Stack))
}

// makeToken is the command that makes a token for an operator.
func makeToken(stack string) string {
	return fmt.Sprintf("docker exec plantao-%s-router-1 /router token create --config /run/plantao/router.yaml --name ana --agent operator:ana --scope conversation:read,conversation:operate", stack)
}
