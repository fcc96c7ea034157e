package enginetest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func (d *Double) info(w http.ResponseWriter, r *http.Request) {
	if !d.allow(w, r) {
		return
	}
	answer(w, map[string]any{
		"ServerVersion": d.engine.Version, "Driver": d.engine.Driver, "CgroupVersion": d.engine.Cgroup,
		"CgroupDriver": "systemd", "DockerRootDir": d.engine.DataRoot, "NCPU": d.engine.CPUs,
		"MemTotal": d.engine.Memory, "SystemTime": time.Now().UTC().Format(time.RFC3339Nano),
	})
}

func (d *Double) image(w http.ResponseWriter, r *http.Request, ref string) {
	if !d.allow(w, r) {
		return
	}
	for _, known := range d.engine.Images {
		if known == ref {
			answer(w, map[string]any{"Id": "sha256:" + strings.Repeat("a", 64), "RepoTags": []string{ref}})
			return
		}
	}
	refuse(w, http.StatusNotFound, "No such image: "+ref)
}

func (d *Double) list(w http.ResponseWriter, r *http.Request) {
	if !d.allow(w, r, "all", "filters") {
		return
	}
	labels, ok := d.labels(w, r)
	if !ok {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	listed := []map[string]any{}
	for _, c := range d.engine.Containers {
		if (r.URL.Query().Get("all") != "1" && c.State != "running") || !carries(c, labels) {
			continue
		}
		ports := []map[string]any{}
		for _, port := range c.Ports {
			ports = append(ports, map[string]any{"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": port, "Type": "tcp"})
		}
		listed = append(listed, map[string]any{
			"Id": c.ID, "Names": []string{"/" + c.Name}, "Image": c.Image, "State": c.State, "Labels": labelsOf(c), "Ports": ports,
		})
	}
	answer(w, listed)
}

// labels reads the filters; only those a real engine knows and package engine has a use for pass.
func (d *Double) labels(w http.ResponseWriter, r *http.Request) ([]string, bool) {
	said := r.URL.Query().Get("filters")
	if said == "" {
		return nil, true
	}
	var filters map[string]map[string]bool
	if err := json.Unmarshal([]byte(said), &filters); err != nil {
		d.unknown(w, r, "filters are not JSON: %v", err)
		return nil, false
	}
	var labels []string
	for name, values := range filters {
		for value := range values {
			switch {
			case name == "label":
				labels = append(labels, value)
			case name == "type" && value == "container", name == "event" && value == "start":
			default:
				d.unknown(w, r, "unknown filter %s=%s", name, value)
				return nil, false
			}
		}
	}
	return labels, true
}

func labelsOf(c Container) map[string]string {
	labels := map[string]string{}
	for name, value := range map[string]string{
		"plantao.stack": c.Stack, "plantao.service": c.Service, "plantao.component": c.Service, "plantao.url": c.URL,
	} {
		if value != "" {
			labels[name] = value
		}
	}
	return labels
}

func carries(c Container, wanted []string) bool {
	has := labelsOf(c)
	for _, pair := range wanted {
		name, value, _ := strings.Cut(pair, "=")
		if has[name] != value {
			return false
		}
	}
	return true
}

func (d *Double) inspect(w http.ResponseWriter, r *http.Request, c Container) {
	if !d.allow(w, r) {
		return
	}
	state := map[string]any{
		"Status": c.State, "Running": c.State == "running", "ExitCode": c.ExitCode, "OOMKilled": c.OOM,
		"StartedAt": time.Now().Add(-c.Up).UTC().Format(time.RFC3339Nano), "FinishedAt": "0001-01-01T00:00:00Z",
	}
	if c.State == "exited" {
		state["FinishedAt"] = time.Now().UTC().Format(time.RFC3339Nano)
	}
	if c.Health != "" {
		state["Health"] = map[string]any{"Status": c.Health}
	}
	answer(w, map[string]any{
		"Id": c.ID, "Name": "/" + c.Name, "State": state, "RestartCount": c.Restarts,
		"Config":     map[string]any{"Image": c.Image, "Labels": labelsOf(c), "Tty": false},
		"HostConfig": map[string]any{"Memory": c.Limit, "RestartPolicy": map[string]any{"Name": c.Policy}},
	})
}

func (d *Double) stats(w http.ResponseWriter, r *http.Request, c Container) {
	if !d.allow(w, r, "stream", "one-shot") {
		return
	}
	if r.URL.Query().Get("one-shot") != "1" || r.URL.Query().Get("stream") != "0" {
		d.unknown(w, r, "stats must be one shot: two samples take a second per container")
		return
	}
	answer(w, map[string]any{"memory_stats": map[string]any{
		"usage": c.Used, "limit": c.Limit, "stats": map[string]any{"inactive_file": c.Cache},
	}})
}

// logs writes frames as the json-file driver's: a line over 16 KiB comes in pieces, each stamped.
func (d *Double) logs(w http.ResponseWriter, r *http.Request, c Container) {
	query := r.URL.Query()
	if !d.allow(w, r, "stdout", "stderr", "timestamps", "follow", "since", "tail") {
		return
	}
	if query.Get("stdout") == "" && query.Get("stderr") == "" {
		refuse(w, http.StatusBadRequest, "Bad parameters: you must choose at least one stream")
		return
	}
	since, err := instant(query.Get("since"))
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/vnd.docker.multiplexed-stream")
	w.WriteHeader(http.StatusOK)
	next := first(c.Log, since, query.Get("tail"))
	for {
		now, found, changed := d.state(c.ID)
		for ; found && next < len(now.Log); next++ {
			if !now.Log[next].At.Before(since) {
				writeLine(w, now.Log[next])
			}
		}
		w.(http.Flusher).Flush()
		if query.Get("follow") != "1" || !found || now.State != "running" {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-d.done:
			return
		}
	}
}

// first is the index of the first line wanted.
func first(log []Line, since time.Time, tail string) int {
	start := 0
	for start < len(log) && log[start].At.Before(since) {
		start++
	}
	if n, err := strconv.Atoi(tail); err == nil {
		start = max(start, len(log)-n)
	}
	return start
}

// instant reads Docker's "seconds.nanoseconds".
func instant(said string) (time.Time, error) {
	if said == "" || said == "0" {
		return time.Time{}, nil
	}
	seconds, nanos, _ := strings.Cut(said, ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("invalid value for since: %q", said)
	}
	n, err := strconv.ParseInt((nanos + "000000000")[:9], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("invalid value for since: %q", said)
	}
	return time.Unix(s, n), nil
}

func writeLine(w http.ResponseWriter, line Line) {
	source := byte(1)
	if line.Stderr {
		source = 2
	}
	text := line.Text + "\n"
	for text != "" {
		piece := text[:min(len(text), 16<<10)]
		text = text[len(piece):]
		said := line.At.UTC().Format("2006-01-02T15:04:05.000000000Z07:00") + " " + piece
		header := [8]byte{source}
		binary.BigEndian.PutUint32(header[4:], uint32(len(said)))
		_, _ = w.Write(header[:])
		_, _ = w.Write([]byte(said))
	}
}

func (d *Double) events(w http.ResponseWriter, r *http.Request) {
	if !d.allow(w, r, "filters") {
		return
	}
	labels, ok := d.labels(w, r)
	if !ok {
		return
	}
	d.mu.Lock()
	told := len(d.starts)
	d.mu.Unlock()
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for {
		d.mu.Lock()
		fresh, changed := d.starts[told:], d.changed
		told = len(d.starts)
		d.mu.Unlock()
		for _, id := range fresh {
			if c, found := d.byID(id); found && carries(c, labels) {
				_ = json.NewEncoder(w).Encode(map[string]any{
					"Type": "container", "Action": "start", "Actor": map[string]any{"ID": id, "Attributes": labelsOf(c)},
				})
			}
		}
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-d.done:
			return
		}
	}
}
