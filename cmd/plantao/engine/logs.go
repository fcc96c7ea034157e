package engine

import (
	"bufio"
	"bytes"
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
)

// maxFrameBytes bounds one frame of a log stream. Docker cuts messages at 16 KiB; a header that
// announces more than this is not one of a log stream.
const maxFrameBytes = 1 << 20

// maxLineBytes bounds a line put together from frames; a longer one comes in pieces of this size.
const maxLineBytes = 1 << 20

// errFrame marks bytes that are not a log stream, whatever else they are.
var errFrame = errors.New("not a frame header")

// Line is one line of a service's output.
type Line struct {
	Service string
	// At is when Docker received the line.
	At time.Time
	// Text is the line without its end.
	Text string
}

// LogRange says which lines are wanted.
type LogRange struct {
	// Since leaves out older lines; zero means from the first.
	Since time.Time
	// Tail is how many lines of each container at most; negative means all.
	Tail int
}

func (r LogRange) options(follow bool) container.LogsOptions {
	options := container.LogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: follow, Tail: "all"}
	if r.Tail >= 0 {
		options.Tail = fmt.Sprint(r.Tail)
	}
	if !r.Since.IsZero() {
		options.Since = fmt.Sprintf("%d.%09d", r.Since.Unix(), r.Since.Nanosecond())
	}
	return options
}

// stream is the log of one container, line after line.
type stream struct {
	service string
	body    io.ReadCloser
	read    *bufio.Reader
	raw     bool
	partial map[byte]*Line
}

// open starts reading a container's log; nil without an error when the container is gone.
func (e *Engine) open(ctx context.Context, c Container, options container.LogsOptions) (*stream, error) {
	body, err := e.api.ContainerLogs(ctx, c.ID, options)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, e.wrap(fmt.Sprintf("read the log of %s", c.Name), err)
	}
	return &stream{
		service: c.Service, body: body, read: bufio.NewReaderSize(body, 32<<10), raw: c.TTY, partial: map[byte]*Line{},
	}, nil
}

// next is the next line, or io.EOF. Frames are taken apart here, not by Docker's stdcopy: a line
// longer than 16 KiB arrives as several frames, each with a timestamp of its own before its text.
func (s *stream) next() (Line, error) {
	for {
		source, said, err := s.frame()
		if err != nil {
			return s.rest(err)
		}
		at, text := stamp(said)
		line := s.partial[source]
		if line == nil {
			line = &Line{Service: s.service, At: at}
			s.partial[source] = line
		}
		text, whole := bytes.CutSuffix(text, []byte("\n"))
		if whole {
			text = bytes.TrimSuffix(text, []byte("\r"))
		}
		line.Text += string(text)
		if whole || len(line.Text) >= maxLineBytes {
			delete(s.partial, source)
			return *line, nil
		}
	}
}

// rest gives a last line that has no end before the end of the stream is told.
func (s *stream) rest(err error) (Line, error) {
	for source, line := range s.partial {
		delete(s.partial, source)
		return *line, nil
	}
	return Line{}, err
}

// frame is the next piece of output and which of the container's streams it is from.
func (s *stream) frame() (source byte, said []byte, err error) {
	if s.raw {
		said, err = s.read.ReadBytes('\n')
		if len(said) > 0 {
			return 0, said, nil
		}
		return 0, nil, err
	}
	var header [8]byte
	if _, err := io.ReadFull(s.read, header[:]); err != nil {
		return 0, nil, ended(err)
	}
	size := binary.BigEndian.Uint32(header[4:])
	if header[0] > 3 || size > maxFrameBytes {
		return 0, nil, fmt.Errorf("read the log of %s: % x: %w", s.service, header, errFrame)
	}
	said = make([]byte, size)
	if _, err := io.ReadFull(s.read, said); err != nil {
		return 0, nil, ended(err)
	}
	return header[0], said, nil
}

// ended takes a stream cut in the middle, as at a stop of the engine, for its end.
func ended(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}

// stamp cuts Docker's timestamp from the head of a line; a line without one stays whole.
func stamp(said []byte) (time.Time, []byte) {
	head, text, found := bytes.Cut(said, []byte(" "))
	if !found {
		head, text = bytes.TrimRight(said, "\n"), []byte("\n")
	}
	at, err := time.Parse(time.RFC3339Nano, string(head))
	if err != nil {
		return time.Time{}, said
	}
	return at, text
}

// Logs hands the wanted lines of the containers to emit, in the order Docker received them. It stops
// with emit's error when that is not nil.
func (e *Engine) Logs(ctx context.Context, containers []Container, r LogRange, emit func(Line) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var merged byTime
	for _, c := range containers {
		opened, err := e.open(ctx, c, r.options(false))
		if err != nil {
			return err
		}
		if opened == nil {
			continue
		}
		defer opened.body.Close()
		if err := merged.advance(opened); err != nil {
			return err
		}
	}
	for merged.Len() > 0 {
		first := heap.Pop(&merged).(head)
		if err := emit(first.line); err != nil {
			return err
		}
		if err := merged.advance(first.from); err != nil {
			return err
		}
	}
	return nil
}

// head is the next line of a stream; byTime is a heap of them, oldest first.
type head struct {
	line Line
	from *stream
}

type byTime []head

func (h byTime) Len() int      { return len(h) }
func (h byTime) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h byTime) Less(i, j int) bool {
	if !h[i].line.At.Equal(h[j].line.At) {
		return h[i].line.At.Before(h[j].line.At)
	}
	return strings.Compare(h[i].line.Service, h[j].line.Service) < 0
}
func (h *byTime) Push(x any) { *h = append(*h, x.(head)) }
func (h *byTime) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// advance puts the stream's next line onto the heap; a stream at its end leaves.
func (h *byTime) advance(s *stream) error {
	line, err := s.next()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	heap.Push(h, head{line, s})
	return nil
}
