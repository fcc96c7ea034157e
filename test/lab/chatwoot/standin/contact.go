package standin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const contactsPerPage = 15

var (
	e164       = regexp.MustCompile(`^\+[1-9]\d{1,14}$`)
	emailShape = regexp.MustCompile(`^[^@\s]+@[^@\s]+$`)
)

func (c contact) json() map[string]any {
	out := map[string]any{
		"availability_status": "offline", "email": c.Email, "id": c.ID, "name": c.Name, "phone_number": c.PhoneNumber, "blocked": c.Blocked,
		"identifier": c.Identifier, "thumbnail": "", "custom_attributes": c.CustomAttributes, "additional_attributes": c.AdditionalAttributes,
		"created_at": c.CreatedAt.Unix(),
	}
	if c.LastActivityAt != nil {
		out["last_activity_at"] = c.LastActivityAt.Unix()
	}
	return out
}

func contactPush(c contact) map[string]any {
	return map[string]any{"additional_attributes": c.AdditionalAttributes, "custom_attributes": c.CustomAttributes, "email": c.Email,
		"id": c.ID, "identifier": c.Identifier, "name": c.Name, "phone_number": c.PhoneNumber, "thumbnail": "", "blocked": c.Blocked, "type": "contact"}
}

// contactWebhookData has no type, unlike users and bots.
func (a *App) contactWebhookData(ctx context.Context, c contact) (map[string]any, error) {
	account, err := accountData(ctx, a.db, c.AccountID)
	if err != nil {
		return nil, err
	}
	return map[string]any{"account": account, "additional_attributes": c.AdditionalAttributes, "avatar": "", "custom_attributes": c.CustomAttributes,
		"email": c.Email, "id": c.ID, "identifier": c.Identifier, "name": c.Name, "phone_number": c.PhoneNumber, "thumbnail": "", "blocked": c.Blocked}, nil
}

func (l contactInbox) json() map[string]any {
	return map[string]any{"id": l.ID, "contact_id": l.ContactID, "inbox_id": l.InboxID, "source_id": l.SourceID, "hmac_verified": l.HMACVerified,
		"pubsub_token": l.PubsubToken, "created_at": isoTime(l.CreatedAt), "updated_at": isoTime(l.UpdatedAt)}
}

// withInboxes is the contact with its source ids.
func (c *call) withInboxes(ctx context.Context, who contact) (map[string]any, error) {
	links, err := collect[contactInbox](ctx, c.app.db, `SELECT * FROM contact_inboxes WHERE contact_id = $1 ORDER BY id`, who.ID)
	if err != nil {
		return nil, err
	}
	list := make([]any, len(links))
	for i, l := range links {
		if list[i], err = c.linkJSON(ctx, l); err != nil {
			return nil, err
		}
	}
	out := who.json()
	out["contact_inboxes"] = list
	return out, nil
}

func (c *call) linkJSON(ctx context.Context, l contactInbox) (map[string]any, error) {
	in, err := findInbox(ctx, c.app.db, l.InboxID)
	if err != nil {
		return nil, err
	}
	return map[string]any{"source_id": l.SourceID, "inbox": map[string]any{"id": in.ID, "avatar_url": "", "channel_id": in.ChannelID,
		"name": in.Name, "channel_type": channelAPI, "provider": nil}}, nil
}

func (c *call) findContact(ctx context.Context, id int64) (contact, error) {
	return one[contact](ctx, c.app.db, `SELECT * FROM contacts WHERE account_id = $1 AND id = $2`, c.account, id)
}

// fillContact takes over the given parameters; attributes are merged, not replaced.
func (c *call) fillContact(who *contact) error {
	if c.has("name") {
		who.Name = c.text("name")
	}
	if c.has("email") {
		who.Email = c.optional("email")
		if who.Email != nil {
			lower := strings.ToLower(*who.Email)
			who.Email = &lower
			if !emailShape.MatchString(lower) {
				return invalid("email", "Email Invalid email")
			}
		}
	}
	if c.has("phone_number") {
		who.PhoneNumber = c.optional("phone_number")
		if who.PhoneNumber != nil && !e164.MatchString(*who.PhoneNumber) {
			return invalid("phone_number", "Phone number should be in e164 format")
		}
	}
	if c.has("identifier") {
		who.Identifier = c.optional("identifier")
	}
	who.Blocked = c.flag("blocked", who.Blocked)
	who.CustomAttributes = merged(who.CustomAttributes, c.attributes("custom_attributes"))
	who.AdditionalAttributes = merged(who.AdditionalAttributes, c.attributes("additional_attributes"))
	return nil
}

func merged(old attributes, given attributes) attributes {
	out := maps.Clone(old)
	if out == nil {
		out = attributes{}
	}
	maps.Copy(out, given)
	return out
}

// contactSaved names the attribute whose unique index refused.
func contactSaved(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23505" {
		switch pg.ConstraintName {
		case "uniq_email_per_account_contact":
			return invalid("email", "Email has already been taken")
		case "uniq_phone_per_account_contact":
			return invalid("phone_number", "Phone number has already been taken")
		case "uniq_identifier_per_account_contact":
			return invalid("identifier", "Identifier has already been taken")
		}
	}
	if err != nil {
		return fmt.Errorf("save contact: %w", err)
	}
	return nil
}

func createContact(ctx context.Context, c *call) (any, error) {
	who := contact{AccountID: c.account}
	if err := c.fillContact(&who); err != nil {
		return nil, err
	}
	var link *contactInbox
	err := c.app.inTx(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `INSERT INTO contacts (account_id, name, email, phone_number, identifier, blocked, custom_attributes, additional_attributes)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id, created_at`, c.account, who.Name, who.Email, who.PhoneNumber, who.Identifier,
			who.Blocked, who.CustomAttributes, who.AdditionalAttributes).Scan(&who.ID, &who.CreatedAt)
		if err := contactSaved(err); err != nil {
			return err
		}
		if !c.has("inbox_id") || c.number("inbox_id") == 0 {
			return nil
		}
		in, err := c.findInbox(ctx, c.number("inbox_id"))
		if err != nil {
			return err
		}
		got, err := linkContact(ctx, tx, who.ID, in.ID, c.text("source_id"))
		link = &got
		return err
	})
	if err != nil {
		return nil, err
	}
	c.app.emit(ctx, event{Name: "contact_created", ContactID: who.ID})
	full, err := c.withInboxes(ctx, who)
	if err != nil {
		return nil, err
	}
	linkBody := map[string]any{"inbox": nil, "source_id": nil}
	if link != nil {
		if linkBody, err = c.linkJSON(ctx, *link); err != nil {
			return nil, err
		}
	}
	return map[string]any{"payload": map[string]any{"contact": full, "contact_inbox": linkBody}}, nil
}

// linkContact finds or makes the contact's entry in an inbox; another contact's source id is refused.
func linkContact(ctx context.Context, q querier, contactID, inboxID int64, source string) (contactInbox, error) {
	if source == "" {
		source = uuid.NewString()
	}
	_, err := q.Exec(ctx, `INSERT INTO contact_inboxes (contact_id, inbox_id, source_id, pubsub_token) VALUES ($1, $2, $3, $4)
		ON CONFLICT (inbox_id, source_id) DO NOTHING`, contactID, inboxID, source, token())
	if err != nil {
		return contactInbox{}, fmt.Errorf("create contact inbox: %w", err)
	}
	link, err := one[contactInbox](ctx, q, `SELECT * FROM contact_inboxes WHERE inbox_id = $1 AND source_id = $2`, inboxID, source)
	if err != nil {
		return contactInbox{}, err
	}
	if link.ContactID != contactID {
		return contactInbox{}, unprocessable("source_id should be unique")
	}
	return link, nil
}

func createContactInbox(ctx context.Context, c *call) (any, error) {
	who, err := c.findContact(ctx, c.id("id"))
	if err != nil {
		return nil, err
	}
	in, err := c.findInbox(ctx, c.number("inbox_id"))
	if err != nil {
		return nil, err
	}
	link, err := linkContact(ctx, c.app.db, who.ID, in.ID, c.text("source_id"))
	if err != nil {
		return nil, err
	}
	return c.linkJSON(ctx, link)
}

func showContact(ctx context.Context, c *call) (any, error) {
	who, err := c.findContact(ctx, c.id("id"))
	if err != nil {
		return nil, err
	}
	body, err := c.withInboxes(ctx, who)
	return map[string]any{"payload": body}, err
}

func updateContact(ctx context.Context, c *call) (any, error) {
	who, err := c.findContact(ctx, c.id("id"))
	if err != nil {
		return nil, err
	}
	before := who
	if err := c.fillContact(&who); err != nil {
		return nil, err
	}
	_, err = c.app.db.Exec(ctx, `UPDATE contacts SET name = $2, email = $3, phone_number = $4, identifier = $5, blocked = $6, custom_attributes = $7,
		additional_attributes = $8, updated_at = now() WHERE id = $1`, who.ID, who.Name, who.Email, who.PhoneNumber, who.Identifier, who.Blocked,
		who.CustomAttributes, who.AdditionalAttributes)
	if err := contactSaved(err); err != nil {
		return nil, err
	}
	if changes := contactChanges(before, who); len(changes) > 0 {
		c.app.emit(ctx, event{Name: "contact_updated", ContactID: who.ID, Changes: changes})
	}
	body, err := c.withInboxes(ctx, who)
	return map[string]any{"payload": body}, err
}

func contactChanges(before, after contact) []change {
	return differences([]change{
		{"name", before.Name, after.Name}, {"email", before.Email, after.Email}, {"phone_number", before.PhoneNumber, after.PhoneNumber},
		{"identifier", before.Identifier, after.Identifier}, {"blocked", before.Blocked, after.Blocked},
		{"custom_attributes", before.CustomAttributes, after.CustomAttributes},
		{"additional_attributes", before.AdditionalAttributes, after.AdditionalAttributes},
	})
}

// differences keeps the entries whose values differ; pointers are compared by what they point to.
func differences(all []change) []change {
	var out []change
	for _, c := range all {
		if !reflect.DeepEqual(c.Previous, c.Current) {
			out = append(out, c)
		}
	}
	return out
}

func deleteContact(ctx context.Context, c *call) (any, error) {
	who, err := c.findContact(ctx, c.id("id"))
	if err != nil {
		return nil, err
	}
	if _, err := c.app.db.Exec(ctx, `DELETE FROM contacts WHERE id = $1`, who.ID); err != nil {
		return nil, fmt.Errorf("delete contact: %w", err)
	}
	return headOK{}, nil
}

func listContacts(ctx context.Context, c *call) (any, error) {
	var total int
	const resolved = `account_id = $1 AND (coalesce(email, '') <> '' OR coalesce(phone_number, '') <> '' OR coalesce(identifier, '') <> '')`
	if err := c.app.db.QueryRow(ctx, `SELECT count(*) FROM contacts WHERE `+resolved, c.account).Scan(&total); err != nil {
		return nil, fmt.Errorf("count contacts: %w", err)
	}
	page := c.limit("page", 1)
	list, err := c.contactPage(ctx, `SELECT * FROM contacts WHERE `+resolved+` ORDER BY id LIMIT $2 OFFSET $3`, c.account, contactsPerPage, (page-1)*contactsPerPage)
	return map[string]any{"meta": map[string]any{"count": total, "current_page": page}, "payload": list}, err
}

// searchContacts matches name, e-mail and phone without case, identifier with case, and the id of a bare number.
func searchContacts(ctx context.Context, c *call) (any, error) {
	q := strings.TrimSpace(c.text("q"))
	if q == "" {
		return nil, &apiError{http.StatusUnprocessableEntity, map[string]any{"error": "Specify search string with parameter q"}}
	}
	id, err := strconv.ParseInt(q, 10, 64)
	if err != nil {
		id = -1
	}
	page := c.limit("page", 1)
	list, err := c.contactPage(ctx, `SELECT * FROM contacts WHERE account_id = $1 AND (name ILIKE $2 OR email ILIKE $2 OR phone_number ILIKE $2
		OR identifier LIKE $2 OR id = $3) ORDER BY id LIMIT $4 OFFSET $5`, c.account, "%"+q+"%", id, contactsPerPage+1, (page-1)*contactsPerPage)
	if err != nil {
		return nil, err
	}
	more := len(list) > contactsPerPage
	if more {
		list = list[:contactsPerPage]
	}
	return map[string]any{"meta": map[string]any{"count": len(list), "current_page": page, "has_more": more}, "payload": list}, nil
}

func (c *call) contactPage(ctx context.Context, sql string, args ...any) ([]any, error) {
	found, err := collect[contact](ctx, c.app.db, sql, args...)
	if err != nil {
		return nil, err
	}
	list := make([]any, len(found))
	for i, who := range found {
		if list[i], err = c.withInboxes(ctx, who); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func contactConversations(ctx context.Context, c *call) (any, error) {
	who, err := c.findContact(ctx, c.id("id"))
	if err != nil {
		return nil, err
	}
	found, err := collect[conversation](ctx, c.app.db, `SELECT * FROM conversations WHERE contact_id = $1 ORDER BY last_activity_at DESC, id DESC LIMIT 20`, who.ID)
	if err != nil {
		return nil, err
	}
	list, err := c.conversationList(ctx, found)
	return map[string]any{"payload": list}, err
}

func touchContact(ctx context.Context, q querier, id int64, at time.Time) error {
	if _, err := q.Exec(ctx, `UPDATE contacts SET last_activity_at = $2 WHERE id = $1`, id, at); err != nil {
		return fmt.Errorf("touch contact: %w", err)
	}
	return nil
}
