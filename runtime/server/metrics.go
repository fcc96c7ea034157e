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

	"plantao/runtime/conversation"
)

// scrapeTimeout bounds the one statement a scrape runs.
const scrapeTimeout = 2 * time.Second

// OpenRows is what a scrape shows of the store.
type OpenRows struct {
	Pending       int64
	OldestPending time.Duration
	Turns         map[string]int64 // open turns by state
	Parts         map[string]int64 // open parts by state
	DeadLetters   int64            // open ones
	Mirror        int64
	OldestMirror  time.Duration
}

// Metrics are the router's numbers for Prometheus. It implements the Observer interfaces of ingest, dispatch, gate and desk.
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
	merged   *prometheus.CounterVec
	judged   *prometheus.CounterVec
	flows    *prometheus.GaugeVec
	media    *prometheus.HistogramVec
	looked   *prometheus.HistogramVec
	showed   *prometheus.CounterVec
	heard    *prometheus.CounterVec
	missed   prometheus.Counter
	slaMet   *prometheus.CounterVec
	slaBroke *prometheus.CounterVec
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
		media: histogram("router_media_duration_seconds", "Tries to fetch a customer's attachment by outcome.",
			[]float64{.01, .1, .5, 1, 5, 10, 30, 60, 120}, "outcome"),
		looked: histogram("router_desk_look_duration_seconds", "Looks at a conversation in Chatwoot by outcome; failed ones are tried again.",
			[]float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}, "outcome"),
		showed: counter("router_desk_messages_total", "Messages shown in Chatwoot: posted, found there after a lost answer, refused for good.", "outcome"),
		heard:  counter("router_desk_heard_total", "What people did in Chatwoot, by what it became.", "what"),
		missed: prometheus.NewCounter(prometheus.CounterOpts{Name: "router_desk_missed_total",
			Help: "Conversations in which something happened that no webhook of Chatwoot's had told."}),
	}
	m.merged = counter("router_merges_total", "Conversations of one contact that were to be merged, by outcome.", "outcome")
	m.judged = counter("router_own_messages_total", "Messages written on the channel's own side by who wrote them; foreign_sender is another client of Evolution's API.", "verdict")
	m.slaMet = counter("router_sla_met_total", "Promises of SLAs that were met, by SLA and kind (first_response, resolution); counted when they were due.", "sla", "kind")
	m.slaBroke = counter("router_sla_broken_total", "Promises of SLAs that were broken, by SLA and kind.", "sla", "kind")
	m.registry.MustRegister(m.merged, m.judged, m.slaMet, m.slaBroke)
	m.judged.WithLabelValues(conversation.ForeignSender) // an alert on it must find a zero, not nothing
	m.flows = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "router_flow_breaker", Help: "0: the flow is asked; 1: one turn tries whether it answers again; 2: it is left alone for a while.",
	}, []string{"flow"})
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
	m.registry.MustRegister(m.hooks, m.hookTime, m.requests, m.received, m.woken, m.asked, m.ended, m.tried, m.media, m.flows, m.looked, m.showed, m.heard, m.missed, build, redis,
		newRowCollector(openRows),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, outcome := range []string{"sent", "refused", "unsent", "ambiguous", "proved"} {
		m.tried.WithLabelValues(outcome) // an alert on ambiguous must find a zero, not nothing
	}
	return m
}

// MediaTried implements ingest.MediaObserver.
func (m *Metrics) MediaTried(outcome string, took time.Duration) {
	m.media.WithLabelValues(outcome).Observe(took.Seconds())
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

// WatchChannels shows what connected returns at each scrape.
func (m *Metrics) WatchChannels(connected func() map[string]bool) {
	m.registry.MustRegister(&channelCollector{
		connected: connected,
		desc: prometheus.NewDesc("router_channel_connected", "1 if the channel is connected to WhatsApp, as far as this replica can see.",
			[]string{"channel"}, nil),
	})
}

type channelCollector struct {
	connected func() map[string]bool
	desc      *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *channelCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *channelCollector) Collect(ch chan<- prometheus.Metric) {
	for name, is := range c.connected() {
		value := 0.0
		if is {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, value, name)
	}
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

// FlowState implements dispatch.Observer.
func (m *Metrics) FlowState(flow, state string) {
	m.flows.WithLabelValues(flow).Set(map[string]float64{"half-open": 1, "open": 2}[state])
}

// PromiseEnded implements dispatch.Observer. Each of the two counters has the other's labels from the first on, so that a share of them is
// a number. What was void is in neither.
func (m *Metrics) PromiseEnded(sla, kind, state string) {
	met, broken := m.slaMet.WithLabelValues(sla, kind), m.slaBroke.WithLabelValues(sla, kind)
	switch conversation.PromiseState(state) {
	case conversation.PromiseMet:
		met.Inc()
	case conversation.PromiseBroken:
		broken.Inc()
	}
}

// PartTried implements gate.Observer.
func (m *Metrics) PartTried(outcome string, took time.Duration) {
	m.tried.WithLabelValues(outcome).Observe(took.Seconds())
}

// Merged implements ingest.MergeObserver.
func (m *Metrics) Merged(outcome string) { m.merged.WithLabelValues(outcome).Inc() }

// OwnJudged implements ingest.OwnObserver.
func (m *Metrics) OwnJudged(verdict string) { m.judged.WithLabelValues(verdict).Inc() }

// DeskLooked implements desk.Observer.
func (m *Metrics) DeskLooked(outcome string, took time.Duration) {
	m.looked.WithLabelValues(outcome).Observe(took.Seconds())
}

// DeskShowed implements desk.Observer.
func (m *Metrics) DeskShowed(outcome string) { m.showed.WithLabelValues(outcome).Inc() }

// DeskHeard implements desk.Observer.
func (m *Metrics) DeskHeard(what string) { m.heard.WithLabelValues(what).Inc() }

// DeskMissed implements desk.Observer.
func (m *Metrics) DeskMissed(n int) { m.missed.Add(float64(n)) }

// rowCollector asks the store when it is scraped, so that the numbers are everybody's and not one replica's memory.
type rowCollector struct {
	read                           func(context.Context) (OpenRows, error)
	up, pending, age, turns, parts *prometheus.Desc
	letters                        *prometheus.Desc
	mirror, mirrorAge              *prometheus.Desc
}

var (
	openTurnStates = []string{"running", "replied", "sending", "ambiguous"}
	openPartStates = []string{"queued", "sending", "ambiguous"}
)

func newRowCollector(read func(context.Context) (OpenRows, error)) *rowCollector {
	return &rowCollector{
		read:      read,
		up:        prometheus.NewDesc("router_store_up", "1 if the last scrape could read the store.", nil, nil),
		pending:   prometheus.NewDesc("router_inbox_pending", "Messages that wait for a turn or an owner; not those of conversations humans have.", nil, nil),
		age:       prometheus.NewDesc("router_inbox_oldest_pending_seconds", "Age of the oldest of them.", nil, nil),
		turns:     prometheus.NewDesc("router_turns", "Open turns by state.", []string{"state"}, nil),
		letters:   prometheus.NewDesc("router_dead_letters", "Open dead letters: messages nobody will answer until somebody decides.", nil, nil),
		parts:     prometheus.NewDesc("router_parts", "Parts not settled, by state.", []string{"state"}, nil),
		mirror:    prometheus.NewDesc("router_mirror_conversations", "Conversations Chatwoot may not show as they are.", nil, nil),
		mirrorAge: prometheus.NewDesc("router_mirror_oldest_seconds", "For how long that has been so.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *rowCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.pending, c.age, c.turns, c.parts, c.letters, c.mirror, c.mirrorAge} {
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
	gauge(c.letters, float64(rows.DeadLetters))
	gauge(c.mirror, float64(rows.Mirror))
	gauge(c.mirrorAge, rows.OldestMirror.Seconds())
	for _, state := range openTurnStates {
		gauge(c.turns, float64(rows.Turns[state]), state)
	}
	for _, state := range openPartStates {
		gauge(c.parts, float64(rows.Parts[state]), state)
	}
}
