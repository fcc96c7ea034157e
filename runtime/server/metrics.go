package server

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// scrapeTimeout bounds the one statement a scrape runs.
const scrapeTimeout = 2 * time.Second

// OpenRows is what a scrape shows of the store.
type OpenRows struct {
	Pending       int64
	OldestPending time.Duration
	Turns         map[string]int64 // open turns by state
	Parts         map[string]int64 // open parts by state
}

// Metrics are the router's numbers for Prometheus. It implements the Observer interfaces of ingest, dispatch and gate.
type Metrics struct {
	registry *prometheus.Registry
	hooks    *prometheus.CounterVec
	requests *prometheus.HistogramVec
	hookTime *prometheus.HistogramVec
	received *prometheus.CounterVec
	woken    *prometheus.CounterVec
	asked    *prometheus.HistogramVec
	ended    *prometheus.CounterVec
	tried    *prometheus.HistogramVec
}

// NewMetrics registers everything. openRows is called at each scrape; redisUp says whether wake-ups reach other replicas.
func NewMetrics(version string, openRows func(context.Context) (OpenRows, error), redisUp func() bool) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		hooks:    counter("router_hook_requests_total", "Webhook requests by channel and HTTP status; channel is empty when unknown.", "channel", "status"),
		hookTime: histogram("router_hook_duration_seconds", "Time from request to answer of a webhook.",
			[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5}, "channel"),
		requests: histogram("router_api_duration_seconds", "Requests to the API by operation and HTTP status.",
			[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5}, "operation", "status"),
		received: counter("router_events_total", "Committed webhooks by kind and state.", "kind", "state"),
		woken:    counter("router_wakeups_total", "Looks at the store by what caused them.", "source"),
		asked: histogram("router_flow_duration_seconds", "Requests to flows by outcome.",
			[]float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}, "outcome"),
		ended: counter("router_turns_ended_total", "Turns this process is through with, by outcome.", "outcome"),
		tried: histogram("router_part_duration_seconds", "Attempts to send a part by outcome; ambiguous ones block the AI.",
			[]float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}, "outcome"),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "router_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	build.Set(1)
	redis := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "router_redis_up", Help: "1 if wake-ups reach other replicas at once, 0 if they poll.",
	}, func() float64 {
		if redisUp() {
			return 1
		}
		return 0
	})
	m.registry.MustRegister(m.hooks, m.hookTime, m.requests, m.received, m.woken, m.asked, m.ended, m.tried, build, redis,
		newRowCollector(openRows),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, outcome := range []string{"sent", "refused", "unsent", "ambiguous", "proved"} {
		m.tried.WithLabelValues(outcome) // an alert on ambiguous must find a zero, not nothing
	}
	return m
}

// InvariantCheck is the newest check of the invariants.
type InvariantCheck struct {
	At         time.Time        // zero: there was none yet
	Violations map[string]int64 // by the invariant's id; all of them are there
}

// WatchInvariants shows what read returns at each scrape. It is a gauge: what is put right is not counted any more.
func (m *Metrics) WatchInvariants(read func() InvariantCheck) {
	m.registry.MustRegister(&invariantCollector{
		read: read,
		violations: prometheus.NewDesc("router_invariant_violations_total", "Violations found by the newest check, which looks at conversations "+
			"that changed lately; `router check` looks at all.", []string{"invariant"}, nil),
		at: prometheus.NewDesc("router_invariant_check_timestamp_seconds", "When the newest check was; 0 if there was none yet.", nil, nil),
	})
}

type invariantCollector struct {
	read           func() InvariantCheck
	violations, at *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *invariantCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.violations
	ch <- c.at
}

// Collect implements prometheus.Collector.
func (c *invariantCollector) Collect(ch chan<- prometheus.Metric) {
	newest := c.read()
	for id, n := range newest.Violations {
		ch <- prometheus.MustNewConstMetric(c.violations, prometheus.GaugeValue, float64(n), id)
	}
	at := 0.0
	if !newest.At.IsZero() {
		at = float64(newest.At.UnixMilli()) / 1000
	}
	ch <- prometheus.MustNewConstMetric(c.at, prometheus.GaugeValue, at)
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2})
}

func (m *Metrics) hook(channel string, status int, took time.Duration) {
	m.hooks.WithLabelValues(channel, strconv.Itoa(status)).Inc()
	m.hookTime.WithLabelValues(channel).Observe(took.Seconds())
}

func (m *Metrics) request(operation string, status int, took time.Duration) {
	m.requests.WithLabelValues(operation, strconv.Itoa(status)).Observe(took.Seconds())
}

// Received implements ingest.Observer.
func (m *Metrics) Received(kind, state string) { m.received.WithLabelValues(kind, state).Inc() }

// Woken implements dispatch.Observer.
func (m *Metrics) Woken(source string) { m.woken.WithLabelValues(source).Inc() }

// FlowAsked implements dispatch.Observer.
func (m *Metrics) FlowAsked(outcome string, took time.Duration) {
	m.asked.WithLabelValues(outcome).Observe(took.Seconds())
}

// TurnEnded implements dispatch.Observer.
func (m *Metrics) TurnEnded(outcome string) { m.ended.WithLabelValues(outcome).Inc() }

// PartTried implements gate.Observer.
func (m *Metrics) PartTried(outcome string, took time.Duration) {
	m.tried.WithLabelValues(outcome).Observe(took.Seconds())
}

// rowCollector asks the store when it is scraped, so that the numbers are everybody's and not one replica's memory.
type rowCollector struct {
	read                           func(context.Context) (OpenRows, error)
	up, pending, age, turns, parts *prometheus.Desc
}

var (
	openTurnStates = []string{"running", "replied", "sending", "ambiguous"}
	openPartStates = []string{"queued", "sending", "ambiguous"}
)

func newRowCollector(read func(context.Context) (OpenRows, error)) *rowCollector {
	return &rowCollector{
		read:    read,
		up:      prometheus.NewDesc("router_store_up", "1 if the last scrape could read the store.", nil, nil),
		pending: prometheus.NewDesc("router_inbox_pending", "Messages that wait for a turn or an owner; not those of conversations humans have.", nil, nil),
		age:     prometheus.NewDesc("router_inbox_oldest_pending_seconds", "Age of the oldest of them.", nil, nil),
		turns:   prometheus.NewDesc("router_turns", "Open turns by state.", []string{"state"}, nil),
		parts:   prometheus.NewDesc("router_parts", "Parts not settled, by state.", []string{"state"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *rowCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.pending, c.age, c.turns, c.parts} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. With the store down only router_store_up is shown: old numbers would mislead.
func (c *rowCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	rows, err := c.read(ctx)
	if err != nil {
		gauge(c.up, 0)
		return
	}
	gauge(c.up, 1)
	gauge(c.pending, float64(rows.Pending))
	gauge(c.age, rows.OldestPending.Seconds())
	for _, state := range openTurnStates {
		gauge(c.turns, float64(rows.Turns[state]), state)
	}
	for _, state := range openPartStates {
		gauge(c.parts, float64(rows.Parts[state]), state)
	}
}
