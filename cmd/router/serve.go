package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"plantao/runtime/channel"
	"plantao/runtime/chatwoot"
	"plantao/runtime/conversation"
	"plantao/runtime/desk"
	"plantao/runtime/dispatch"
	"plantao/runtime/evolution"
	"plantao/runtime/gate"
	"plantao/runtime/ingest"
	"plantao/runtime/n8n"
	"plantao/runtime/postgres"
	"plantao/runtime/redis"
	"plantao/runtime/routing"
	"plantao/runtime/server"
)

// httpShutdownTimeout bounds the webhooks that are being stored when the server closes.
const httpShutdownTimeout = 10 * time.Second

func serveCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the router", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadServe(o.sources())
			if err != nil {
				return err
			}
			return serve(cmd.Context(), c, o.logger(c.LogLevel).With("instance", c.InstanceName))
		},
	}
	cmd.Flags().StringVar(&o.listen, "listen", "", "address to listen on, as :8080")
	cmd.Flags().StringVar(&o.instanceName, "instance-name", "", "slot of this replica, as router-1")
	return cmd
}

// router is everything `router serve` runs, wired by hand.
type router struct {
	log        *slog.Logger
	store      *postgres.Store
	redis      *redis.Client // nil without Redis, as the waker
	waker      *redis.Waker
	sender     *evolution.Client
	flow       *n8n.FlowClient
	process    conversation.Process
	dispatcher *dispatch.Dispatcher
	readBack   *gate.ReadBack
	media      *ingest.Media
	gate       *gate.Gate
	pace       *gate.Pace
	monitor    *channel.Monitor
	sweeper    *channel.Sweeper
	watch      *watch
	own        *ingest.Own
	merger     *ingest.Merger
	desk       *desk.Desk // nil without Chatwoot, as its client
	chatwoot   *chatwoot.Client
	server     *server.Server
}

func newRouter(c serveConfig, log *slog.Logger) (*router, error) {
	key, err := conversation.NewTurnKey([]byte(c.Turn.Key.Reveal()))
	if err != nil {
		return nil, err
	}
	r := &router{log: log, process: conversation.Process{Instance: c.InstanceName, Boot: uuid.NewString()}}
	database := c.Database.postgres(c.InstanceName)
	database.Recovered = func(generation int64, suspended int) {
		log.Error("the database lost history: it was restored or failed over. Conversations an AI had are suspended; compare the "+
			"phone with them, then run `router recover`", "cluster", generation, "suspended", suspended)
	}
	if r.store, err = postgres.Open(database); err != nil {
		return nil, err
	}
	if c.Redis.URL != "" {
		if r.redis, err = redis.Open(redis.Config{URL: c.Redis.URL, Password: c.Redis.Password.Reveal()}); err != nil {
			return nil, err
		}
		r.waker = redis.NewWaker(r.redis, r.process.Boot, log)
	}
	r.sender = evolution.NewClient(evolution.ClientConfig{
		URL: c.Evolution.URL, APIKey: c.Evolution.APIKey.Reveal(), Timeout: c.Evolution.Timeout,
		MediaTimeout: c.Media.Timeout, MediaBytes: c.Media.MaxBytes, MediaHosts: c.Media.Hosts,
	})
	r.flow = n8n.NewFlowClient(n8n.FlowConfig{URL: c.N8N.URL, Token: c.N8N.Token.Reveal()})

	metrics := server.NewMetrics(version, r.openRows, func() bool { return r.waker != nil && r.waker.Up() })
	r.watch = newWatch(c.Check, database, log)
	if c.Check.Every > 0 {
		metrics.WatchInvariants(r.watch.read)
	}
	r.monitor = channel.NewMonitor(channel.MonitorConfig{
		Store: r.store, Phone: r.sender, Poll: c.Channel.Poll, Refresh: 2 * c.Turn.Poll, Logger: log,
	})
	metrics.WatchChannels(r.monitor.Connected)
	r.pace = gate.NewPace(c.Gate.Rate, c.Gate.Burst)
	r.gate = gate.New(gate.Config{
		Store: r.store, Sender: r.sender, Process: r.process, Lease: c.Turn.Lease, Observer: metrics, Logger: log,
		Line: r.monitor, Pace: r.pace, Typing: c.Gate.Typing.typing(), Manners: r.sender, Read: c.Gate.Read,
	})
	deskHooks, err := r.newDesk(c, metrics)
	if err != nil {
		return nil, err
	}
	r.dispatcher = dispatch.New(dispatch.Config{
		Store: r.store, Flow: r.flow, Rules: routing.NewBook(r.store, r.log), Gate: r.gate,
		Process: r.process, Key: key, Lease: c.Turn.Lease, Deadline: c.Turn.Deadline, Poll: c.Turn.Poll,
		MaxRunning: c.Turn.MaxRunning, Grace: c.ShutdownGrace, History: c.Turn.History, Changed: r.announceChange,
		Flows:    dispatch.FlowLimits{MaxRunning: c.Flows.MaxRunning, Trips: c.Flows.Trips, Rest: c.Flows.Rest},
		Observer: turnObserver{metrics, r.wakeDesk}, Logger: log,
	})
	r.readBack = gate.NewReadBack(gate.ReadBackConfig{
		Store: r.store, Sender: r.sender, Every: c.Turn.Poll, Patience: c.Turn.Patience, Wake: func() { r.dispatcher.Wake("local") },
		Observer: metrics, Logger: log,
	})
	r.own = ingest.NewOwn(ingest.OwnConfig{
		Store: r.store, Every: c.Turn.Poll, Changed: r.changed, Observer: metrics, Logger: log,
		Policy: ingest.OwnPolicy{
			Flight: c.Evolution.Timeout + c.Turn.Lease, Silence: c.Human.PhoneSilence, Greetings: c.Human.Greetings,
			GreetingWindow: c.Human.GreetingWindow, ForeignIsHuman: c.Human.ForeignSender == "human",
		},
	})
	r.merger = ingest.NewMerger(ingest.MergerConfig{
		Store: r.store, Every: c.Turn.Poll, Changed: r.changed, Observer: metrics, Logger: log,
	})
	r.media = ingest.NewMedia(ingest.MediaConfig{
		Store: r.store, Fetcher: r.sender, MaxBytes: c.Media.MaxBytes, Tries: c.Media.Tries, Every: 3 * c.Turn.Poll, Ready: r.wake,
		Observer: metrics, Logger: log,
	})
	hooks := ingest.New(ingest.Config{
		Store: r.store, Decode: evolution.Decode, Verify: evolution.VerifyToken,
		Window: conversation.Window{Quiet: c.Turn.Quiet, Cap: c.Turn.Cap, Media: c.Turn.Media, Typing: c.Turn.Typing},
		Wake:   r.wake, Own: r.own.Wake, Happened: r.monitor.Happened, Attached: r.media.Wake, Observer: metrics, Logger: log,
	})
	r.sweeper = channel.NewSweeper(channel.SweepConfig{
		Store: r.store, Phone: r.sender, Receive: hooks.Receive, Every: c.Channel.Sweep, Poll: 5 * c.Turn.Poll, Logger: log,
	})
	r.server = server.New(server.Config{
		Ingest:       hooks,
		SecretHeader: evolution.SecretHeader, MaxBodyBytes: c.Hooks.MaxBodyBytes, Desk: deskHooks,
		Checks: []server.Check{
			{Name: "database", Test: r.store.Ping},
			{Name: "schema", Test: r.store.CheckSchema},
		},
		API: server.APIConfig{
			Store: r.store, Locker: r.locker(), Lines: r.store, Connector: r.sender, Changed: r.changed, Announced: r.announced,
			MaxTurn: c.API.MaxTurn, Rate: c.API.Rate, Burst: c.API.Burst,
		},
		Version: version, Metrics: metrics, Logger: log,
	})
	return r, nil
}

// locker is Redis's, and the database's while Redis is away.
func (r *router) locker() conversation.Locker {
	if r.redis == nil {
		return r.store.Leases()
	}
	return conversation.FallbackLocker{First: redis.NewLocker(r.redis, r.log), Second: r.store.Leases()}
}

// changed tells all replicas that a conversation has another owner, or a turn its answer.
func (r *router) changed() {
	r.dispatcher.Check()
	r.dispatcher.Wake("local")
	r.announceChange()
}

// announceChange tells the other replicas.
func (r *router) announceChange() {
	r.wakeDesk()
	if r.waker != nil {
		r.waker.WakeKind(redis.Owner)
	}
}

// announced tells the other replicas that an agent said how it is.
func (r *router) announced() {
	if r.waker != nil {
		r.waker.WakeKind(redis.Presence)
	}
}

// woken acts on what another replica announced.
func (r *router) woken(k redis.Kind) {
	if k == redis.Owner {
		r.dispatcher.Check()
	}
	r.dispatcher.Wake("redis")
	r.wakeDesk()
}

// wake tells this process first and the others as soon as Redis does.
func (r *router) wake() {
	r.dispatcher.Wake("local")
	r.wakeDesk()
	if r.waker != nil {
		r.waker.Wake()
	}
}

func (r *router) openRows(ctx context.Context) (server.OpenRows, error) {
	st, err := r.store.Stats(ctx)
	return server.OpenRows{Pending: st.Pending, OldestPending: st.OldestPending, Turns: st.Turns, Parts: st.Parts,
		DeadLetters: st.DeadLetters, Mirror: st.Mirror, OldestMirror: st.OldestMirror}, err
}

// serve runs until ctx ends, which is a clean shutdown, or something makes it impossible to go on.
func serve(ctx context.Context, c serveConfig, log *slog.Logger) error {
	r, err := newRouter(c, log)
	if err != nil {
		return err
	}
	defer r.close()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen on %q: %w; is another router running, or is the port taken?", c.Listen, err)
	}
	httpServer := r.server.HTTP()
	serving := make(chan error, 1)
	go func() { serving <- httpServer.Serve(r.server.Bound(listener)) }()
	log.InfoContext(ctx, "listening", "address", listener.Addr().String(), "version", version, "boot", r.process.Boot)

	err = r.start(ctx)
	if err == nil {
		err = r.work(ctx, serving)
	}
	// Hooks are served until the turns are through: what they store, another replica or the next start takes up.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpShutdownTimeout)
	defer cancel()
	if shutErr := httpServer.Shutdown(closing); shutErr != nil && err == nil {
		err = fmt.Errorf("close http server: %w", shutErr)
	}
	log.InfoContext(ctx, "stopped")
	return err
}

// start waits for the database, checks the schema and takes the instance's slot. Until then hooks get 503: a webhook must
// not be written to tables of another version.
func (r *router) start(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		err := r.store.CheckSchema(ctx)
		if errors.Is(err, postgres.ErrSchema) {
			return err // waiting does not help
		}
		if err == nil {
			err = r.store.Boot(ctx, r.process)
		}
		if err == nil {
			break
		}
		if attempt == 1 && ctx.Err() == nil {
			r.log.ErrorContext(ctx, "database not reachable yet; webhooks are refused with 503 until it is", "err", err)
		}
		if !conversation.Pause(ctx, conversation.Backoff(attempt, 100*time.Millisecond, 2*time.Second)) {
			return nil
		}
	}
	// Migrations' check, configuration and command line have left garbage that an idle router keeps for long.
	debug.FreeOSMemory()
	r.server.Open()
	r.log.InfoContext(ctx, "ready")
	return nil
}

// work runs the background loops until ctx ends, the slot is lost or the HTTP server fails.
func (r *router) work(ctx context.Context, serving <-chan error) (err error) {
	working, stop := context.WithCancel(ctx)
	defer stop()
	var loops sync.WaitGroup
	loops.Go(func() { r.dispatcher.Run(working) })
	loops.Go(func() { r.readBack.Run(working) })
	loops.Go(func() { r.watch.run(working) })
	loops.Go(func() { r.own.Run(working) })
	loops.Go(func() { r.merger.Run(working) })
	loops.Go(func() { r.media.Run(working) })
	loops.Go(func() { r.monitor.Run(working) })
	loops.Go(func() { r.sweeper.Run(working) })
	loops.Go(func() { r.share(working) })
	loops.Go(func() { r.forget(working) })
	if r.desk != nil {
		loops.Go(func() { r.desk.Run(working) })
	}
	if r.waker != nil {
		loops.Go(func() { r.waker.Run(working, r.woken) })
	}
	select {
	case <-ctx.Done():
		r.log.InfoContext(ctx, "shutting down: no new turns, running ones finish or are handed back")
	case <-r.dispatcher.Superseded():
		err = fmt.Errorf("instance name %q: %w", r.process.Instance, conversation.ErrSuperseded)
	case serveErr := <-serving:
		if !errors.Is(serveErr, http.ErrServerClosed) {
			err = fmt.Errorf("serve http: %w", serveErr)
		}
	}
	r.server.Drain()
	stop()
	loops.Wait()
	return err
}

// replicaSilent is how long a replica that shows no sign of life still has its share of a channel's rate.
const replicaSilent = 30 * time.Second

// share finds out with how many replicas the channels' rate is shared.
func (r *router) share(ctx context.Context) {
	for {
		if n, err := r.store.Replicas(ctx, replicaSilent); err == nil {
			r.pace.Share(n)
		}
		if !conversation.Pause(ctx, replicaSilent/3) {
			return
		}
	}
}

// How long the answers to idempotency keys are kept, and how often old ones are looked for. A client that has not heard of its
// request for so long asks how things stand.
const (
	keysKept   = 7 * 24 * time.Hour
	forgetKeys = 10 * time.Minute
)

// forget removes what is kept for a while only.
func (r *router) forget(ctx context.Context) {
	for conversation.Pause(ctx, forgetKeys) {
		for {
			n, err := r.store.ForgetKeys(ctx, keysKept)
			if err != nil && ctx.Err() == nil {
				r.log.WarnContext(ctx, "old idempotency keys not removed", "err", err)
			}
			if err != nil || n == 0 {
				break
			}
		}
	}
}

func (r *router) close() {
	r.gate.Close()
	r.sender.Close()
	r.flow.Close()
	if r.chatwoot != nil {
		r.chatwoot.Close()
	}
	if r.redis != nil {
		if err := r.redis.Close(); err != nil {
			r.log.Debug("redis not closed cleanly", "err", err)
		}
	}
	r.store.Close()
}
