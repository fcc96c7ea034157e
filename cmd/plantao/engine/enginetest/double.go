// Package enginetest is a Docker Engine for tests: a strict double of the few endpoints package engine
// uses. It speaks the Engine API's JSON and log framing, refuses what the real one refuses, and fails
// the test on a request it does not know.
package enginetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Engine is what the double pretends to be. The zero value is Docker 28.5.2 (API 1.51) with nothing in it.
type Engine struct {
	Version    string      `yaml:"version"`
	API        string      `yaml:"api"`
	Driver     string      `yaml:"driver"`
	Cgroup     string      `yaml:"cgroup"`
	DataRoot   string      `yaml:"data_root"`
	CPUs       int         `yaml:"cpus"`
	Memory     int64       `yaml:"memory"`
	Images     []string    `yaml:"images"`
	Containers []Container `yaml:"containers"`
}

// Container is one container of the double. Name and ID default to what the stack and service give.
type Container struct {
	ID      string `yaml:"id"`
	Name    string `yaml:"name"`
	Stack   string `yaml:"stack"`
	Service string `yaml:"service"`
	Image   string `yaml:"image"`
	URL     string `yaml:"url"`
	State   string `yaml:"state"`
	Health  string `yaml:"health"`
	// Up is how long ago the last run began.
	Up       time.Duration `yaml:"up"`
	ExitCode int           `yaml:"exit_code"`
	OOM      bool          `yaml:"oom"`
	Restarts int           `yaml:"restarts"`
	// Policy is the restart policy; "unless-stopped" when empty.
	Policy string `yaml:"policy"`
	// Used and Limit are bytes of memory; Cache is the part of Used that is page cache.
	Used  uint64 `yaml:"used"`
	Cache uint64 `yaml:"cache"`
	Limit int64  `yaml:"limit"`
	Ports []int  `yaml:"ports"`
	Log   []Line `yaml:"log"`
}

// Line is one line of a container's log; At defaults to one second after the line before.
type Line struct {
	At   time.Time `yaml:"at"`
	Text string    `yaml:"text"`
	// Stderr is true for the container's standard error.
	Stderr bool `yaml:"stderr"`
}

// Double is a running double. Its methods may be called from any goroutine.
type Double struct {
	server *httptest.Server
	fail   func(format string, args ...any)
	done   chan struct{}

	mu      sync.Mutex
	changed chan struct{} // closed and made anew at every change
	engine  Engine
	starts  []string // ids in the order they were started while the double ran
	asked   map[string]int
}

// Start runs the double; fail is told of every request that a real engine would not understand. Stop
// it with Close.
func Start(engine Engine, fail func(format string, args ...any)) *Double {
	fill(&engine)
	d := &Double{
		fail: fail, engine: engine, done: make(chan struct{}), changed: make(chan struct{}), asked: map[string]int{},
	}
	d.server = httptest.NewServer(http.HandlerFunc(d.serve))
	return d
}

func fill(e *Engine) {
	set(&e.Version, "28.5.2")
	set(&e.API, "1.51")
	set(&e.Driver, "overlay2")
	set(&e.Cgroup, "2")
	set(&e.DataRoot, "/var/lib/docker")
	for i := range e.Containers {
		c := &e.Containers[i]
		set(&c.Name, "plantao-"+c.Stack+"-"+c.Service)
		set(&c.ID, fmt.Sprintf("%064x", i+1))
		set(&c.State, "running")
		set(&c.Policy, "unless-stopped")
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		for j := range c.Log {
			if c.Log[j].At.IsZero() {
				c.Log[j].At = at
			}
			at = c.Log[j].At.Add(time.Second)
		}
	}
}

func set(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// Host is the double's address as DOCKER_HOST spells it.
func (d *Double) Host() string { return "tcp://" + d.server.Listener.Addr().String() }

// Close ends every open stream and the server.
func (d *Double) Close() {
	close(d.done)
	d.server.CloseClientConnections()
	d.server.Close()
}

// Asked is how often the endpoint (such as "events" or "logs") was asked.
func (d *Double) Asked(endpoint string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[endpoint]
}

// Drop cuts every connection, as a restart of the engine does; containers live on.
func (d *Double) Drop() { d.server.CloseClientConnections() }

// Write adds a line to the service's log.
func (d *Double) Write(service, text string) {
	d.change(service, func(c *Container) {
		c.Log = append(c.Log, Line{At: time.Now(), Text: text})
	})
}

// Stop ends the service's container; its log streams end.
func (d *Double) Stop(service string) {
	d.change(service, func(c *Container) { c.State = "exited" })
}

// Restart starts the service's stopped container again.
func (d *Double) Restart(service string) {
	d.change(service, func(c *Container) {
		c.State, c.Restarts = "running", c.Restarts+1
		d.starts = append(d.starts, c.ID)
	})
}

// Replace removes the service's container and starts a new one with an empty log.
func (d *Double) Replace(service string) {
	d.change(service, func(c *Container) {
		c.ID, c.State, c.Log = fmt.Sprintf("%064x", time.Now().UnixNano()), "running", nil
		d.starts = append(d.starts, c.ID)
	})
}

func (d *Double) change(service string, do func(*Container)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.engine.Containers {
		if d.engine.Containers[i].Service == service {
			do(&d.engine.Containers[i])
			close(d.changed)
			d.changed = make(chan struct{})
			return
		}
	}
	panic("enginetest: no container of service " + service)
}

var versioned = regexp.MustCompile(`^/v1\.(\d+)(/.*)$`)

func (d *Double) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", d.engine.API)
	w.Header().Set("Ostype", "linux")
	if r.URL.Path == "/_ping" && (r.Method == http.MethodHead || r.Method == http.MethodGet) {
		fmt.Fprint(w, "OK")
		return
	}
	match := versioned.FindStringSubmatch(r.URL.Path)
	if match == nil {
		d.unknown(w, r, "path without an API version")
		return
	}
	var asked, newest int
	_, errAsked := fmt.Sscan(match[1], &asked)
	_, errNewest := fmt.Sscan(strings.TrimPrefix(d.engine.API, "1."), &newest)
	if errAsked != nil || errNewest != nil || asked > newest {
		d.unknown(w, r, "client version 1.%d is too new, maximum is %s", asked, d.engine.API)
		return
	}
	if r.Method != http.MethodGet {
		d.unknown(w, r, "only reading is allowed")
		return
	}
	d.route(w, r, strings.Split(strings.Trim(match[2], "/"), "/"))
}

func (d *Double) route(w http.ResponseWriter, r *http.Request, path []string) {
	endpoint := path[len(path)-1]
	if path[0] == "images" && endpoint == "json" {
		d.count("image")
		d.image(w, r, strings.Join(path[1:len(path)-1], "/"))
		return
	}
	d.count(endpoint)
	switch {
	case len(path) == 1 && endpoint == "info":
		d.info(w, r)
	case len(path) == 1 && endpoint == "events":
		d.events(w, r)
	case len(path) == 2 && path[0] == "containers" && endpoint == "json":
		d.list(w, r)
	case len(path) == 3 && path[0] == "containers":
		c, ok := d.byID(path[1])
		if !ok {
			refuse(w, http.StatusNotFound, "No such container: "+path[1])
			return
		}
		switch endpoint {
		case "json":
			d.inspect(w, r, c)
		case "stats":
			d.stats(w, r, c)
		case "logs":
			d.logs(w, r, c)
		default:
			d.unknown(w, r, "no such endpoint")
		}
	default:
		d.unknown(w, r, "no such endpoint")
	}
}

func (d *Double) count(endpoint string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[endpoint]++
}

func (d *Double) byID(id string) (Container, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.engine.Containers {
		if c.ID == id {
			return c, true
		}
	}
	return Container{}, false
}

// state is the container as it is now, and what is closed at the next change.
func (d *Double) state(id string) (c Container, found bool, changed <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.engine.Containers {
		if c.ID == id {
			return c, true, d.changed
		}
	}
	return Container{}, false, d.changed
}

// allow fails the test when the query has a parameter that the endpoint does not know.
func (d *Double) allow(w http.ResponseWriter, r *http.Request, names ...string) bool {
	for name := range r.URL.Query() {
		known := false
		for _, allowed := range names {
			known = known || name == allowed
		}
		if !known {
			d.unknown(w, r, "unknown query parameter %q", name)
			return false
		}
	}
	return true
}

func (d *Double) unknown(w http.ResponseWriter, r *http.Request, format string, args ...any) {
	problem := fmt.Sprintf(format, args...)
	d.fail("docker double: %s %s: %s", r.Method, r.URL, problem)
	refuse(w, http.StatusBadRequest, problem)
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}
