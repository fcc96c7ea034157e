package server

import (
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

var (
	base64Text = regexp.MustCompile(`^(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$|^(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)$`)
	hostName   = regexp.MustCompile(`^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?\.)+[a-zA-Z]{2,}$`)
	fileInURL  = regexp.MustCompile(`.*/(.+?)\.`)
)

// isURL follows the check upstream uses: the host needs a top-level domain or must be an IP address, so http://minio:9000/x is none.
func isURL(s string) bool {
	if s == "" || strings.ContainsAny(s, " \t\r\n<>") {
		return false
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "http", s
	}
	if scheme != "http" && scheme != "https" && scheme != "ftp" {
		return false
	}
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil {
		return false
	}
	host := u.Hostname()
	return net.ParseIP(host) != nil || hostName.MatchString(host)
}

func isBase64(s string) bool { return base64Text.MatchString(s) }

func (s *Server) sendMedia(ctx context.Context, c *call) (any, error) {
	in, err := decode[struct {
		sendBase
		MediaType string `json:"mediatype"`
		Media     string `json:"media"`
		FileName  string `json:"fileName"`
		Mimetype  string `json:"mimetype"`
		Caption   string `json:"caption"`
	}](c.body)
	if err != nil {
		return nil, err
	}
	switch {
	case in.MediaType == "document" && in.FileName == "" && isBase64(in.Media):
		return nil, badRequest("For base64 the file name must be informed.")
	case c.file == nil && !isURL(in.Media) && !isBase64(in.Media):
		return nil, badRequest("Owned media must be a url or base64")
	case !c.instance.isEvolution():
		return s.sendMediaOnWhatsApp(ctx, c.instance, in.outgoing("", nil), attached{
			kind: in.MediaType, media: in.Media, mimetype: in.Mimetype, fileName: in.FileName, caption: in.Caption, data: c.file,
		})
	case in.MediaType == "document" && in.FileName == "" && (c.file != nil || !fileInURL.MatchString(in.Media)):
		return nil, &refusal{Status: http.StatusInternalServerError, Message: []any{"TypeError: Cannot read properties of null (reading '1')"}}
	}
	content := map[string]any{"mediaUrl": nil}
	if c.file == nil && isURL(in.Media) {
		content["mediaUrl"] = in.Media
	}
	return s.send(ctx, c.instance, in.outgoing(in.MediaType+"Message", content))
}

// sendAudio takes only an uploaded file on the EVOLUTION channel, although its first check lets URLs and base64 pass.
func (s *Server) sendAudio(ctx context.Context, c *call) (any, error) {
	in, err := decode[struct {
		sendBase
		Audio string `json:"audio"`
	}](c.body)
	switch {
	case err != nil:
		return nil, err
	case c.file == nil && !isURL(in.Audio) && !isBase64(in.Audio):
		return nil, badRequest("Owned media must be a url, base64, or valid file with buffer")
	case !c.instance.isEvolution():
		return s.sendMediaOnWhatsApp(ctx, c.instance, in.outgoing("", nil), attached{
			kind: "audio", media: in.Audio, mimetype: "audio/ogg; codecs=opus", data: c.file, voice: true,
		})
	case c.file == nil:
		return nil, internal("File or buffer is undefined.")
	}
	return s.send(ctx, c.instance, in.outgoing("audioMessage", map[string]any{"mediaUrl": nil}))
}

func readFile(h *multipart.FileHeader) ([]byte, error) {
	f, err := h.Open()
	if err != nil {
		return nil, fmt.Errorf("open uploaded file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read uploaded file: %w", err)
	}
	return b, nil
}
