package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAptLockOfAnotherProgramIsAwaited(t *testing.T) {
	s, said := newTestSetup(t, map[string]string{})
	lock := filepath.Join(t.TempDir(), "lock")
	holder, release := startHolder(t, "SETUP_TEST_APT_LOCK="+lock)
	require.Equal(t, holder.Process.Pid, lockHolder([]string{"/nonexistent", lock}))

	done := make(chan error, 1)
	go func() { done <- s.awaitApt(t.Context(), []string{lock}, time.Minute) }()
	require.Eventually(t, func() bool { return strings.Contains(said.String(), "using apt") }, 10*time.Second, 10*time.Millisecond)
	release()
	require.NoError(t, <-done)
	require.Zero(t, lockHolder([]string{lock}))
}

func TestAptLockThatIsNeverFree(t *testing.T) {
	s, _ := newTestSetup(t, map[string]string{})
	lock := filepath.Join(t.TempDir(), "lock")
	startHolder(t, "SETUP_TEST_APT_LOCK="+lock)
	var told *toldError
	require.ErrorAs(t, s.awaitApt(t.Context(), []string{lock}, time.Millisecond), &told)
	require.Equal(t, keyAptStillBusy, told.key)
}

func TestInstallSaysWhatToRunWhereItMayNot(t *testing.T) {
	s, _ := newTestSetup(t, map[string]string{})
	for _, c := range []struct {
		sys  system
		want textKey
	}{
		{system{Pretty: "Fedora", Root: true}, keyPackagesOtherOS},
		{system{Pretty: "Debian", Debian: true}, keyPackagesByHand},
	} {
		var told *toldError
		require.ErrorAs(t, s.install(t.Context(), c.sys, []string{"redis-server"}), &told)
		require.Equal(t, c.want, told.key)
		require.Contains(t, told.args, "redis-server")
	}
}

func TestWriteNewLeavesWhatOthersWrote(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.d", "policy-rc.d")
	made, err := writeNew(path, policyBody)
	require.NoError(t, err)
	require.True(t, made)
	made, err = writeNew(path, policyBody)
	require.NoError(t, err)
	require.True(t, made, "left by a killed run of ours: removed like our own")

	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\nexit 0\n"), 0o755))
	made, err = writeNew(path, policyBody)
	require.NoError(t, err)
	require.False(t, made)
	body, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "#!/bin/sh\nexit 0\n", string(body))
}

func TestPackagesAreKnownByTheirPrograms(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "16", "bin", "initdb")
	p := neededPackage{Name: "postgresql", Programs: []string{filepath.Join(dir, "*", "bin", "initdb")}}
	require.False(t, p.there())
	require.NoError(t, os.MkdirAll(filepath.Dir(program), 0o755))
	require.NoError(t, os.WriteFile(program, nil, 0o644))
	require.False(t, p.there(), "not executable")
	require.NoError(t, os.Chmod(program, 0o755))
	require.True(t, p.there())
}

func TestFilesOfAKilledRunAreCleared(t *testing.T) {
	s, _ := newTestSetup(t, map[string]string{})
	ours, others := filepath.Join(t.TempDir(), "ours"), filepath.Join(t.TempDir(), "others")
	require.NoError(t, os.WriteFile(ours, []byte("body"), 0o755))
	require.NoError(t, os.WriteFile(others, []byte("of somebody else"), 0o755))
	require.NoError(t, s.clearLeftFiles(t.Context(), map[string]string{ours: "body", others: "body", ours + "x": "body"}))
	require.NoFileExists(t, ours)
	require.FileExists(t, others)
}
