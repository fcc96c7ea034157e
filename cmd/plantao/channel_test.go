package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"rsc.io/qr"

	"plantao/runtime/conversation"
)

// TestQRIsDrawnAsItIs: the drawing, read back module by module, is the code, in a light margin.
func TestQRIsDrawnAsItIs(t *testing.T) {
	const content = "2@abcdefghijklmnopqrstuvwxyz0123456789,ABCDEFGHIJKLMNOPQRSTUVWXYZ=,0123456789"
	code, err := qr.Encode(content, qr.L)
	require.NoError(t, err)
	for _, terminal := range []bool{false, true} {
		drawn, err := drawQR(content, terminal)
		require.NoError(t, err)
		require.Equal(t, terminal, strings.Contains(drawn, "\x1b"))
		drawn = strings.NewReplacer("\x1b[30;107m", "", "\x1b[0m", "").Replace(drawn)
		for row, line := range strings.Split(strings.TrimSuffix(drawn, "\n"), "\n") {
			modules := []rune(line)
			require.Len(t, modules, code.Size+2*quiet)
			for column, r := range modules {
				x, y := column-quiet, 2*row-quiet
				require.Equal(t, code.Black(x, y), r == '█' || r == '▀')
				require.Equal(t, code.Black(x, y+1), r == '█' || r == '▄')
			}
		}
	}
}

func TestAConnectionHasAWord(t *testing.T) {
	p, _, _ := inMemory(t)
	for _, s := range []conversation.ConnectionState{conversation.ConnectionUnknown, conversation.ConnectionOpen,
		conversation.ConnectionConnecting, conversation.ConnectionClosed, conversation.ConnectionRefused} {
		require.Contains(t, connectionWords, s)
	}
	require.Equal(t, "newer", p.connectionCell("newer").plain)
}
