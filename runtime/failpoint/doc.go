// Package failpoint marks the places where a router is killed, stopped or delayed on purpose, to see that nothing is lost and
// nothing said twice. Only a binary built with the tag failpoints has them: in any other Hit is empty and inlined away.
//
// With the tag, a process connects to the unix socket named by PLANTAO_FAILPOINTS and does what it is told there, a line each:
//
//	arm NAME ACTION N     at the Nth Hit(NAME) from now do ACTION, once: kill, stop (SIGSTOP) or a duration to wait, as 500ms
//	disarm                forget what is armed
//	clock DURATION        let the wall clock be so far off; needs the tag clockjump and a patched time package
//
// and says what it did, a line each, before it does it:
//
//	hello PID             after connecting
//	hit NAME ACTION
//	clock UNIXNANO        what the wall clock says now
package failpoint
