package standin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// params are a request's parameters as Rails merges them: query, then body. Values are what JSON gives (numbers as
// json.Number) or strings from forms; readers below cast as Rails would.
type params map[string]any

const maxBody = 40 << 20 // upstream's largest upload

var errBadBody = errors.New("the body cannot be parsed")

// readParams parses query and body. Like Rails it takes a body of an unknown type for no parameters at all, and only
// refuses JSON that does not parse.
func readParams(w http.ResponseWriter, r *http.Request) (params, error) {
	p := params{}
	p.addValues(r.URL.Query())
	if r.Body == nil || r.Method == http.MethodGet {
		return p, nil
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch kind {
	case "application/json":
		return p, p.addJSON(r.Body)
	case "application/x-www-form-urlencoded":
		if err := r.ParseForm(); err != nil {
			return nil, errBadBody
		}
		p.addValues(r.PostForm)
	case "multipart/form-data":
		if err := r.ParseMultipartForm(1 << 20); err != nil {
			return nil, errBadBody
		}
		p.addValues(r.MultipartForm.Value)
		if err := p.addFiles(r.MultipartForm.File["attachments[]"]); err != nil {
			return nil, err
		}
		if err := r.MultipartForm.RemoveAll(); err != nil {
			return nil, fmt.Errorf("remove upload: %w", err)
		}
	}
	return p, nil
}

func (p params) addFiles(heads []*multipart.FileHeader) error {
	var files []upload
	for _, h := range heads {
		f, err := h.Open()
		if err != nil {
			return fmt.Errorf("open upload: %w", err)
		}
		content, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("read upload: %w", err)
		}
		files = append(files, upload{name: h.Filename, contentType: h.Header.Get("Content-Type"), content: content})
	}
	if files != nil {
		p["attachments"] = files
	}
	return nil
}

func (p params) addJSON(body io.Reader) error {
	raw, err := io.ReadAll(body)
	if err != nil {
		return errBadBody
	}
	if len(strings.TrimSpace(string(raw))) == 0 {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return errBadBody
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errBadBody
	}
	m, ok := v.(map[string]any)
	if !ok {
		p["_json"] = v // where Rails puts an array or a bare value
		return nil
	}
	for k, v := range m {
		p[k] = v
	}
	return nil
}

// addValues understands a[b]=c and a[]=c, one level deep, which is all the routes here take.
func (p params) addValues(values url.Values) {
	for key, list := range values {
		name, sub, nested := strings.Cut(key, "[")
		if !nested {
			p[key] = list[len(list)-1]
			continue
		}
		if sub = strings.TrimSuffix(sub, "]"); sub == "" {
			items := make([]any, len(list))
			for i, v := range list {
				items[i] = v
			}
			p[name] = items
			continue
		}
		m, ok := p[name].(map[string]any)
		if !ok {
			m = map[string]any{}
			p[name] = m
		}
		m[sub] = list[len(list)-1]
	}
}

func (p params) has(name string) bool { _, ok := p[name]; return ok }

// text returns scalars as a string, "" for anything else.
func (p params) text(name string) string {
	switch v := p[name].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// optional is nil for an absent, null or empty value: what a nullable string column gets.
func (p params) optional(name string) *string {
	if v := strings.TrimSpace(p.text(name)); v != "" {
		return &v
	}
	return nil
}

// number is 0 for what is not a whole number.
func (p params) number(name string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(p.text(name)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (p params) limit(name string, def int) int {
	n := p.number(name)
	if n < 1 || n > math.MaxInt32 {
		return def
	}
	return int(n)
}

func (p params) flag(name string, def bool) bool {
	switch strings.ToLower(p.text(name)) {
	case "":
		return def
	case "false", "f", "0", "off":
		return false
	}
	return true
}

// object is nil when the parameter is no object.
func (p params) object(name string) params {
	m, _ := p[name].(map[string]any)
	return m
}

// attributes is object with plain JSON numbers, so that it compares equal to what the database gives back.
func (p params) attributes(name string) attributes {
	given := p.object(name)
	if given == nil {
		return nil
	}
	raw, err := json.Marshal(given)
	if err != nil {
		return nil
	}
	var out attributes
	if json.Unmarshal(raw, &out) != nil {
		return nil
	}
	return out
}

// strings keeps the scalar entries of a list.
func (p params) strings(name string) []string {
	list, _ := p[name].([]any)
	out := []string{}
	for i := range list {
		if s := (params{"v": list[i]}).text("v"); s != "" {
			out = append(out, s)
		}
	}
	return out
}
