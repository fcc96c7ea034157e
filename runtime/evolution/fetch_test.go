package evolution

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"plantao/runtime/conversation"
)

func TestReadBase64(t *testing.T) {
	t.Parallel()
	content := noise(100_001)
	encoded := base64.StdEncoding.EncodeToString(content)
	full := `{ "mediaType":"imageMessage", "size":{"fileLength":"9","a":["}\"",{}]},"n":-1.5e3,"t":true,"fileName":"a \"b\".png","mimetype":"image/png",` +
		`"base64" : "` + encoded + `", "buffer":null }`
	for name, r := range map[string]io.Reader{
		"whole": strings.NewReader(full), "byte by byte": iotest.OneByteReader(strings.NewReader(full)),
		"escaped slashes": strings.NewReader(strings.ReplaceAll(full, "/", `\/`)),
	} {
		got, err := readBase64(r, 10, 1<<20)
		require.NoError(t, err, name)
		assert.Equal(t, conversation.Content{Mimetype: "image/png", FileName: `a "b".png`, Bytes: content}, got, name)
	}
	_, err := readBase64(strings.NewReader(full), 0, 100_000)
	require.ErrorIs(t, err, errTooLarge)
	got, err := readBase64(strings.NewReader(full), 0, 100_001)
	require.NoError(t, err)
	assert.Len(t, got.Bytes, 100_001)
	for _, bad := range []string{
		``, `[]`, `{}`, `{"base64":""}`, `{"base64":null}`, `{"base64":"????"}`, `{"base64":"aGVs"`, `{"base64":"aGVs`, `{"base64":"\u0041"}`,
		`{"mimetype":"image/png"}`, `{"base64" "aGVs"}`, `{base64:"aGVs"}`, `{"x":"` + strings.Repeat("x", maxFieldBytes) + `"}`, full[:len(full)/2],
	} {
		_, err := readBase64(strings.NewReader(bad), 0, 1<<20)
		assert.Error(t, err, firstRunes(bad, 30))
	}
}

func TestFetchMediaByURLOnlyFromKnownHosts(t *testing.T) {
	t.Parallel()
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Empty(t, r.Header.Get("apikey"), "the key is Evolution's alone")
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/a.png", http.StatusFound)
		case "/large":
			_, _ = w.Write(noise(2000))
		default:
			_, _ = io.WriteString(w, "from the store")
		}
	}))
	t.Cleanup(store.Close)
	evolution := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/chat/getBase64FromMediaMessage/p", r.URL.Path)
		body, _ := io.ReadAll(r.Body)
		assert.JSONEq(t, `{"message":{"key":{"id":"A"}},"convertToMp4":false}`, string(body))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"base64":"`+base64.StdEncoding.EncodeToString([]byte("from evolution"))+`"}`)
	}))
	t.Cleanup(evolution.Close)
	u, err := url.Parse(store.URL)
	require.NoError(t, err)
	c := NewClient(ClientConfig{URL: evolution.URL, APIKey: "k", MediaBytes: 1000, MediaHosts: []string{u.Host}})
	t.Cleanup(c.Close)
	for address, want := range map[string]string{
		store.URL + "/a.png?sig=1": "from the store", store.URL + "/moved": "from evolution", store.URL + "/large": "from evolution", "": "from evolution",
		"http://127.0.0.1:1/a.png": "from evolution", "http://x@" + u.Host + "/a.png": "from evolution", "file:///etc/passwd": "from evolution",
	} {
		got, err := c.FetchMedia(t.Context(), "p", "A", conversation.Media{URL: address, Mimetype: "image/png"})
		require.NoError(t, err, address)
		assert.Equal(t, want, string(got.Bytes), address)
		assert.Equal(t, "image/png", got.Mimetype)
	}
	_, err = c.FetchMedia(t.Context(), "p", "A", conversation.Media{Bytes: 1001})
	var fe *conversation.FetchError
	require.True(t, errors.As(err, &fe) && fe.Final)
}

func FuzzReadBase64(f *testing.F) {
	f.Add(`{"mimetype":"image/png","base64":"aGVsbG8=","x":{"y":[1]}}`)
	f.Fuzz(func(t *testing.T, answer string) {
		got, err := readBase64(strings.NewReader(answer), 0, 64)
		if err == nil {
			assert.NotEmpty(t, got.Bytes)
		}
		assert.LessOrEqual(t, len(got.Bytes), 64)
	})
}
