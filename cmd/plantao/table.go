package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// table writes rows in columns two spaces apart. Widths count characters without colour, which
// text/tabwriter does not.
func table(out io.Writer, rows [][]cell) {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.plain))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			line.WriteString(c.shown())
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.plain)+2))
			}
		}
		fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
	}
}

// cell is one field of a table; coloured is the same text in colour, or empty.
type cell struct{ plain, coloured string }

func (c cell) shown() string {
	if c.coloured != "" {
		return c.coloured
	}
	return c.plain
}

func cells(texts ...string) []cell {
	row := make([]cell, len(texts))
	for i, t := range texts {
		row[i] = cell{plain: t}
	}
	return row
}

// pad fills said with spaces up to width characters.
func pad(said string, width int) string {
	return said + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(said)))
}

// mebibytes is a size in the unit that memory limits are given in.
func mebibytes(bytes uint64) string { return fmt.Sprintf("%dM", (bytes+1<<19)>>20) }

// span is a duration in its two largest units: 45s, 3m20s, 5h12m, 3d4h.
func span(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
