package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"plantao/cmd/plantao/text"
)

// passphraseBytes of randomness are far beyond what can be guessed, in front of which Pulumi puts
// a million rounds of PBKDF2.
const passphraseBytes = 32

// Where Pulumi looks for the passphrase.
const (
	passphraseEnv     = "PULUMI_CONFIG_PASSPHRASE"
	passphraseFileEnv = "PULUMI_CONFIG_PASSPHRASE_FILE"
)

func newPassphraseCommand(p *program) *cobra.Command {
	initialise := &cobra.Command{
		Use: "init", Short: p.text.Say(text.PassphraseInitShort), Long: codes(p, text.PassphraseInitLong), Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return runPassphraseInit(p) },
	}
	return group(p, "passphrase", text.PassphraseShort, initialise)
}

// passphrasePath is the default passphrase file. It is outside of the project, so that no copy of the
// project carries the key to its own secrets.
func passphrasePath() (string, error) {
	folder, err := os.UserConfigDir()
	if err != nil {
		return "", text.Because(err, text.PassphraseNoHome)
	}
	return filepath.Join(folder, "plantao", "passphrase"), nil
}

// runPassphraseInit makes the passphrase file where there is none. What exists is never touched.
func runPassphraseInit(p *program) error {
	if p.getenv(passphraseEnv) != "" {
		p.note(text.PassphraseFromEnv, passphraseEnv)
		return nil
	}
	path, err := passphrasePath()
	if err != nil {
		return err
	}
	// `make up` names the default file there; any other file is its owner's to make.
	if named := p.getenv(passphraseFileEnv); named != "" && named != path {
		if _, err := os.Stat(named); err != nil {
			return text.Because(err, text.PassphraseFileBroken, passphraseFileEnv, named)
		}
		p.note(text.PassphraseFromEnv, passphraseFileEnv)
		return nil
	}
	switch err := writeNew(path, newPassphrase()); {
	case errors.Is(err, fs.ErrExist):
		p.note(text.PassphraseKept, path)
		return nil
	case err != nil:
		return text.Because(err, text.PassphraseNotWritten, path)
	}
	p.note(text.PassphraseMade, path)
	return nil
}

func newPassphrase() string {
	raw := make([]byte, passphraseBytes)
	rand.Read(raw) // never fails: the runtime ends the process instead
	return base64.RawURLEncoding.EncodeToString(raw) + "\n"
}

// writeNew makes a file for its owner's eyes only. It is written aside and then linked: the link fails
// where a file exists, and a crash leaves no half a passphrase.
func writeNew(path, body string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	aside, err := os.CreateTemp(filepath.Dir(path), ".passphrase-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("write the file: %w", err)
	}
	defer os.Remove(aside.Name())
	_, err = aside.WriteString(body)
	if err := errors.Join(err, aside.Sync(), aside.Close()); err != nil {
		return fmt.Errorf("write the file: %w", err)
	}
	if err := os.Link(aside.Name(), path); err != nil {
		return fmt.Errorf("put the file in place: %w", err)
	}
	return nil
}
