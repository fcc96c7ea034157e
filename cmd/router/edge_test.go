package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/evolution"
)

// exchange writes bytes to the router as they are and returns the answers until it closes, or falls silent for a while.
func (r *running) exchange(raw string) (statuses []int, closed bool) {
	r.b.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	require.NoError(r.b.t, err)
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, raw) }()
	in := bufio.NewReader(conn)
	for {
		// Whatever else is in the bytes has been answered by then, as the first was.
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return statuses, !errors.Is(err, os.ErrDeadlineExceeded)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		statuses = append(statuses, resp.StatusCode)
	}
}

func hookToken(t *testing.T, change func(jwt.MapClaims)) string {
	t.Helper()
	claims := jwt.MapClaims{"iat": time.Now().Unix(), "exp": time.Now().Add(10 * time.Minute).Unix(), "app": "evolution", "action": "webhook"}
	if change != nil {
		change(claims)
	}
	key := evolution.TokenKey(sha256.Sum256([]byte(testHookSecret)))
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(key))
	require.NoError(t, err)
	return token
}

// TestEdge is what the hook refuses, byte by byte, each with its status; and that nothing of it is stored.
func TestEdge(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.serveReady()
	const (
		line   = "POST /hooks/evolution/" + testChannel + " HTTP/1.1\r\n"
		host   = "Host: router\r\n"
		secret = "X-Plantao-Secret: " + testHookSecret + "\r\n"
		isJSON = "Content-Type: application/json\r\n"
		closes = "Connection: close\r\n"
	)
	n := 0
	body := func() string { n++; return upsert(fmt.Sprintf("EDGE%d", n), testCustomer, "oi") }
	sized := func(body string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body) }
	good := func() string { return line + host + secret + isJSON + sized(body()) }
	chunked := func(body string) string { return fmt.Sprintf("\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body) }
	deep := func(levels int) string {
		return `{"event":"messages.upsert","data":` + strings.Repeat("[", levels) + strings.Repeat("]", levels) + `}`
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = io.CopyN(z, zeros{}, 64<<20)
	require.NoError(t, z.Close())
	bearer := func(token string) string { return "Authorization: Bearer " + token + "\r\n" }

	for _, c := range []struct {
		name   string
		raw    string
		status []int // of each answer
	}{
		{"as it should be", good() + good(), []int{200, 200}},
		{"a token", line + host + bearer(hookToken(t, nil)) + isJSON + sized(body()), []int{200}},

		{"no secret", line + host + isJSON + sized(body()), []int{401}},
		{"wrong secret", line + host + "X-Plantao-Secret: x\r\n" + isJSON + sized(body()), []int{401}},
		{"secret in the target", "POST /hooks/evolution/" + testChannel + "?X-Plantao-Secret=" + testHookSecret + " HTTP/1.1\r\n" + host + isJSON + sized(body()), []int{401}},
		{"old token", line + host + bearer(hookToken(t, func(c jwt.MapClaims) {
			c["iat"], c["exp"] = time.Now().Add(-15*time.Minute).Unix(), time.Now().Add(-5*time.Minute).Unix()
		})) + isJSON + sized(body()), []int{401}},
		{"token of a clock ahead", line + host + bearer(hookToken(t, func(c jwt.MapClaims) {
			c["iat"], c["exp"] = time.Now().Add(5*time.Minute).Unix(), time.Now().Add(15*time.Minute).Unix()
		})) + isJSON + sized(body()), []int{401}},
		{"token for something else", line + host + bearer(hookToken(t, func(c jwt.MapClaims) { c["action"] = "login" })) + isJSON + sized(body()), []int{401}},
		{"the secret as a token", line + host + bearer(testHookSecret) + isJSON + sized(body()), []int{401}},

		{"wrong method", strings.Replace(good(), "POST", "PUT", 1), []int{405}},
		{"method in lower case", strings.Replace(good(), "POST", "post", 1), []int{405}},
		{"CONNECT", "CONNECT router:80 HTTP/1.1\r\nHost: router:80\r\n\r\n", []int{404}},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\n" + host + closes + "\r\n", []int{400}},
		{"wrong type", line + host + secret + "Content-Type: text/plain\r\n" + sized(body()), []int{415}},
		{"type that only begins well", line + host + secret + "Content-Type: application/json-seq\r\n" + sized(body()), []int{415}},

		{"oversize, announced", line + host + secret + isJSON + "Content-Length: 8388609\r\n\r\n{", []int{413}},
		{"oversize beyond any number", line + host + secret + isJSON + "Content-Length: 99999999999999999999\r\n\r\n{", []int{400}},
		{"compressed bomb", line + host + secret + isJSON + "Content-Encoding: gzip\r\n" + sized(bomb.String()), []int{415}},
		{"bomb in two layers", line + host + secret + isJSON + "Content-Encoding: identity, gzip\r\n" + sized(bomb.String()), []int{415}},
		{"bomb that says nothing", line + host + secret + isJSON + sized(bomb.String()), []int{400}},
		{"10,000 levels", line + host + secret + isJSON + sized(deep(10_000)), []int{400}},
		{"100,000 levels", line + host + secret + isJSON + sized(deep(100_000)), []int{400}},
		{"a million levels, never closed", line + host + secret + isJSON + sized(strings.Repeat("[", 1_000_000)), []int{400}},

		{"two secrets", line + host + secret + secret + isJSON + sized(body()), []int{400}},
		{"a good secret and a bad one", line + host + secret + "x-plantao-secret: x\r\n" + isJSON + sized(body()), []int{400}},
		{"a bad secret and a good one", line + host + "x-plantao-secret: x\r\n" + secret + isJSON + sized(body()), []int{401}},
		{"two authorizations", line + host + bearer(hookToken(t, nil)) + bearer("x") + isJSON + sized(body()), []int{400}},
		{"two types", line + host + secret + isJSON + "Content-Type: text/plain\r\n" + sized(body()), []int{400}},

		{"two lengths", line + host + secret + isJSON + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" + good(), []int{400}},
		{"two lengths in one", line + host + secret + isJSON + "Content-Length: 2, 3\r\n\r\n{}" + good(), []int{400}},
		{"length with a sign", line + host + secret + isJSON + "Content-Length: +2\r\n\r\n{}" + good(), []int{400}},
		{"length in hex", line + host + secret + isJSON + "Content-Length: 0x2\r\n\r\n{}" + good(), []int{400}},
		{"negative length", line + host + secret + isJSON + "Content-Length: -1\r\n\r\n{}" + good(), []int{400}},
		{"chunks", line + host + secret + isJSON + "Transfer-Encoding: chunked\r\n" + chunked(body()) + good(), []int{411}},
		{"chunks beside a length", line + host + secret + isJSON + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n" + chunked(body()) + good(), []int{411}},
		{"chunks that hide a request", line + host + secret + isJSON + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + good(), []int{411}},
		{"chunks by another name", line + host + secret + isJSON + "Transfer-Encoding: xchunked\r\n" + chunked(body()) + good(), []int{501}},
		{"chunks and more", line + host + secret + isJSON + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n" + chunked(body()) + good(), []int{501}},
		{"chunks behind a control character", line + host + secret + isJSON + "Transfer-Encoding: \x0bchunked\r\n" + chunked(body()) + good(), []int{400}},
		{"space before the colon", line + host + secret + isJSON + "Transfer-Encoding : chunked\r\n" + chunked(body()) + good(), []int{400}},
		{"NUL in a header", line + host + secret + isJSON + "X-A: a\x00b\r\n" + sized(body()), []int{400}},
		{"secret on two lines", line + host + "X-Plantao-Secret: hook-secret-\r\n of-the-tests\r\n" + isJSON + sized(body()), []int{401}},
		{"header on the first line's end", line + " X-A: b\r\n" + host + secret + isJSON + sized(body()), []int{400}},
		{"two hosts", line + host + host + secret + isJSON + sized(body()), []int{400}},
		{"no host", line + secret + isJSON + sized(body()), []int{400}},
		{"no protocol", "POST /hooks/evolution/" + testChannel + "\r\n" + host + secret + isJSON + sized(body()), []int{400}},
		{"another protocol", "POST /hooks/evolution/" + testChannel + " HTTP/3.0\r\n" + host + secret + isJSON + sized(body()), []int{505}},
		{"HTTP/1.0 and what follows it", strings.Replace(good(), "HTTP/1.1", "HTTP/1.0", 1) + good(), []int{200}},
		{"HTTP/1.0 in chunks", strings.Replace(line, "1.1", "1.0", 1) + host + secret + isJSON + "Transfer-Encoding: chunked\r\n" + chunked(body()) + good(), []int{400}},
		{"a head of 128 KB", line + host + secret + isJSON + "X-A: " + strings.Repeat("a", 128<<10) + "\r\n" + sized(body()), []int{431}},

		{"somebody else's target", strings.Replace(good(), "POST /", "POST http://169.254.169.254/", 1), []int{200}}, // the same hook: nobody is dialled
		{"dot segments", strings.Replace(good(), "/hooks/", "/x/../hooks/", 1), []int{404}},
		{"encoded dot segments", strings.Replace(good(), "/hooks/", "/x/%2e%2e/hooks/", 1), []int{404}},
		{"encoded slash", strings.Replace(good(), "evolution/"+testChannel, "evolution%2f"+testChannel, 1), []int{404}},
		{"two slashes", strings.Replace(good(), "/hooks/", "//hooks/", 1), []int{404}},
		{"NUL in the channel", strings.Replace(good(), testChannel, testChannel+"%00", 1), []int{404}},
		{"backslash", strings.Replace(good(), "/hooks/", "/hooks\\", 1), []int{404}},
		{"broken escape", strings.Replace(good(), "/hooks/", "/hooks/%zz/", 1), []int{400}},
		{"another channel", strings.Replace(good(), testChannel, "other", 1), []int{404}},
		{"no HTTP at all", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", []int{400}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := b.count("select count(*) from inbox")
			statuses, closed := r.exchange(c.raw)
			assert.Equal(t, c.status, statuses)
			stored := 0
			for _, s := range c.status {
				if s == 200 {
					stored++
				}
			}
			if stored == 0 {
				assert.True(t, closed, "what follows a refused request is nobody's")
			}
			require.Equal(t, stored, b.count("select count(*) from inbox")-before)
		})
	}
}

// zeros is an endless body that compresses well.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
