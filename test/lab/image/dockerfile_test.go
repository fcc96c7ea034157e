package image_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"plantao/test/lab/image"
)

const goodEnd = "\nLABEL org.opencontainers.image.version=1\nUSER 1000:1000\n"

func TestCheckDockerfileAccepts(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"base as argument":           "ARG BASE\nFROM ${BASE}" + goodEnd,
		"scratch":                    "FROM scratch" + goodEnd,
		"earlier stage":              "ARG BASE\nFROM ${BASE} AS build\nRUN true\nFROM build" + goodEnd,
		"command's own flag":         "FROM scratch\nRUN install x && busybox mount --mount-all" + goodEnd,
		"chown":                      "FROM scratch\nCOPY --chown=1:1 a b" + goodEnd,
		"continued line and comment": "FROM scratch\nRUN a \\\n # why\n && b" + goodEnd,
		"path of a secret":           "FROM scratch\nENV POSTGRES_PASSWORD_FILE=/run/plantao/pw" + goodEnd,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, errors.Join(image.CheckDockerfile([]byte(text))...))
		})
	}
}

func TestCheckDockerfileRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"named image":        {"FROM debian:12" + goodEnd, "line 1: FROM debian:12"},
		"moving tag":         {"FROM debian:latest" + goodEnd, "moving tag"},
		"undeclared base":    {"FROM ${BASE}" + goodEnd, "declare ARG BASE"},
		"mount":              {"FROM scratch\nRUN --mount=type=cache,target=/x true" + goodEnd, "--mount needs a newer builder"},
		"link":               {"FROM scratch\nCOPY --link a b" + goodEnd, "--link needs a newer builder"},
		"chmod":              {"FROM scratch\nCOPY --chown=1 --chmod=755 a b" + goodEnd, "--chmod needs a newer builder"},
		"heredoc":            {"FROM scratch\nRUN <<EOF\n" + goodEnd, "heredocs"},
		"url":                {"FROM scratch\nADD https://example.com/x /x" + goodEnd, "ADD of a URL"},
		"secret argument":    {"FROM scratch\nARG NPM_TOKEN" + goodEnd, "ARG NPM_TOKEN"},
		"secret variable":    {"FROM scratch\nENV A=1 DB_PASSWORD=x" + goodEnd, "ENV DB_PASSWORD"},
		"user by name":       {"FROM scratch\nLABEL org.opencontainers.image.version=1\nUSER node", "USER node"},
		"group by name":      {"FROM scratch\nLABEL org.opencontainers.image.version=1\nUSER 1000:node", "USER 1000:node"},
		"no user":            {"FROM scratch\nLABEL org.opencontainers.image.version=1", "no USER"},
		"no version":         {"FROM scratch\nUSER 1", "no LABEL"},
		"user of an earlier": {"FROM scratch AS a" + goodEnd + "FROM a", "no USER"},
		"empty":              {"# nothing", "no FROM"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, errors.Join(image.CheckDockerfile([]byte(c.text))...), c.want)
		})
	}
}
