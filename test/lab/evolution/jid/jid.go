// Package jid turns a phone number into the address WhatsApp uses, the way upstream's createJid does.
package jid

import (
	"regexp"
	"strings"
)

const userServer = "@s.whatsapp.net"

var (
	device     = regexp.MustCompile(`:\d+`)
	notDigit   = regexp.MustCompile(`\D`)
	notGroupID = regexp.MustCompile(`[^\d-]`)
	brazilian  = regexp.MustCompile(`^55(\d{2})\d(\d{8})$`)
)

// Create gives the jid of number. Formatting is stripped; a Brazilian mobile number outside the area codes 11–30 loses its ninth
// digit, a Mexican or Argentine one its extra digit; 18 digits or more, or a dash with 24 characters or more, is a group. A
// jid passes unchanged, whether or not anything stands before the "@". The result is not checked to exist.
func Create(number string) string {
	// Only the first ":<digits>" goes, as with a JavaScript replace without the g flag.
	if at := device.FindStringIndex(number); at != nil {
		number = number[:at[0]] + number[at[1]:]
	}
	for _, server := range []string{"@g.us", userServer, "@lid", "@broadcast"} {
		if strings.Contains(number, server) {
			return number
		}
	}
	number = strings.NewReplacer(" ", "", "\t", "", "\n", "", "\r", "", "+", "", "(", "", ")", "").Replace(number)
	number, _, _ = strings.Cut(number, ":")
	number, _, _ = strings.Cut(number, "@")

	if strings.Contains(number, "-") && len(number) >= 24 {
		return notGroupID.ReplaceAllString(number, "") + "@g.us"
	}
	number = notDigit.ReplaceAllString(number, "")
	if len(number) >= 18 {
		return number + "@g.us"
	}
	return dropNinthDigit(dropExtraDigit(number)) + userServer
}

// User gives the part of a jid before the "@".
func User(jid string) string {
	user, _, _ := strings.Cut(jid, "@")
	return user
}

// IsUser tells whether jid is a person addressed by phone number.
func IsUser(jid string) bool { return strings.HasSuffix(jid, userServer) }

// IsGroup tells whether jid is a group.
func IsGroup(jid string) bool { return strings.HasSuffix(jid, "@g.us") }

// IsLID tells whether jid hides the phone number.
func IsLID(jid string) bool { return strings.HasSuffix(jid, "@lid") }

func dropExtraDigit(number string) string {
	if (strings.HasPrefix(number, "52") || strings.HasPrefix(number, "54")) && len(number) == 13 {
		return number[:2] + number[3:]
	}
	return number
}

// dropNinthDigit keeps the digit for area codes below 31 and for numbers whose next digit is below 7, which are no mobile numbers.
func dropNinthDigit(number string) string {
	m := brazilian.FindStringSubmatch(number)
	if m == nil || m[1] < "31" || m[2][0] < '7' {
		return number
	}
	return "55" + m[1] + m[2]
}
