//go:build failpoints && clockjump

package failpoint

import (
	"sync/atomic"
	"time"
	_ "unsafe" // for go:linkname
)

// wallJump is added to the wall clock's seconds by time.Now, in a binary built with the patched time package of test/fault.
//
//go:linkname wallJump time.wallJump
var wallJump int64

// jump moves the wall clock of this process, for every package in it. The monotonic clock goes on, as it does when the
// machine's clock is set.
func jump(off time.Duration) { atomic.StoreInt64(&wallJump, int64(off/time.Second)) }
