package diagnosis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"plantao/cmd/plantao/engine"
	"plantao/cmd/plantao/text"
)

const (
	gib = 1 << 30
	// minDiskBytes is where builds and databases begin to fail half-way.
	minDiskBytes = 2 * gib
	// labDiskBytes holds the lab's images with n8n's 2.9 GB and the layers while they are built;
	// registryDiskBytes holds the pulled ones.
	labDiskBytes      = 12 * gib
	registryDiskBytes = 6 * gib
	// testDiskBytes holds the modules and the build cache.
	testDiskBytes = 4 * gib
	// lowFiles is about what two generations of the n8n image's node_modules take.
	lowFiles = 400_000
	// lowMemoryBytes: the dev stack's services use about 3 GB at rest. A machine sold as 4 GB shows
	// less, since firmware and kernel keep some.
	lowMemoryBytes = 3700 << 20
	// maxSkew is how far Docker's machine may be from this one before timestamps mislead.
	maxSkew = 5 * time.Second
)

func size(bytes uint64) string { return fmt.Sprintf("%.1f GB", float64(bytes)/gib) }

func (m *Machine) docker(ctx context.Context) Finding {
	info, err := m.engineInfo(ctx)
	var unreachable *engine.UnreachableError
	switch {
	case errors.As(err, &unreachable):
		return m.noDocker(unreachable)
	case errors.Is(err, context.DeadlineExceeded):
		return fail(text.New(text.DockerSilent, m.Engine.Host()), text.New(text.DockerSilentFix))
	case err != nil:
		return fail(text.New(text.DockerBroken, err), text.New(text.DockerBrokenFix))
	}
	found := text.New(text.DockerFound, info.Version, info.API, info.StorageDriver, info.CgroupVersion, m.Engine.Host())
	if older(info.API, engine.OldestAPI) {
		return fail(found, text.New(text.DockerTooOldFix, engine.OldestAPI))
	}
	if info.StorageDriver == "vfs" {
		return warn(found, text.New(text.DockerVFSFix))
	}
	return ok(found)
}

func (m *Machine) noDocker(err *engine.UnreachableError) Finding {
	switch {
	case err.Denied:
		return fail(text.New(text.DockerDenied, err.Host), text.New(text.DockerDeniedFix))
	case m.Getenv("DOCKER_HOST") != "":
		return fail(text.New(text.DockerAway, err.Host), text.New(text.DockerHostFix))
	}
	if _, missing := m.LookPath("dockerd"); missing != nil {
		return fail(text.New(text.DockerAbsent, err.Host), text.New(text.DockerInstallFix))
	}
	return fail(text.New(text.DockerAway, err.Host), text.New(text.DockerStartFix))
}

// older compares API versions ("1.9" is older than "1.41").
func older(api, than string) bool {
	a, errA := strconv.Atoi(strings.TrimPrefix(api, "1."))
	b, errB := strconv.Atoi(strings.TrimPrefix(than, "1."))
	return errA == nil && errB == nil && a < b
}

func (m *Machine) disk(ctx context.Context) Finding {
	where, need, remote := m.diskNeed(ctx)
	if remote {
		return ok(text.New(text.DiskRemote, m.Engine.Host()))
	}
	space, err := m.Disk(where)
	if err != nil {
		return warn(text.New(text.LookFailed, err), text.New(text.DiskLookFix, where))
	}
	found := text.New(text.DiskFound, size(space.FreeBytes), where, size(need))
	switch {
	case space.FreeBytes < minDiskBytes:
		return fail(found, text.New(text.DiskFix))
	case space.FreeBytes < need:
		return warn(found, text.New(text.DiskFix))
	case space.TotalFiles > 0 && space.FreeFiles < lowFiles:
		return warn(text.New(text.DiskFiles, space.FreeFiles, where), text.New(text.DiskFix))
	}
	return ok(found)
}

// diskNeed is the folder that will fill and what it should have free. Before the first `make up` nobody
// knows whether images are pulled or built, so the larger need counts.
func (m *Machine) diskNeed(ctx context.Context) (where string, need uint64, remote bool) {
	if m.Purpose == Test {
		return m.Project, testDiskBytes, false
	}
	where, need = "/var/lib/docker", labDiskBytes
	if info, err := m.engineInfo(ctx); err == nil {
		if !m.Engine.Local() && !m.onThisMachine(info) {
			return "", 0, true
		}
		where = info.DataRoot
	}
	if prepared, err := m.preparedImages(); err == nil && prepared != nil && prepared.Source == "registry" {
		need = registryDiskBytes
	}
	return where, need, false
}

func (m *Machine) memory(context.Context) Finding {
	values, err := m.meminfo()
	if err != nil {
		return warn(text.New(text.LookFailed, err), text.New(text.MemoryLookFix))
	}
	total, swap, available := values["MemTotal"], values["SwapTotal"], values["MemAvailable"]
	found := text.New(text.MemoryFound, size(total), size(available), size(swap))
	if total < lowMemoryBytes && total+swap < lowMemoryBytes+2*gib {
		return warn(found, text.New(text.MemorySwapFix))
	}
	if total < lowMemoryBytes {
		return warn(found, text.New(text.MemoryFix))
	}
	return ok(found)
}

// meminfo are the kernel's memory figures in bytes.
func (m *Machine) meminfo() (map[string]uint64, error) {
	body, err := os.ReadFile(filepath.Join(m.Proc, "meminfo"))
	if err != nil {
		return nil, fmt.Errorf("read the kernel's memory figures: %w", err)
	}
	values := map[string]uint64{}
	for line := range strings.Lines(string(body)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		if kib, err := strconv.ParseUint(fields[1], 10, 64); err == nil {
			values[strings.TrimSuffix(fields[0], ":")] = kib << 10
		}
	}
	return values, nil
}

func (m *Machine) cpu(context.Context) Finding {
	found := text.New(text.CPUFound, m.CPUs)
	if m.CPUs < 2 {
		return warn(found, text.New(text.CPUFix))
	}
	return ok(found)
}

func (m *Machine) images(ctx context.Context) Finding {
	if m.Project == "" {
		return warn(text.New(text.ProjectMissing), text.New(text.ProjectMissingFix))
	}
	prepared, err := m.preparedImages()
	if err != nil {
		return fail(text.New(text.LookFailed, err), text.New(text.ImagesFix))
	}
	if prepared == nil {
		return warn(text.New(text.ImagesNone), text.New(text.ImagesFix))
	}
	if _, err := m.engineInfo(ctx); err != nil {
		return warn(text.New(text.ImagesUnknown, len(prepared.Images), prepared.Source), text.New(text.AfterDockerFix))
	}
	var missing []string
	for key, ref := range prepared.Images {
		has, err := m.Engine.HasImage(ctx, ref)
		if err != nil {
			return warn(text.New(text.LookFailed, err), text.New(text.ImagesFix))
		}
		if !has {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		sort.Strings(missing)
		return warn(text.New(text.ImagesMissing, prepared.Source, strings.Join(missing, ", ")), text.New(text.ImagesFix))
	}
	return ok(text.New(text.ImagesFound, len(prepared.Images), prepared.Source))
}

func (m *Machine) versions(context.Context) Finding {
	versions, err := m.Versions()
	if err != nil {
		return fail(text.New(text.LookFailed, err), text.New(text.VersionsFix))
	}
	table, err := m.Safe()
	if err != nil {
		return fail(text.New(text.LookFailed, err), text.New(text.VersionsFix))
	}
	var unsafe []string
	for _, safe := range table {
		pinned, ok := versions[safe.Component]
		if !ok {
			continue
		}
		allowed, err := safe.Allows(pinned.Version)
		if err != nil {
			return fail(text.New(text.LookFailed, err), text.New(text.VersionsFix))
		}
		if !allowed {
			unsafe = append(unsafe, fmt.Sprintf("%s %s (%s; %s)", safe.Component, pinned.Version,
				strings.Join(safe.Safe, " | "), strings.Join(safe.Records, ", ")))
		}
	}
	if len(unsafe) > 0 {
		return fail(text.New(text.VersionsUnsafe, strings.Join(unsafe, "; ")), text.New(text.VersionsFix))
	}
	return ok(text.New(text.VersionsFound, len(versions), len(table)))
}

func (m *Machine) clock(ctx context.Context) Finding {
	if info, err := m.engineInfo(ctx); err == nil && !info.Time.IsZero() {
		if skew := m.Now().Sub(info.Time).Abs(); skew > maxSkew {
			return warn(text.New(text.ClockSkew, skew.Round(time.Second).String()), text.New(text.ClockFix))
		}
	}
	synchronised, err := m.Clock()
	if err != nil {
		return warn(text.New(text.LookFailed, err), text.New(text.ClockFix))
	}
	if !synchronised {
		return warn(text.New(text.ClockFree, m.Now().UTC().Format(time.RFC3339)), text.New(text.ClockFix))
	}
	return ok(text.New(text.ClockFound, m.Now().UTC().Format(time.RFC3339)))
}
