package desk

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"plantao/runtime/chatwoot"
	"plantao/runtime/conversation"
)

const (
	// showAtOnce is how much is read at once of what is to be shown.
	showAtOnce = 50
	// mediaWait is how long an attachment's content is waited for before its message is shown without; what follows waits with it.
	mediaWait = 30 * time.Second
	// fromMeWait is how long a message on the channel's own side may turn out to be an echo of ours.
	fromMeWait = 2 * time.Minute
	// between is how soon to look again at what is waited for.
	between = 2 * time.Second
	// ratePause is how long nothing is posted into a conversation that has had its 200 messages of a minute.
	ratePause = 20 * time.Second
	// maxContent is Chatwoot's bound on a message, in characters.
	maxContent = 150_000
)

// show posts what Chatwoot does not have, one after the other.
func (p *pass) show(ctx context.Context) error {
	c, err := p.d.c.Store.Find(ctx, p.s.Tenant, p.s.Conversation)
	if err != nil {
		return p.store(err)
	}
	terms := conversation.ShowTerms{Limit: showAtOnce, Media: mediaWait, FromMe: fromMeWait, Between: between}
	for {
		list, later, err := p.d.c.Store.ToShow(ctx, p.s, c.Version, terms)
		if err != nil {
			return p.store(err)
		}
		for _, x := range list {
			if err := p.post(ctx, x); err != nil {
				return err
			}
		}
		if len(list) < showAtOnce {
			p.later = later
			if later > 0 || p.s.Noted >= c.Version {
				return nil
			}
			p.s.Noted = c.Version
			return p.save(ctx)
		}
	}
}

// noted moves the mark of handovers that are shown.
func (p *pass) noted(source string) bool {
	rest, ok := strings.CutPrefix(source, chatwoot.SourcePrefix+"note:")
	if _, seq, found := strings.Cut(rest, "/"); ok && found {
		n, err := strconv.ParseInt(seq, 10, 64)
		if err == nil {
			p.s.Noted = max(p.s.Noted, n)
		}
	}
	return ok
}

// post shows one thing: intended, made, noted.
func (p *pass) post(ctx context.Context, x conversation.ToShow) error {
	if p.s.Posting == x.Source {
		// It was about to be posted before, and read did not find it. Chatwoot may still be at it.
		if left := p.d.c.Unsure - p.s.PostingAge - time.Since(p.began); left > 0 {
			return &pauseError{after: left, reason: "post_unsure"}
		}
	}
	m, err := p.message(ctx, x)
	if err != nil {
		return err
	}
	p.s.Posting = x.Source
	if err := p.save(ctx); err != nil {
		return err
	}
	calling, cancel := p.within(ctx)
	id, err := p.d.c.Client.Post(calling, p.a, p.s.Display, m)
	cancel()
	switch code := chatwoot.Status(err); {
	case err == nil:
		return p.posted(ctx, x, m, id)
	case code == http.StatusNotFound || chatwoot.Unsure(err):
		return fmt.Errorf("post: %w", err)
	case code == http.StatusUnprocessableEntity && tooMany(err):
		p.s.Posting = ""
		if err := p.save(ctx); err != nil {
			return err
		}
		return &pauseError{after: ratePause, reason: "too_many_messages"}
	case code == 0 || code == http.StatusUnauthorized || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		p.s.Posting = ""
		if saveErr := p.save(ctx); saveErr != nil {
			return saveErr
		}
		return fmt.Errorf("post: %w", err)
	}
	p.log.ErrorContext(ctx, "chatwoot refuses a message for good; it is not shown, the rest goes on", "source", x.Source, "err", err)
	return p.posted(ctx, x, m, 0)
}

// posted notes what became of it. An id of zero: it will never be shown.
func (p *pass) posted(ctx context.Context, x conversation.ToShow, m chatwoot.NewMessage, id int64) error {
	p.s.Posting = ""
	outcome := "posted"
	if id == 0 {
		outcome = "refused"
	}
	p.d.c.Observer.DeskShowed(outcome)
	changed := p.noted(x.Source)
	if !changed {
		if err := p.d.c.Store.Posted(ctx, p.s, x.Source, id); err != nil {
			return p.store(err)
		}
	}
	if m.Incoming && id > 0 {
		// A customer's message wakes a conversation up: that is nobody's doing.
		woken := map[string]string{resolved: pending, snoozed: open}[p.s.Status]
		if woken != "" {
			p.s.Status, changed = woken, true
		}
	}
	if !changed {
		return nil
	}
	return p.save(ctx)
}

// tooMany: Chatwoot's rate limit has the status of a message it will never take, and no code of its own (app/models/message.rb,
// prevent_message_flooding: the text is a constant, not translated).
func tooMany(err error) bool { return strings.Contains(err.Error(), "Too many messages") }

// message is what a thing to be shown looks like.
func (p *pass) message(ctx context.Context, x conversation.ToShow) (chatwoot.NewMessage, error) {
	w := p.d.words
	m := chatwoot.NewMessage{Content: x.Text, SourceID: x.Source}
	switch {
	case x.Note != nil:
		m.Content, m.Private = p.note(*x.Note), true
		return m, nil
	case x.Broken != nil:
		m.Content, m.Private = fmt.Sprintf(w.broken[x.Broken.Kind], x.Broken.Name), true
		return m, nil
	case x.Kind == conversation.KindEdit:
		m.Content, m.Private = fmt.Sprintf(w.edited, x.Text), true
		return m, nil
	case x.Kind == conversation.KindRevoke:
		m.Content, m.Private = w.revoked, true
		return m, nil
	case x.Part && x.Unsent:
		m.Content, m.Private = fmt.Sprintf(w.unsent, x.Text), true
	case x.Part:
	case x.FromMe:
		m.AsUser, m.SentAt = true, x.SentAt
	default:
		m.Incoming = true
		if x.Type == "reaction" {
			m.Content = fmt.Sprintf(w.reaction, x.Text)
			if x.Text == "" {
				m.Content = w.unreaction
			}
		}
	}
	if x.MediaID != 0 {
		content, err := p.d.c.Store.Media(ctx, p.s.Tenant, x.MediaID)
		if err != nil {
			return m, p.store(err)
		}
		m.Files = []chatwoot.File{{Name: fileName(content), Mimetype: content.Mimetype, Content: content.Bytes}}
	} else if x.Media != nil {
		m.Content = strings.TrimSpace(m.Content + "\n" + fmt.Sprintf(w.missing, x.Type))
	}
	if m.Content == "" && len(m.Files) == 0 {
		m.Content = fmt.Sprintf(w.silent, x.Type)
	}
	if runes := []rune(m.Content); len(runes) > maxContent {
		m.Content = string(runes[:maxContent])
	}
	return m, nil
}

func fileName(c conversation.Content) string {
	if c.FileName != "" {
		return c.FileName
	}
	kind, sub, _ := strings.Cut(c.Mimetype, "/")
	sub, _, _ = strings.Cut(sub, ";")
	if kind == "" || sub == "" {
		return "file"
	}
	return kind + "." + sub
}

// note says who has the conversation now, by whom and why, and what the one before wanted the next to know.
func (p *pass) note(n conversation.HandoverNote) string {
	w := p.d.words
	if n.Verb == conversation.VerbOffer {
		return w.offer(n)
	}
	verb := w.verbs[n.Verb]
	if verb == "" {
		verb = string(n.Verb)
	}
	text := fmt.Sprintf(w.handover, verb, w.name(n.Owner), w.name(n.Actor))
	if n.Reason != "" {
		text += "\n" + fmt.Sprintf(w.reason, n.Reason)
	}
	var said map[string]any
	if json.Unmarshal(n.Context, &said) == nil && len(said) > 0 {
		pretty, err := json.MarshalIndent(said, "", "  ")
		if err == nil {
			text += "\n" + fmt.Sprintf(w.context, pretty)
		}
	}
	return text
}
