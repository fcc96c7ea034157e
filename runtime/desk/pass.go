package desk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"plantao/runtime/chatwoot"
	"plantao/runtime/conversation"
)

const (
	// settled is how old a message is when none with a smaller number can appear any more: Chatwoot ends its requests after 15 s.
	settled = 20 * time.Second
	// speechWithin is how long a human's message is tried to be sent before the agent is told that it failed.
	speechWithin = 15 * time.Minute
	// attachmentTries is how often an attachment is asked for before its message is failed.
	attachmentTries = 5
	// markName is the attribute by which a conversation made here is found again.
	markName = "plantao_conversation"
)

// pass is one look at one conversation.
type pass struct {
	d     *Desk
	s     conversation.Shown
	a     chatwoot.Access
	log   *slog.Logger
	began time.Time
	until time.Time // calls end then: the lease may not last longer
	there chatwoot.Conversation
	step  string        // for the log
	later time.Duration // look again then
	ours  bool          // the error is the store's
}

func (p *pass) trust(from time.Time) { p.until = from.Add(p.d.c.Lease * 2 / 3) }

// within bounds a call by the lease.
func (p *pass) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadline(ctx, p.until)
}

// save commits what this step found out, and begins the lease anew.
func (p *pass) save(ctx context.Context) error {
	now := time.Now()
	err := p.d.c.Store.SaveShown(ctx, p.s, p.d.c.Lease)
	if err == nil {
		p.trust(now)
	}
	return p.store(err)
}

// store marks an error as the store's own.
func (p *pass) store(err error) error {
	p.ours = err != nil
	return err
}

func (p *pass) run(ctx context.Context) error {
	var err error
	if p.a, _, err = p.d.access(ctx, p.s.Channel); err != nil {
		return p.store(err)
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"find", p.find}, {"read", p.read}, {"compare", p.compare}, {"retry", p.retry}, {"show", p.show}, {"state", p.state}, {"fates", p.fates},
	} {
		p.step = step.name
		err := step.do(ctx)
		if chatwoot.Status(err) == http.StatusNotFound && p.s.Display != 0 && step.name != "find" {
			return p.forget(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forget begins anew: somebody deleted the conversation there, or its contact with it.
func (p *pass) forget(ctx context.Context) error {
	p.log.WarnContext(ctx, "a conversation was deleted in chatwoot; it is made anew", "display", p.s.Display)
	p.s.ContactID, p.s.SourceID, p.s.Display, p.s.DeskState, p.s.Next, p.s.LastMessage, p.s.Posting = 0, "", 0, conversation.DeskState{}, nil, 0, ""
	if err := p.save(ctx); err != nil {
		return err
	}
	return &pauseError{after: time.Millisecond, reason: "deleted_in_chatwoot"}
}

// find makes sure that contact and conversation are there, and reads the conversation.
func (p *pass) find(ctx context.Context) error {
	ctx, cancel := p.within(ctx)
	defer cancel()
	if p.s.ContactID == 0 {
		if err := p.contact(ctx); err != nil {
			return err
		}
	}
	if p.s.Display == 0 {
		if err := p.conversation(ctx); err != nil {
			return err
		}
	}
	there, err := p.d.c.Client.Conversation(ctx, p.a, p.s.Display)
	if chatwoot.Status(err) == http.StatusNotFound {
		return p.forget(ctx)
	}
	p.there = there
	if err != nil || slices.Equal(p.s.Labels, there.Labels) {
		return err
	}
	p.s.Labels = there.Labels
	return p.save(ctx)
}

// contact finds the customer by identifier or phone, or makes them. The answer of a create that was lost is found by the next look.
func (p *pass) contact(ctx context.Context) error {
	who, err := p.search(ctx)
	if err != nil {
		return err
	}
	if who.ID == 0 {
		name := p.s.Contact.Name
		fresh := chatwoot.Contact{Name: name, Identifier: p.s.Contact.JID, Phone: p.phone()}
		if name == "" {
			fresh.Name = fresh.Phone
		}
		who, err = p.d.c.Client.CreateContact(ctx, p.a, fresh, p.s.Contact.JID)
		if chatwoot.Status(err) == http.StatusUnprocessableEntity {
			// Somebody made them meanwhile, or the number is none in Chatwoot's eyes.
			if who, err = p.search(ctx); err == nil && who.ID == 0 {
				fresh.Phone = ""
				who, err = p.d.c.Client.CreateContact(ctx, p.a, fresh, p.s.Contact.JID)
			}
		}
		if err != nil {
			return fmt.Errorf("make contact: %w", err)
		}
	} else if err := p.complete(ctx, who); err != nil {
		return err
	}
	source, err := p.link(ctx, who)
	if err != nil {
		return err
	}
	p.s.ContactID, p.s.SourceID = who.ID, source
	return p.save(ctx)
}

// phone is the number a contact is made with: the one the chat is named by, else the longest known.
func (p *pass) phone() string {
	digits, _, _ := strings.Cut(p.s.Contact.JID, "@")
	if slices.Contains(p.s.Phones, digits) {
		return "+" + digits
	}
	longest := ""
	for _, n := range p.s.Phones {
		if len(n) > len(longest) {
			longest = n
		}
	}
	if longest == "" {
		return ""
	}
	return "+" + longest
}

func (p *pass) search(ctx context.Context) (chatwoot.Contact, error) {
	texts := append([]string{p.s.Contact.JID}, p.s.Phones...)
	for i, text := range texts {
		found, err := p.d.c.Client.SearchContacts(ctx, p.a, text)
		if err != nil {
			return chatwoot.Contact{}, fmt.Errorf("search contact: %w", err)
		}
		for _, c := range found {
			if i == 0 && c.Identifier == text || i > 0 && c.Phone == "+"+text {
				return c, nil
			}
		}
	}
	return chatwoot.Contact{}, nil
}

// complete fills in what the contact lacks. What people wrote stays.
func (p *pass) complete(ctx context.Context, who chatwoot.Contact) error {
	fields := map[string]any{}
	if who.Identifier == "" {
		fields["identifier"] = p.s.Contact.JID
	}
	if phone := p.phone(); who.Phone == "" && phone != "" {
		fields["phone_number"] = phone
	}
	if (who.Name == "" || who.Name == who.Phone) && p.s.Contact.Name != "" {
		fields["name"] = p.s.Contact.Name
	}
	if len(fields) == 0 {
		return nil
	}
	err := p.d.c.Client.UpdateContact(ctx, p.a, who.ID, fields)
	if chatwoot.Status(err) == http.StatusUnprocessableEntity {
		p.log.WarnContext(ctx, "a contact in chatwoot lacks something that another one has", "contact", who.ID)
		return nil
	}
	return err
}

// link makes sure that the contact has an entry in the inbox.
func (p *pass) link(ctx context.Context, who chatwoot.Contact) (string, error) {
	for _, in := range who.Inboxes {
		if in.Inbox.ID == p.a.Inbox {
			return in.SourceID, nil
		}
	}
	source := p.s.Contact.JID
	err := p.d.c.Client.AddToInbox(ctx, p.a, who.ID, source)
	if chatwoot.Status(err) == http.StatusUnprocessableEntity {
		// Another contact has it: people took the number off them, say.
		source = fmt.Sprintf("%s#%d", source, who.ID)
		err = p.d.c.Client.AddToInbox(ctx, p.a, who.ID, source)
	}
	if err != nil {
		return "", fmt.Errorf("add contact to inbox: %w", err)
	}
	return source, nil
}

// conversation finds the one marked as this, or makes it.
func (p *pass) conversation(ctx context.Context) error {
	list, err := p.d.c.Client.ContactConversations(ctx, p.a, p.s.ContactID)
	if chatwoot.Status(err) == http.StatusNotFound {
		return p.forget(ctx)
	}
	if err != nil {
		return fmt.Errorf("list contact's conversations: %w", err)
	}
	mark := p.s.Conversation.String()
	found := slices.IndexFunc(list, func(c chatwoot.Conversation) bool { return c.InboxID == p.a.Inbox && c.Additional[markName] == mark })
	if found >= 0 {
		p.s.Display = list[found].ID
	} else {
		made, err := p.d.c.Client.CreateConversation(ctx, p.a, p.s.ContactID, p.s.SourceID, map[string]any{markName: mark})
		if err != nil {
			return fmt.Errorf("make conversation: %w", err)
		}
		p.s.Display = made.ID
	}
	// What a connected bot's inbox begins with. That it is another already is people's doing.
	p.s.DeskState = conversation.DeskState{Status: pending}
	return p.save(ctx)
}

// Statuses of a conversation in Chatwoot.
const (
	open     = "open"
	pending  = "pending"
	resolved = "resolved"
	snoozed  = "snoozed"
)

// read takes in what was written there since the last look.
func (p *pass) read(ctx context.Context) error {
	after := p.s.LastMessage
	for {
		calling, cancel := p.within(ctx)
		page, err := p.d.c.Client.Messages(calling, p.a, p.s.Display, after)
		cancel()
		if err != nil {
			return fmt.Errorf("list messages: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		slices.SortFunc(page, func(a, b chatwoot.Message) int { return int(a.ID - b.ID) })
		after = page[len(page)-1].ID
		if err := p.readPage(ctx, page); err != nil {
			return err
		}
	}
}

func (p *pass) readPage(ctx context.Context, page []chatwoot.Message) error {
	echoes, words := map[string]int64{}, []chatwoot.Message(nil)
	var sources []string
	for _, m := range page {
		switch {
		case strings.HasPrefix(m.SourceID, chatwoot.SourcePrefix):
			echoes[m.SourceID] = m.ID
			p.noted(m.SourceID)
			if p.s.Posting == m.SourceID {
				p.s.Posting = ""
				p.d.c.Observer.DeskShowed("found")
			}
		case m.Attributes["external_error"] == p.d.words.unfetched: // given up before
		case m.Type == chatwoot.Outgoing && !m.Private && m.Sender != nil && m.Sender.Type == "user" && !m.Deleted():
			words = append(words, m)
			sources = append(sources, p.source(m.ID))
		}
	}
	if err := p.d.c.Store.Echoed(ctx, p.s, echoes); err != nil {
		return p.store(err)
	}
	heard, err := p.d.c.Store.Heard(ctx, p.s.Tenant, sources)
	if err != nil {
		return p.store(err)
	}
	for i, m := range words {
		if heard[sources[i]] {
			continue
		}
		if err := p.hear(ctx, m, sources[i]); err != nil {
			return err
		}
	}
	before := p.s.LastMessage
	for _, m := range page {
		// A smaller number may be committed after a larger one: only what is old enough is left behind.
		if time.Since(time.Unix(m.CreatedAt, 0)) < settled {
			break
		}
		p.s.LastMessage = max(p.s.LastMessage, m.ID)
	}
	if p.s.LastMessage == before && len(echoes) == 0 {
		return nil
	}
	return p.save(ctx)
}

func (p *pass) source(message int64) string {
	return fmt.Sprintf("chatwoot:%d:%d", p.a.Account, message)
}

// hear makes a human's message theirs to answer for, and has it said.
func (p *pass) hear(ctx context.Context, m chatwoot.Message, source string) error {
	parts, err := p.parts(ctx, m)
	if err != nil {
		return err
	}
	user := strconv.FormatInt(m.Sender.ID, 10)
	if err := p.take(ctx, user, source, "wrote_in_chatwoot"); err != nil {
		return err
	}
	if len(parts) == 0 {
		return nil
	}
	if m.Status == failed {
		// Its webhook did not get through, which Chatwoot takes for the message's failure.
		if err := p.tell(ctx, m.ID, "sent", ""); err != nil {
			return err
		}
	}
	return p.say(ctx, conversation.Owner{Kind: conversation.OwnedByHuman, ID: user}.String(), source, parts)
}

// take makes the conversation a human's. One who was offered it accepts it thereby.
func (p *pass) take(ctx context.Context, user, key, reason string) error {
	c, err := p.d.c.Store.Find(ctx, p.s.Tenant, p.s.Conversation)
	if err != nil {
		return p.store(err)
	}
	if offered(c, user) {
		_, err := p.do(ctx, conversation.Command{
			Verb: conversation.VerbAccept, Actor: conversation.Actor{Kind: conversation.ActorHuman, ID: user}, IfEpoch: c.Epoch,
			Offer: c.Offer.ID, Wait: p.d.c.Silence, Key: key + "/accept", Reason: reason,
		})
		if !refused(err) {
			return err
		}
		p.ours = false // the offer is gone: a human takes it all the same
	}
	_, err = p.do(ctx, conversation.Command{
		Verb: conversation.VerbTake, Actor: conversation.Actor{Kind: conversation.ActorHuman, ID: user}, IfEpoch: conversation.AnyEpoch,
		Wait: p.d.c.Silence, Key: key, Reason: reason,
	})
	return err
}

// offered says whether the conversation is offered to this user.
func offered(c conversation.Conversation, user string) bool {
	return c.Offer != nil && c.Offer.To == conversation.Owner{Kind: conversation.OwnedByHuman, ID: user}
}

// refused says that a verb was refused for how the conversation stands by now.
func refused(err error) bool {
	var r *conversation.RefusedError
	return errors.As(err, &r)
}

// do carries out what people did there. A key that was used for something else by now was used.
func (p *pass) do(ctx context.Context, c conversation.Command) (conversation.Result, error) {
	c.Tenant, c.Conversation = p.s.Tenant, p.s.Conversation
	r, err := p.d.c.Store.Do(ctx, c)
	switch {
	case errors.Is(err, conversation.ErrKeyReused):
		return r, nil
	case err != nil:
		return r, p.store(err)
	case !r.Replayed:
		p.log.InfoContext(ctx, "people acted in chatwoot", "verb", c.Verb, "reason", c.Reason, "owner", r.Conversation.Owner, "epoch", r.Conversation.Epoch)
		p.d.c.Observer.DeskHeard(string(c.Verb))
		p.d.c.Changed()
	}
	return r, nil
}

func (p *pass) say(ctx context.Context, by, source string, parts []conversation.Part) error {
	_, first, err := p.d.c.Store.Say(ctx, conversation.Said{
		Tenant: p.s.Tenant, Conversation: p.s.Conversation, Kind: conversation.SaidByHuman, By: by, Source: source, Parts: parts, Within: speechWithin,
	})
	if err != nil {
		return p.store(err)
	}
	if first {
		p.d.c.Observer.DeskHeard("said")
		p.d.c.Spoke()
	}
	return nil
}

// parts are what a message becomes on WhatsApp: its text with the first attachment, then the other attachments. None: it says
// nothing, or cannot be said, which whoever wrote it is told.
func (p *pass) parts(ctx context.Context, m chatwoot.Message) ([]conversation.Part, error) {
	text := strings.TrimSpace(m.Content)
	if len(m.Attachments) == 0 {
		if text == "" {
			return nil, nil
		}
		return []conversation.Part{{Text: text}}, nil
	}
	var parts []conversation.Part
	for _, at := range m.Attachments {
		calling, cancel := p.within(ctx)
		file, err := p.d.c.Client.Download(calling, at.DataURL, p.d.c.MaxMediaBytes)
		cancel()
		if err != nil {
			return nil, p.unfetched(ctx, m, err)
		}
		id, err := p.d.c.Store.PutMedia(ctx, p.s.Tenant, p.s.Conversation, conversation.Content{Mimetype: file.Mimetype, FileName: file.Name, Bytes: file.Content})
		if err != nil {
			return nil, p.store(err)
		}
		parts = append(parts, conversation.Part{Text: text, Media: &conversation.PartMedia{ID: id, Kind: mediaKind(at.FileType)}})
		text = ""
	}
	return parts, nil
}

// unfetched gives an attachment up that is not to be had, and says so on its message.
func (p *pass) unfetched(ctx context.Context, m chatwoot.Message, err error) error {
	final := errors.Is(err, chatwoot.ErrForeign) || errors.Is(err, chatwoot.ErrTooLarge) || p.s.Attempts+1 >= attachmentTries
	if code := chatwoot.Status(err); code >= 400 && code < 500 {
		final = true
	}
	if !final {
		return err
	}
	p.log.WarnContext(ctx, "an attachment could not be fetched from chatwoot; its message is not sent", "message", m.ID, "err", err)
	return p.tell(ctx, m.ID, failed, p.d.words.unfetched)
}

func mediaKind(fileType string) conversation.MediaKind {
	switch fileType {
	case "image":
		return conversation.MediaImage
	case "audio":
		return conversation.MediaAudio
	case "video":
		return conversation.MediaVideo
	}
	return conversation.MediaDocument
}
