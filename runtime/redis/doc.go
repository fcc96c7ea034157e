// Package redis carries wake-ups between replicas and keeps the conversation lock. It is an accelerator and nothing else:
// with Redis away, wrong, emptied or failed over, the router is slower and does nothing twice, because who may act is
// decided by the epoch in PostgreSQL, and every write is checked there.
//
// # What a failure costs
//
//	Redis refuses or resets   wake-ups are found by polling; a lock operation fails at once with ErrUnavailable
//	Redis answers nothing     the same after Config.Timeout; after three failures in a row a lock operation fails in
//	                          microseconds, and one batch a second tries Redis out
//	Redis comes back          the next try finds out; each change is reported once, by the Waker and by the Locker
//	data lost (FLUSHALL,      a second client may hold the same lock with the same fence: both work, the store takes the
//	restart, failover)        first result and refuses the second; the first learns of it when it renews
//	script lost               one more round trip, which brings it back
//	holder pauses past TTL    the lock is another's; its late release does nothing
//	holder dies               the lock is free after TTL, and at once to whoever comes with a higher epoch
//	round trip in doubt       an acquire may have been done: asking again with the same token keeps the lock, and nobody's
//	                          lock is free after TTL
//
// # The lock
//
// The lock of a conversation is the string key
//
//	router:lock:<tenant>:<conversation>  =  <fence>:<token>   with a TTL in milliseconds
//
// Fence is the epoch its holder read in the store, in decimal; token is the holder's random word. What an operation does
// depends on what is held:
//
//	held by:   nobody         own token           another, same fence   another, lower fence   a higher fence
//	Acquire    taken          kept, fence raised  HeldError             taken over             ErrStaleEpoch
//	Renew      ErrLockLost    TTL set anew        ErrLockLost           ErrLockLost            as its token says
//	Release    ErrLockLost    deleted             ErrLockLost           ErrLockLost            as its token says
//
// Nothing is ever deleted that was not compared first.
//
// # The script
//
// lua/lock.lua is the only code that touches a lock. One call does one step of each of up to 64 locks, in the order given,
// so that many callers share one round trip and one start of the interpreter; the steps do not depend on each other, and
// the error of one is that step's answer. It needs Redis 7 (SET with NX and GET), and one server: the keys of a call lie
// in different slots of a cluster.
//
// # Batches
//
// Nobody waits for company. A caller who finds no batch under way sends its operation at once, in its own goroutine; what
// is asked for meanwhile goes out together as the next batch. Order is kept: one batch is under way at a time. The end of
// a caller's context ends its wait: an operation not yet sent is dropped, and an acquire that succeeds later is released
// before anything else is done. Only who leads a batch waits for its end, at most Config.Timeout, and then knows.
package redis
