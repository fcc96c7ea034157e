package evolution

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"time"

	"plantao/runtime/conversation"
)

// upload is a request body that holds an attachment. It is made anew for each connection the transport tries, and never stands in
// memory as a whole: the content of 20 MB is there once, its base64 never.
type upload struct {
	contentType string
	length      int64
	open        func() io.Reader
}

// SendMedia implements conversation.Sender.
//
// Voice notes go as a file: the EVOLUTION channel takes nothing else (facts §8.8), WhatsApp takes both. Everything else goes as base64
// with its name: an address of ours would need a host with a top-level domain, which names inside Docker do not have (§8.3).
func (c *Client) SendMedia(ctx context.Context, channel, chatJID string, m conversation.Content, kind conversation.MediaKind, caption string, notAfter time.Time) (conversation.Delivery, error) {
	refuse := func(err error) (conversation.Delivery, error) {
		return conversation.Delivery{}, &conversation.SendError{Outcome: conversation.SendRefused, Err: err}
	}
	if len(m.Bytes) == 0 {
		return refuse(errors.New("the attachment is empty"))
	}
	var (
		path string
		up   upload
		err  error
	)
	switch kind {
	case conversation.MediaAudio:
		if caption != "" {
			return refuse(errors.New("a voice note has no caption; send the text as a part of its own"))
		}
		path = "/message/sendWhatsAppAudio/"
		up, err = formUpload(number(chatJID), m)
	case conversation.MediaImage, conversation.MediaVideo, conversation.MediaDocument:
		path = "/message/sendMedia/"
		up, err = base64Upload(number(chatJID), m, kind, caption)
	default:
		return refuse(fmt.Errorf("attachment of kind %q: only image, video, audio and document can be sent", kind))
	}
	if err != nil {
		return refuse(err)
	}
	return c.send(ctx, path+url.PathEscape(channel), up, c.mediaTimeout, notAfter)
}

type sendMediaRequest struct {
	Number    string                 `json:"number"`
	MediaType conversation.MediaKind `json:"mediatype"`
	Mimetype  string                 `json:"mimetype,omitempty"`
	FileName  string                 `json:"fileName"`
	Caption   string                 `json:"caption,omitempty"`
}

// base64Upload is the JSON of sendMedia with the content written as its last field.
func base64Upload(number string, m conversation.Content, kind conversation.MediaKind, caption string) (upload, error) {
	head, err := json.Marshal(sendMediaRequest{
		Number: number, MediaType: kind, Mimetype: m.Mimetype, FileName: fileName(m, string(kind)), Caption: caption,
	})
	if err != nil {
		return upload{}, fmt.Errorf("write request: %w", err)
	}
	head = append(bytes.TrimSuffix(head, []byte("}")), `,"media":"`...)
	const tail = `"}`
	return upload{
		contentType: "application/json",
		length:      int64(len(head) + base64.StdEncoding.EncodedLen(len(m.Bytes)) + len(tail)),
		open: func() io.Reader {
			return io.MultiReader(bytes.NewReader(head), &base64Reader{rest: m.Bytes}, bytes.NewReader([]byte(tail)))
		},
	}, nil
}

// formUpload is a form with a number and a file. Evolution's forms know texts only, so it has no other fields.
func formUpload(number string, m conversation.Content) (upload, error) {
	var head, tail bytes.Buffer
	form := multipart.NewWriter(&head)
	if err := form.WriteField("number", number); err != nil {
		return upload{}, fmt.Errorf("write form: %w", err)
	}
	if _, err := form.CreateFormFile("file", fileName(m, "audio")); err != nil {
		return upload{}, fmt.Errorf("write form: %w", err)
	}
	end := multipart.NewWriter(&tail)
	if err := errors.Join(end.SetBoundary(form.Boundary()), end.Close()); err != nil {
		return upload{}, fmt.Errorf("write form: %w", err)
	}
	return upload{
		contentType: form.FormDataContentType(),
		length:      int64(head.Len() + len(m.Bytes) + tail.Len()),
		open: func() io.Reader {
			return io.MultiReader(bytes.NewReader(head.Bytes()), bytes.NewReader(m.Bytes), bytes.NewReader(tail.Bytes()))
		},
	}, nil
}

// fileName is what a file without a name is called: a document sent as base64 must have one.
func fileName(m conversation.Content, otherwise string) string {
	if m.FileName != "" {
		return m.FileName
	}
	kind, _, err := mime.ParseMediaType(m.Mimetype)
	if err != nil {
		return otherwise
	}
	if all, err := mime.ExtensionsByType(kind); err == nil && len(all) > 0 {
		return otherwise + all[len(all)-1]
	}
	return otherwise
}

// base64Reader reads as the base64 of rest.
type base64Reader struct {
	rest    []byte
	encoded []byte // of which the reader has not taken everything yet
	buf     [4096]byte
}

func (r *base64Reader) Read(p []byte) (int, error) {
	if len(r.encoded) == 0 {
		if len(r.rest) == 0 {
			return 0, io.EOF
		}
		n := min(len(r.rest), len(r.buf)/4*3)
		base64.StdEncoding.Encode(r.buf[:], r.rest[:n])
		r.encoded, r.rest = r.buf[:base64.StdEncoding.EncodedLen(n)], r.rest[n:]
	}
	n := copy(p, r.encoded)
	r.encoded = r.encoded[n:]
	return n, nil
}

func textUpload(body []byte) upload {
	return upload{
		contentType: "application/json", length: int64(len(body)),
		open: func() io.Reader { return bytes.NewReader(body) },
	}
}

// request makes the POST of an upload. GetBody lets the transport begin again on another connection when it wrote nothing on the first.
func (u upload) request(ctx context.Context, c *Client, path string) (*http.Request, error) {
	req, err := c.request(ctx, http.MethodPost, path, u.open())
	if err != nil {
		return nil, err
	}
	req.ContentLength = u.length
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(u.open()), nil }
	req.Header.Set("Content-Type", u.contentType)
	return req, nil
}
