package evolution

import "strings"

const phoneServer = "@s.whatsapp.net"

// number is what the sending routes want: digits for a phone, any other id as it is.
func number(jid string) string {
	return strings.TrimSuffix(jid, phoneServer)
}

// otherForm is the other way WhatsApp may write a Brazilian mobile number: with the ninth digit, or without. Empty if there is
// none. Only numbers whose eight digits begin with 6 to 9 were mobile before the ninth digit came; a landline with a 9 before it
// is somebody else's mobile (Anatel, resolution 553/2010).
func otherForm(jid string) string {
	digits, isPhone := strings.CutSuffix(jid, phoneServer)
	if !isPhone || !strings.HasPrefix(digits, "55") {
		return ""
	}
	mobile := func(local string) bool { return local[0] >= '6' && local[0] <= '9' }
	switch {
	case len(digits) == 13 && digits[4] == '9' && mobile(digits[5:]):
		return digits[:4] + digits[5:] + phoneServer
	case len(digits) == 12 && mobile(digits[4:]):
		return digits[:4] + "9" + digits[4:] + phoneServer
	}
	return ""
}

// forms are the ids under which one chat's own messages can be filed: as given, the bare number (EVOLUTION channels), and
// the other form of both.
func forms(jid string) []string {
	if !strings.HasSuffix(jid, phoneServer) {
		return []string{jid}
	}
	all := []string{jid, number(jid)}
	if other := otherForm(jid); other != "" {
		all = append(all, other, number(other))
	}
	return all
}
