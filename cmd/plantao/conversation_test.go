package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"plantao/cmd/plantao/text"
	"plantao/runtime/conversation"
)

// TestWordsForEverything: a state or a verb the router can say has a word in the catalogue.
func TestWordsForEverything(t *testing.T) {
	for _, s := range conversation.States() {
		require.Contains(t, conversationStates, s)
	}
	for _, v := range append(conversation.Verbs(), conversation.VerbQueue, conversation.VerbInbound, conversation.VerbRecover,
		conversation.VerbMerge, conversation.VerbFollow) {
		require.Contains(t, verbWords, v)
	}
	p, _, _ := inMemory(t)
	for _, language := range text.Languages() {
		p.text = text.For(language)
		for _, s := range conversation.States() {
			require.NotEqual(t, string(s), p.stateWord(string(s)))
		}
	}
	require.Equal(t, "NEWSTATE", p.stateWord("NEW\x1bSTATE"), "one of a newer router is shown as it is")
}

func TestPrintable(t *testing.T) {
	require.Equal(t, "João da Silva 😀", printable("João\nda\tSilva 😀"))
	require.Equal(t, "[2Jx", printable("\x1b[2J\u202e\u009bx\x00"))
	require.Equal(t, "João", short("João", 4))
	require.Equal(t, "Joã…", short("João da", 4))
}

// TestPulumiOfSetup: in a new shell pulumi is not on PATH, but where `make setup` put it.
func TestPulumiOfSetup(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("PATH", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", cache)
	_, err := findPulumi()
	require.Error(t, err)
	aside := filepath.Join(cache, "plantao", "bin", "pulumi")
	require.NoError(t, os.MkdirAll(filepath.Dir(aside), 0o755))
	require.NoError(t, os.WriteFile(aside, []byte("#!/bin/sh\n"), 0o755))
	found, err := findPulumi()
	require.NoError(t, err)
	require.Equal(t, aside, found)
}

func TestNoPulumiSaysWhatToRun(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	p, _, errs := inMemory(t)
	p.getenv = func(name string) string { return map[string]string{routerURLEnv: "http://127.0.0.1:1"}[name] }
	require.Equal(t, exitFailed, run([]string{"conversation", "list", "--project", projectFolder(t)}, p))
	require.Contains(t, errs.String(), `make setup && eval "$(make env)"`)
}

// TestInterruptedBetweenAttempts: an operator who gives up is not kept waiting.
func TestInterruptedBetweenAttempts(t *testing.T) {
	p, out, _ := inMemory(t)
	p.getenv = func(name string) string {
		return map[string]string{routerURLEnv: "http://127.0.0.1:1", routerTokenEnv: "t"}[name]
	}
	p.backoff = func(int) time.Duration {
		require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGINT))
		return time.Hour
	}
	require.Equal(t, exitInterrupted, run([]string{"conversation", "take", "42", "--as", "ana"}, p))
	require.Empty(t, out.String())
}
