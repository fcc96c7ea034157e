package dial

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// names is a name server that answers with what it is told to, and with the last of it from then on.
type names struct {
	mu      sync.Mutex
	answers []string
	asked   int
}

func (n *names) next() netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.answers[min(n.asked, len(n.answers)-1)]
	n.asked++
	return netip.MustParseAddr(a)
}

// resolver asks the name server, over UDP, as the real one is asked.
func resolver(t *testing.T, n *names) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:size]) != nil {
				continue
			}
			m.Response = true
			q := m.Questions[0]
			header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 0}
			if q.Type == dnsmessage.TypeA {
				if a := n.next(); a.Is4() {
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: a.As4()}})
				}
			}
			m.Additionals = nil
			packed, _ := m.Pack()
			_, _ = conn.WriteTo(packed, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// TestANameThatTurns: the name is a neighbour's at first, and leads to the metadata service when it is asked again.
func TestANameThatTurns(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }))
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	n := &names{answers: []string{"127.0.0.1", "169.254.169.254"}}
	base := "http://evolution.lab.:" + port
	d := To(base)
	d.net.Resolver = resolver(t, n)
	client := &http.Client{Transport: &http.Transport{DialContext: d.DialContext}}
	get := func() error {
		resp, err := client.Get(base + "/x")
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	require.NoError(t, get())
	require.ErrorIs(t, get(), ErrForbidden)
	n.mu.Lock()
	defer n.mu.Unlock()
	require.GreaterOrEqual(t, n.asked, 2)
}

func TestOnlyWhatIsConfigured(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	here := strings.TrimPrefix(server.URL, "http://")
	_, port, _ := net.SplitHostPort(here)
	for _, c := range []struct {
		places  []string
		address string
		want    error
	}{
		{[]string{server.URL}, here, nil},
		{[]string{here}, here, nil},
		{[]string{"http://n8n:5678", server.URL + "/base"}, here, nil},
		{[]string{server.URL}, "localhost:" + port, ErrForbidden},
		{[]string{server.URL}, "127.0.0.1:1", ErrForbidden},
		{nil, here, ErrForbidden},
		{[]string{"http://169.254.169.254"}, "169.254.169.254:80", ErrForbidden},
		{[]string{"http://[fe80::1]"}, "[fe80::1]:80", ErrForbidden},
	} {
		conn, err := To(c.places...).DialContext(t.Context(), "tcp", c.address)
		if c.want == nil {
			require.NoError(t, err, c)
			_ = conn.Close()
			continue
		}
		require.ErrorIs(t, err, c.want, c)
	}
	_, err := ToAny().DialContext(t.Context(), "tcp", "169.254.169.254:5432")
	require.ErrorIs(t, err, ErrForbidden)
	conn, err := ToAny().DialContext(t.Context(), "tcp", here)
	require.NoError(t, err)
	_ = conn.Close()
}

func TestHostPort(t *testing.T) {
	t.Parallel()
	for place, want := range map[string]string{
		"http://n8n": "n8n:80", "https://n8n/": "n8n:443", "http://n8n:5678/x": "n8n:5678", "redis://u@redis/0": "redis:6379",
		"redis:6379": "redis:6379", "http://[::1]:80": "[::1]:80",
	} {
		assert.Equal(t, want, hostPort(place))
	}
}

func TestForbiddenAddresses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"10.0.0.7": false, "172.18.0.5": false, "192.168.1.1": false, "127.0.0.1": false, "::1": false, "fd12:3456::1": false, "8.8.8.8": false,
		"169.254.169.254": true, "169.254.0.1": true, "::ffff:169.254.169.254": true, "fe80::1": true, "fe80::1%eth0": true, "febf::1": true,
		"fd00:ec2::254": true, "0.0.0.0": true, "0.1.2.3": true, "::": true, "224.0.0.1": true, "255.255.255.255": true, "ff02::1": true,
		"64:ff9b::a9fe:a9fe": true, "::a9fe:a9fe": true, "64:ff9b::a00:7": false,
	} {
		assert.Equal(t, want, forbidden(netip.MustParseAddr(address)), address)
	}
	assert.True(t, errors.Is(control(t.Context(), "tcp", "name:80", nil), ErrForbidden), "what is no address is not connected to")
}
