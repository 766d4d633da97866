// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package scale

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/velero-restic/velero-plugin-for-restic/internal/inventory"
)

// environmentAlone names the variable with the kubeconfig for a process that does nothing but take stock.
const environmentAlone = "SCALE_ALONE_KUBECONFIG"

// footprint is what a process with an inventory took.
type footprint struct {
	Claims int
	Sync   time.Duration
	// Peak is the most memory that the process had by the end of the first look, After what it has when the collector
	// has run, in KiB, and Heap what is in use of it, in bytes.
	Peak, After int
	Heap        uint64
}

// alone takes stock once and tells what that took.
func alone(ctx context.Context, kubeconfig string, out io.Writer) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	i, err := inventory.New(config, inventory.Options{Namespace: veleroNamespace, ClaimsOnly: true, Log: logr.Discard()})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	begin := time.Now()
	go func() { ended <- i.Start(ctx) }()
	if err := i.WaitForSync(ctx); err != nil {
		return err
	}
	f := footprint{Sync: time.Since(begin), Claims: len(i.States(time.Now()))}
	if f.Peak, err = memory("VmHWM"); err != nil {
		return err
	}
	f.Heap = heap()
	debug.FreeOSMemory()
	if f.After, err = memory("VmRSS"); err != nil {
		return err
	}
	cancel()
	if err := <-ended; err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(f)
}

// heap returns how many bytes are in use.
func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // what has a finalizer goes at the second time
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// memory returns a number of KiB that the kernel tells of this process.
func memory(field string) (int, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kib int
		if _, err := fmt.Sscanf(line, field+": %d kB", &kib); err == nil {
			return kib, nil
		}
	}
	return 0, fmt.Errorf("looking for %s in /proc/self/status: it is not there", field)
}

// TestMemory starts a process that does nothing but take stock. The bounds are some three times what was measured,
// which docs/coverage.md states.
func TestMemory(t *testing.T) {
	process := exec.CommandContext(t.Context(), os.Args[0])
	process.Env = append(os.Environ(), environmentAlone+"="+shared.kubeconfig)
	process.Stderr = t.Output()
	output, err := process.Output()
	if err != nil {
		t.Fatal(err)
	}
	var f footprint
	if err := json.Unmarshal(output, &f); err != nil {
		t.Fatalf("%v in %q", err, output)
	}
	t.Logf("%d claims were read and decided about in %v; the process had at most %d MiB, then %d MiB; %.1f MiB are in "+
		"use, %d bytes for each claim", f.Claims, f.Sync.Round(time.Millisecond), f.Peak>>10, f.After>>10,
		float64(f.Heap)/(1<<20), f.Heap/uint64(f.Claims))
	if f.Claims != claims {
		t.Errorf("there are %d claims, want %d", f.Claims, claims)
	}
	const peak, used = 768 << 10, 256 << 20
	if f.Peak > peak {
		t.Errorf("the process took %d KiB, which is more than %d", f.Peak, peak)
	}
	if f.Heap > used {
		t.Errorf("%d bytes are in use, which is more than %d", f.Heap, used)
	}
}
