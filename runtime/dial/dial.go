// Package dial connects to the router's neighbours and to nobody else. What a client may reach is the list it was made with, taken
// from the configuration; and the address a name leads to is checked when it is connected to, not when it is looked up: a name
// server that is lied to, or lies the second time, does not turn a neighbour into the cloud's metadata service.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"
)

// ErrForbidden is a connection that was not attempted.
var ErrForbidden = errors.New("the router may not connect there")

// timeout bounds one attempt to connect. Neighbours are near.
const timeout = 3 * time.Second

// never are places no neighbour is at: link-local ones, where clouds keep their metadata, and addresses of many or of none.
var never = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("fd00:ec2::/32"), // AWS's metadata over IPv6
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("::/128"),
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("ff00::/8"),
}

// translated are prefixes under which an IPv4 address stands in the last four bytes: NAT64's own. What it stands for is checked.
var translated = []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("::/96")}

// Dialer is safe for concurrent use.
type Dialer struct {
	allowed []string // host:port
	net     net.Dialer
}

// To makes a Dialer that reaches the given places only: base URLs of http or https, or host:port.
func To(places ...string) *Dialer {
	d := &Dialer{allowed: []string{}}
	for _, place := range places {
		d.allowed = append(d.allowed, hostPort(place))
	}
	d.net = net.Dialer{Timeout: timeout, ControlContext: control}
	return d
}

// ToAny makes a Dialer for a library that looks names up by itself: it checks addresses, and that is all.
func ToAny() *Dialer {
	return &Dialer{net: net.Dialer{Timeout: timeout, ControlContext: control}}
}

func hostPort(place string) string {
	u, err := url.Parse(place)
	if err != nil || u.Host == "" {
		return place
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "redis": "6379", "rediss": "6379", "postgres": "5432"}[u.Scheme]
	}
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// DialContext fits http.Transport and the clients of databases. Errors: ErrForbidden, and those of net.Dialer.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if d.allowed != nil && !slices.Contains(d.allowed, address) {
		return nil, fmt.Errorf("connect to %s: not configured: %w", address, ErrForbidden)
	}
	return d.net.DialContext(ctx, network, address)
}

// control sees the address itself, after every look-up and right before the connection is made.
func control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if network == "unix" {
		return nil
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("connect to %s: not an address: %w", address, ErrForbidden)
	}
	if ip := at.Addr(); forbidden(ip) {
		return fmt.Errorf("connect to %s: no neighbour can be there: %w", ip, ErrForbidden)
	}
	return nil
}

func forbidden(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	for _, p := range translated {
		if b := ip.As16(); p.Contains(ip) && ip != netip.IPv6Loopback() {
			ip = netip.AddrFrom4([4]byte(b[12:]))
			break
		}
	}
	return slices.ContainsFunc(never, func(p netip.Prefix) bool { return p.Contains(ip) })
}
