package standin

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/crypto/bcrypt"
)

// accountBuilder has the arguments of upstream's AccountBuilder.
type accountBuilder struct {
	accountName, userFullName, email, password string
	superAdmin, confirmed                      bool
}

// recordInvalid is ActiveRecord::RecordInvalid: answered with 422, message and attributes.
type recordInvalid struct {
	message    string
	attributes []string
}

func (e *recordInvalid) Error() string { return "Validation failed: " + e.message }

func invalid(attribute, message string) error {
	return &recordInvalid{message: message, attributes: []string{attribute}}
}

// domainLabel is one part of a host name; upstream's ValidEmail2 wants at least two of them.
var domainLabel = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`)

// disposableDomains is a sample of the list upstream ships: enough to show that such an address is refused.
var disposableDomains = map[string]bool{"mailinator.com": true, "guerrillamail.com": true, "10minutemail.com": true, "yopmail.com": true, "trashmail.com": true}

func validateEmail(email string) error {
	address, err := mail.ParseAddress(email)
	if err != nil || address.Address != email || address.Name != "" {
		return errors.New("InvalidEmail: You have entered an invalid email")
	}
	domain := strings.ToLower(email[strings.LastIndexByte(email, '@')+1:])
	labels := strings.Split(domain, ".")
	if len(labels) < 2 {
		return errors.New("InvalidEmail: You have entered an invalid email (the domain has no dot)")
	}
	for _, l := range labels {
		if !domainLabel.MatchString(l) {
			return errors.New("InvalidEmail: You have entered an invalid email")
		}
	}
	if disposableDomains[domain] {
		return errors.New("InvalidEmail: We do not allow disposable emails")
	}
	return nil
}

// validatePassword is Devise's length rule plus upstream's secure-password rule. The special characters are the ones
// the devise-secure_password gem counts: printable, neither letter nor digit nor blank.
func validatePassword(password string) error {
	var upper, lower, digit, special int
	for _, r := range password {
		switch {
		case unicode.IsUpper(r):
			upper++
		case unicode.IsLower(r):
			lower++
		case unicode.IsDigit(r):
			digit++
		case !unicode.IsSpace(r) && unicode.IsPrint(r):
			special++
		}
	}
	var problems []string
	if n := len([]rune(password)); n < 6 {
		problems = append(problems, "Password is too short (minimum is 6 characters)")
	}
	if len(password) > 72 {
		problems = append(problems, "Password is too long (maximum is 72 bytes)")
	}
	for _, c := range []struct {
		have int
		what string
	}{{upper, "uppercase character"}, {lower, "lowercase character"}, {digit, "number"}, {special, "special character"}} {
		if c.have == 0 {
			problems = append(problems, "Password must contain at least 1 "+c.what)
		}
	}
	if len(problems) > 0 {
		return invalid("password", strings.Join(problems, ", "))
	}
	return nil
}

// perform makes account, user and membership in one transaction, after upstream's checks.
func (b accountBuilder) perform(ctx context.Context, a *App) (accountID, userID int64, err error) {
	email := strings.ToLower(strings.TrimSpace(b.email))
	if err := validateEmail(email); err != nil {
		return 0, 0, err
	}
	if exists, err := a.userExists(ctx, email); err != nil {
		return 0, 0, err
	} else if exists {
		return 0, 0, errors.New("UserExists: You have already signed up for an account with this email")
	}
	if strings.TrimSpace(b.accountName) == "" {
		return 0, 0, invalid("name", "Name can't be blank")
	}
	if err := validatePassword(b.password); err != nil {
		return 0, 0, err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(b.password), passwordCost)
	if err != nil {
		return 0, 0, fmt.Errorf("hash password: %w", err)
	}
	err = a.inTx(ctx, func(tx pgx.Tx) error {
		if accountID, err = createAccount(ctx, tx, b.accountName); err != nil {
			return err
		}
		kind := ""
		if b.superAdmin {
			kind = "SuperAdmin"
		}
		if userID, err = createUser(ctx, tx, email, b.userFullName, string(hash), kind, b.confirmed); err != nil {
			return err
		}
		return addToAccount(ctx, tx, accountID, userID, "administrator")
	})
	return accountID, userID, err
}

// passwordCost is bcrypt's: low, since nothing of value is behind a stand-in's passwords and tests sign in often.
const passwordCost = bcrypt.MinCost

func (a *App) userExists(ctx context.Context, email string) (bool, error) {
	var exists bool
	err := a.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM users WHERE email = $1)`, strings.ToLower(email)).Scan(&exists)
	if err != nil {
		return false, fmt.Errorf("look for user: %w", err)
	}
	return exists, nil
}

// createAccount also makes the sequence that display ids come from, as upstream's trigger does.
func createAccount(ctx context.Context, q querier, name string) (int64, error) {
	var id int64
	if err := q.QueryRow(ctx, `INSERT INTO accounts (name) VALUES ($1) RETURNING id`, name).Scan(&id); err != nil {
		return 0, fmt.Errorf("create account: %w", err)
	}
	if _, err := q.Exec(ctx, fmt.Sprintf(`CREATE SEQUENCE IF NOT EXISTS conv_dpid_seq_%d`, id)); err != nil {
		return 0, fmt.Errorf("create display id sequence: %w", err)
	}
	return id, nil
}

func createUser(ctx context.Context, q querier, email, name, passwordHash, kind string, confirmed bool) (int64, error) {
	var id int64
	err := q.QueryRow(ctx, `INSERT INTO users (type, email, name, encrypted_password, confirmed_at, pubsub_token)
		VALUES (nullif($1, ''), $2, $3, $4, CASE WHEN $5 THEN now() END, $6) RETURNING id`,
		kind, email, name, passwordHash, confirmed, token()).Scan(&id)
	if isUnique(err) {
		return 0, invalid("email", "Email has already been taken")
	}
	if err != nil {
		return 0, fmt.Errorf("create user: %w", err)
	}
	return id, createAccessToken(ctx, q, "User", id)
}

func addToAccount(ctx context.Context, q querier, account, user int64, role string) error {
	_, err := q.Exec(ctx, `INSERT INTO account_users (account_id, user_id, role) VALUES ($1, $2, $3)`, account, user, role)
	if err != nil {
		return fmt.Errorf("add user to account: %w", err)
	}
	return nil
}

// createAccessToken makes or replaces the owner's token.
func createAccessToken(ctx context.Context, q querier, ownerType string, ownerID int64) error {
	_, err := q.Exec(ctx, `INSERT INTO access_tokens (owner_type, owner_id, token) VALUES ($1, $2, $3)
		ON CONFLICT (owner_type, owner_id) DO UPDATE SET token = excluded.token`, ownerType, ownerID, token())
	if err != nil {
		return fmt.Errorf("create access token: %w", err)
	}
	return nil
}

// token has the 24 letters and digits of upstream's has_secure_token.
func token() string {
	b := make([]byte, 12)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b)
}

func isUnique(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505"
}
