// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/cli/watch/board"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// stream is what a command writes to, while a test reads.
type stream struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *stream) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(text)
}

func (s *stream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// world is a cluster, and a person who watches it.
type testCluster struct {
	t           *testing.T
	client      client.WithWatch
	env         *command.Environment
	out, errOut *stream
	code        chan command.ExitCode
}

func newTestCluster(t *testing.T, screen command.Screen, funcs interceptor.Funcs, objects ...client.Object) *testCluster {
	t.Helper()
	scheme, err := command.NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	byName := func(object client.Object) []string { return []string{object.GetName()} }
	w := &testCluster{
		t: t, out: &stream{}, errOut: &stream{}, code: make(chan command.ExitCode, 1),
		client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
			WithIndex(&velerov1.Backup{}, "metadata.name", byName).
			WithIndex(&velerov1.Restore{}, "metadata.name", byName).
			WithInterceptorFuncs(funcs).Build(),
	}
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: w.out, ErrOut: w.errOut}
	w.env = command.NewEnvironment(streams, screen, "velero")
	server := "http://127.0.0.1:1"
	w.env.Kube.APIServer = &server
	w.env.NewClient = func(*rest.Config) (client.WithWatch, error) { return w.client, nil }
	return w
}

// start runs `backup watch` or `restore watch` beside the test.
func (w *testCluster) start(ctx context.Context, args ...string) {
	root := Backup(w.env)
	if args[0] == "restore" {
		root = Restore(w.env)
	}
	go func() { w.code <- command.Execute(ctx, w.env, root, args[1:]) }()
}

func (w *testCluster) wantEnd(want command.ExitCode) {
	w.t.Helper()
	select {
	case code := <-w.code:
		if code != want {
			w.t.Errorf("exit code %d, want %d\n%s%s", code, want, w.out, w.errOut)
		}
	case <-time.After(time.Minute):
		w.t.Fatalf("it does not end\n%s%s", w.out, w.errOut)
	}
}

// waitFor waits until the stream has the texts, in that order.
func (w *testCluster) waitFor(s *stream, texts ...string) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		rest, found := s.String(), true
		for _, text := range texts {
			_, rest, found = strings.Cut(rest, text)
			if !found {
				break
			}
		}
		if found {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%q was not said:\n%s%s", texts, w.out, w.errOut)
		}
	}
}

func (w *testCluster) update(object client.Object) {
	w.t.Helper()
	if err := w.client.Update(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
}

func (w *testCluster) create(object client.Object) {
	w.t.Helper()
	if err := w.client.Create(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
}

func named(name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "velero", Name: name, UID: types.UID(name + "-uid"), Labels: labels}
}

func backupNamed(name string, phase velerov1.BackupPhase) *velerov1.Backup {
	return &velerov1.Backup{ObjectMeta: named(name, nil), Status: velerov1.BackupStatus{Phase: phase}}
}

// lasted has the backup end so long after its object was made.
func withDuration(backup *velerov1.Backup, took time.Duration) *velerov1.Backup {
	backup.CreationTimestamp = metav1.NewTime(time.Now().Add(-24 * time.Hour).Truncate(time.Second))
	ended := metav1.NewTime(backup.CreationTimestamp.Add(took))
	backup.Status.CompletionTimestamp = &ended
	return backup
}

func aVolume(name, backup, volume string, phase resticv1.VolumePhase) *resticv1.PodVolumeBackup {
	object := &resticv1.PodVolumeBackup{
		ObjectMeta: named(name, map[string]string{
			contract.LabelBackupName: contract.LabelValue(backup), contract.LabelBackupUID: contract.LabelValue(backup + "-uid"),
		}),
		Spec: resticv1.PodVolumeBackupSpec{
			Pod: corev1.ObjectReference{Namespace: "foo", Name: "web"}, Volume: volume, Node: "n1",
		},
	}
	object.Status.Phase = phase
	return object
}

func TestWatchLines(t *testing.T) {
	long := "a-backup-whose-name-is-longer-than-any-label-may-be-and-is-shortened-in-it"
	backup := backupNamed(long, velerov1.BackupPhaseInProgress)
	w := newTestCluster(t, command.Screen{}, interceptor.Funcs{}, backup,
		aVolume("other", "another", "other", resticv1.PhaseInProgress))
	w.start(t.Context(), "backup", "watch", long, "--interval=1s")
	w.waitFor(w.out, "backup "+long+": InProgress\n")

	volume := aVolume("1", long, "data", resticv1.PhaseNew)
	w.create(volume)
	w.waitFor(w.out, "foo/web/data: waiting for the agent on node n1\n", "1 volume: 1 waiting")
	volume.Status.Phase, volume.Status.Progress.TotalBytes = resticv1.PhaseInProgress, 4<<20
	w.update(volume)
	w.waitFor(w.out, "foo/web/data: InProgress on node n1\n", "foo/web/data: 0%, 0.0/4.0 MiB\n")
	volume.Status.Progress.BytesDone = 3 << 20
	w.update(volume)
	w.waitFor(w.out, "foo/web/data: 75%, 3.0/4.0 MiB")
	volume.Status.Phase, volume.Status.Progress.BytesDone, volume.Status.WarningCount = resticv1.PhaseCompleted, 4<<20, 1
	w.update(volume)
	w.waitFor(w.out, "foo/web/data: Completed: 4.0 MiB, 1 warning\n")
	backup.Status.Phase = velerov1.BackupPhaseCompleted
	w.update(backup)
	w.waitFor(w.out, "backup "+long+": Completed, 0 errors, 0 warnings\n", "1 volume: 1 done; 1 warning of volumes; 4.0 MiB\n")
	w.wantEnd(command.ExitOK)
	if text := w.out.String(); strings.Contains(text, "other") || strings.Contains(text, "\x1b") {
		t.Errorf("another backup's volumes or control characters are in:\n%s", text)
	}
	stamp := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ `)
	for line := range strings.Lines(w.out.String()) {
		if !stamp.MatchString(line) {
			t.Errorf("a line without its time: %q", line)
		}
	}
}

func TestWatchPicture(t *testing.T) {
	restore := &velerov1.Restore{
		ObjectMeta: named("r", nil), Status: velerov1.RestoreStatus{Phase: velerov1.RestorePhaseInProgress},
	}
	volume := &resticv1.PodVolumeRestore{
		ObjectMeta: named("1", map[string]string{
			contract.LabelRestoreName: "r", contract.LabelRestoreUID: "r-uid",
		}),
		Spec: resticv1.PodVolumeRestoreSpec{Pod: corev1.ObjectReference{Namespace: "foo", Name: "web"}, Volume: "data"},
	}
	volume.Status.Phase = resticv1.PhaseInProgress
	volume.Status.Progress = resticv1.VolumeProgress{TotalBytes: 4 << 20, BytesDone: 2 << 20}
	columns := 90
	screen := command.Screen{Terminal: true, Color: true, Size: func() (int, int) { return columns, 10 }}
	w := newTestCluster(t, screen, interceptor.Funcs{}, restore, volume)
	w.start(t.Context(), "restore", "watch", "r")
	w.waitFor(w.out, hideCursor, "\x1b[1mrestore r\x1b[0m", "=>\x1b[0m", " 50%", "2.0/4.0 MiB", startWrap, "\x1b[3A")

	volume.Status.Phase, volume.Status.Message = resticv1.PhaseFailed, "no room \x1b[5mleft"
	w.update(volume)
	w.waitFor(w.out, "\x1b[31mFailed\x1b[0m  no room ?[5mleft")
	restore.Status.Phase, restore.Status.Errors = velerov1.RestorePhasePartiallyFailed, 1
	w.update(restore)
	w.wantEnd(command.ExitProblemFound)
	last := w.out.String()
	last = last[strings.LastIndex(last, clearBelow)+len(clearBelow):]
	want := "\x1b[1mrestore r\x1b[0m  \x1b[31mPartiallyFailed\x1b[0m  \x1b[31m1 error\x1b[0m  0 warnings\n" +
		"\x1b[31m1 volume: 1 failed\x1b[0m\nfoo/web/data  \x1b[31mFailed\x1b[0m  no room ?[5mleft\n"
	if last != want {
		t.Errorf("in the end there is\n%q, want\n%q", last, want)
	}
	if said := w.errOut.String(); !strings.Contains(said, "velero -n velero restore describe r --details") {
		t.Errorf("it does not say where to look: %q", said)
	}
}

// TestPictureOnANarrowerTerminal makes the terminal narrower, which breaks the lines that are on it.
func TestPictureOnANarrowerTerminal(t *testing.T) {
	p := &screenView{drawnWidths: []int{90, 20, 0}}
	for columns, want := range map[int]string{100: "\r\x1b[3A", 45: "\r\x1b[4A", 44: "\r\x1b[5A", 10: "\r\x1b[12A"} {
		if got := p.toTop(columns); got != want {
			t.Errorf("on %d columns it goes back by %q, want %q", columns, got, want)
		}
	}
}

// TestPictureOnATerminalOfNoSize draws on one that says it has neither columns nor rows.
func TestPictureOnATerminalOfNoSize(t *testing.T) {
	for name, size := range map[string][2]int{"neither": {}, "columns alone": {100, 0}, "rows alone": {0, 30}} {
		var out, errOut bytes.Buffer
		p := &screenView{
			board: board.New(), out: &out, err: &errOut, size: func() (int, int) { return size[0], size[1] },
		}
		p.board.SetOperation(board.Operation{Kind: "backup", Name: "nightly", Phase: "InProgress"})
		const toTop = "\r\x1b[2A" // the heading, and what the volumes come to
		for what, draw := range map[string]func(){
			"another picture": func() { p.tick(time.Now()) }, "a notice": func() { p.notice("news") },
			"the end": func() { p.end(time.Now(), true) },
		} {
			p.tick(time.Now())
			out.Reset()
			draw()
			if !strings.Contains(out.String(), toTop) {
				t.Errorf("%s: %s begins by %q, want %q", name, what, out.String(), toTop)
			}
			p.drawnWidths = nil
		}
	}
}

// TestPictureLeavesTheCursor stops the program between two pictures, as Ctrl-Z does, or a panic.
func TestPictureLeavesTheCursor(t *testing.T) {
	var out bytes.Buffer
	p := &screenView{board: board.New(), out: &out, size: func() (int, int) { return 80, 24 }}
	p.tick(time.Now())
	if text := out.String(); strings.LastIndex(text, showCursor) < strings.LastIndex(text, hideCursor) ||
		strings.LastIndex(text, startWrap) < strings.LastIndex(text, stopWrap) {
		t.Errorf("a picture leaves the terminal with %q", text)
	}
}

func TestWatchEnds(t *testing.T) {
	backup := func(phase velerov1.BackupPhase) []client.Object { return []client.Object{backupNamed("b", phase)} }
	with := func(objects []client.Object, more ...client.Object) []client.Object { return append(objects, more...) }
	orphan := aVolume("2", "b", "old", resticv1.PhaseFailed)
	orphan.Labels[contract.LabelBackupUID] = "of-another-one"
	forgotten := aVolume("3", "b", "forgotten", resticv1.PhaseFailed)
	forgotten.Spec.Forget = true
	for name, test := range map[string]struct {
		objects []client.Object
		args    []string
		code    command.ExitCode
		out     []string
		err     []string
		not     string
	}{
		"one that is done is shown at once": {
			objects: with(backup(velerov1.BackupPhaseCompleted), aVolume("1", "b", "data", resticv1.PhaseCompleted), orphan,
				forgotten),
			args: []string{"b"}, out: []string{"backup b  Completed", "1 volume: 1 done", "foo/web/data  Completed"},
		},
		"one that Velero found in the bucket has another UID": {
			objects: with(backup(velerov1.BackupPhaseCompleted), orphan, forgotten),
			args:    []string{"b"}, code: command.ExitProblemFound, out: []string{"1 volume: 1 failed", "foo/web/old  Failed"},
		},
		"one that failed": {
			objects: backup(velerov1.BackupPhaseFailedValidation), args: []string{"b"}, code: command.ExitProblemFound,
			out: []string{"FailedValidation"}, err: []string{"velero -n velero backup logs b"},
		},
		"one without volumes": {
			objects: backup(velerov1.BackupPhaseCompleted), args: []string{"b"},
			out: []string{"0 volumes"}, err: []string{"velero-restic plan NAMESPACE"},
		},
		"one without volumes that ended with errors": {
			objects: with(nil, withDuration(backupNamed("b", velerov1.BackupPhasePartiallyFailed), time.Hour)), args: []string{"b"},
			code: command.ExitProblemFound, err: []string{"none of its volumes was selected for restic", "velero-restic plan NAMESPACE"},
		},
		"one that Velero found in the bucket, of another cluster": {
			objects: with(nil, withDuration(backupNamed("b", velerov1.BackupPhaseCompleted), -time.Hour)), args: []string{"b"},
			out: []string{"0 volumes"}, err: []string{
				"this cluster has no PodVolumeBackups of it", "velero-restic repo snapshots NAME --backup b",
			}, not: "selected for restic",
		},
		"one that Velero refused, and so without volumes": {
			objects: backup(velerov1.BackupPhaseFailedValidation), args: []string{"b"}, code: command.ExitProblemFound, not: "NAME",
		},
		"one that is being deleted": {
			objects: backup(velerov1.BackupPhaseDeleting), args: []string{"b"}, code: command.ExitProblemFound, out: []string{"Deleting"},
		},
		"one that goes on for longer than one cares to wait": {
			objects: backup(velerov1.BackupPhaseInProgress), args: []string{"b", "--timeout=1s"}, code: command.ExitTimeout,
			err: []string{"backup b is still InProgress, and --timeout has passed", "the backup continues", "backup watch b"},
		},
		"one that does not exist": {
			objects: backup(velerov1.BackupPhaseCompleted), args: []string{"c"}, code: command.ExitFailure,
			err: []string{`there is no backup "c" in namespace velero`, "there are: b"},
		},
		"without any backup": {args: []string{"c"}, code: command.ExitFailure, err: []string{"none exists"}},
		"two":                {args: []string{"b", "c"}, code: command.ExitUsage, err: []string{"one backup, and there are 2"}},
		"no time":            {args: []string{"b", "--interval=0s"}, code: command.ExitUsage, err: []string{"--interval"}},
		"less time than none": {
			args: []string{"b", "--timeout=-1s"}, code: command.ExitUsage, err: []string{"--timeout must not be negative"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTestCluster(t, command.Screen{}, interceptor.Funcs{}, test.objects...)
			w.start(t.Context(), append([]string{"backup", "watch"}, test.args...)...)
			w.wantEnd(test.code)
			w.waitFor(w.out, test.out...)
			w.waitFor(w.errOut, test.err...)
			if test.not != "" && strings.Contains(w.errOut.String(), test.not) {
				t.Errorf("it says %q: %s", test.not, w.errOut)
			}
			if strings.Contains(w.out.String(), "forgotten") {
				t.Errorf("a deleted backup's volume is shown:\n%s", w.out)
			}
		})
	}
}

func TestWatchIsStopped(t *testing.T) {
	screen := command.Screen{Terminal: true, Size: func() (int, int) { return 80, 24 }}
	w := newTestCluster(t, screen, interceptor.Funcs{}, backupNamed("b", velerov1.BackupPhaseInProgress))
	ctx, stop := context.WithCancel(t.Context())
	w.start(ctx, "backup", "watch", "b")
	w.waitFor(w.out, "backup b")
	stop()
	w.wantEnd(command.ExitInterrupted)
	w.waitFor(w.errOut, "the backup continues; to follow it again: velero-restic backup watch b")
	if text := w.out.String(); !strings.HasSuffix(text, showCursor) {
		t.Errorf("it leaves the terminal without its cursor: %q", text)
	}
}

func TestWatchSeesTheDeletion(t *testing.T) {
	backup := backupNamed("b", velerov1.BackupPhaseInProgress)
	w := newTestCluster(t, command.Screen{}, interceptor.Funcs{}, backup)
	w.start(t.Context(), "backup", "watch", "b")
	w.waitFor(w.out, "InProgress")
	if err := w.client.Delete(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	w.wantEnd(command.ExitFailure)
	w.waitFor(w.errOut, "backup b was deleted")
}

// TestWatchOutlivesTheAPIServer has every watch break and lists fail, after they had worked once.
func TestWatchOutlivesTheAPIServer(t *testing.T) {
	var mu sync.Mutex
	away, watches := false, []apiwatch.Interface{}
	funcs := interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			mu.Lock()
			defer mu.Unlock()
			if away {
				return errors.New("connection\n\x1brefused")
			}
			return c.List(ctx, list, opts...)
		},
		Watch: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption,
		) (apiwatch.Interface, error) {
			mu.Lock()
			defer mu.Unlock()
			watcher, err := c.Watch(ctx, list, opts...)
			watches = append(watches, watcher)
			return watcher, err
		},
	}
	backup := backupNamed("b", velerov1.BackupPhaseInProgress)
	w := newTestCluster(t, command.Screen{}, funcs, backup)
	w.start(t.Context(), "backup", "watch", "b")
	w.waitFor(w.out, "InProgress")
	for watching := false; !watching; time.Sleep(10 * time.Millisecond) {
		mu.Lock()
		if watching = len(watches) == 2; watching {
			away = true
			watches[0].Stop()
			watches[1].Stop()
		}
		mu.Unlock()
	}
	w.waitFor(w.errOut, "the API server does not answer (connection ?refused); the backup continues; retrying")
	w.create(aVolume("1", "b", "data", resticv1.PhaseCompleted))
	backup.Status.Phase = velerov1.BackupPhaseCompleted
	w.update(backup)
	mu.Lock()
	away = false
	mu.Unlock()
	w.wantEnd(command.ExitOK)
	w.waitFor(w.errOut, "the API server answers again")
	w.waitFor(w.out, "foo/web/data: Completed", "backup b: Completed")
}

func TestWatchWithoutRights(t *testing.T) {
	forbidden := func(resource string) error {
		return apierrors.NewForbidden(schema.GroupResource{Group: "x", Resource: resource}, "", fmt.Errorf(
			"User %q cannot list resource %q in API group %q in the namespace %q", "u", resource, "x", "velero"))
	}
	for name, funcs := range map[string]interceptor.Funcs{
		"to read Velero's objects": {Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object,
			...client.GetOption,
		) error {
			return forbidden("backups")
		}},
		"to list ours": {List: func(_ context.Context, c client.WithWatch, list client.ObjectList,
			opts ...client.ListOption,
		) error {
			if _, ours := list.(*resticv1.PodVolumeBackupList); ours {
				return forbidden("podvolumebackups")
			}
			return c.List(t.Context(), list, opts...)
		}},
		"to watch Velero's objects, which one may list": {Watch: func(_ context.Context, c client.WithWatch,
			list client.ObjectList, opts ...client.ListOption,
		) (apiwatch.Interface, error) {
			if _, velero := list.(*velerov1.BackupList); velero {
				return nil, forbidden("backups")
			}
			return c.Watch(t.Context(), list, opts...)
		}},
		"to watch ours, which one may list": {Watch: func(_ context.Context, c client.WithWatch, list client.ObjectList,
			opts ...client.ListOption,
		) (apiwatch.Interface, error) {
			if _, ours := list.(*resticv1.PodVolumeBackupList); ours {
				return nil, forbidden("podvolumebackups")
			}
			return c.Watch(t.Context(), list, opts...)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTestCluster(t, command.Screen{}, funcs, backupNamed("b", velerov1.BackupPhaseInProgress))
			w.start(t.Context(), "backup", "watch", "b")
			w.wantEnd(command.ExitFailure)
			w.waitFor(w.errOut, "forbidden", "next:", "permission to list resource")
			if strings.Contains(w.errOut.String(), "retrying") {
				t.Errorf("it tries again: %s", w.errOut)
			}
		})
	}
}

// TestWatchGivesUp has an API server that lists and, after the first time, does not watch any more.
func TestWatchGivesUp(t *testing.T) {
	for name, test := range map[string]struct {
		failure error
		says    string
		least   time.Duration
		most    time.Duration
	}{
		"what may pass is waited for": {
			errors.New("no watch today"), "the API server has not answered for 3m0s", 3 * time.Minute, 4 * time.Minute,
		},
		"what will not pass is not": {
			apierrors.NewMethodNotSupported(schema.GroupResource{Resource: "backups"}, "watch"), "watch is not supported", 0,
			10 * time.Second,
		},
		"a kind that is gone is not": {
			apierrors.NewGenericServerResponse(404, "get", schema.GroupResource{Group: "velero.io", Resource: "backups"}, "",
				"404 page not found", 0, true), "Velero is not installed", 0, 10 * time.Second,
		},
		"a right that is gone is not": {
			apierrors.NewForbidden(schema.GroupResource{Resource: "backups"}, "", errors.New("no")), "forbidden", 0,
			10 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opened := map[string]bool{}
				var mu sync.Mutex
				funcs := interceptor.Funcs{Watch: func(ctx context.Context, c client.WithWatch, list client.ObjectList,
					opts ...client.ListOption,
				) (apiwatch.Interface, error) {
					mu.Lock()
					defer mu.Unlock()
					kind := fmt.Sprintf("%T", list)
					if opened[kind] {
						return nil, test.failure
					}
					opened[kind] = true
					watcher := apiwatch.NewFake()
					time.AfterFunc(time.Second, watcher.Stop)
					return watcher, nil
				}}
				w, started := newTestCluster(t, command.Screen{}, funcs, backupNamed("b", velerov1.BackupPhaseInProgress)), time.Now()
				w.start(t.Context(), "backup", "watch", "b")
				if code := <-w.code; code != command.ExitFailure {
					t.Errorf("exit code %d", code)
				}
				if took := time.Since(started); took < test.least || took > test.most {
					t.Errorf("it took %s", took)
				}
				said := w.errOut.String()
				notices := strings.Count(said, "retrying")
				if !strings.Contains(said, test.says) || notices > 1 || strings.Contains(said, "answers again") {
					t.Errorf("it says %q, want %q", said, test.says)
				}
			})
		})
	}
}

func TestCompletion(t *testing.T) {
	w := newTestCluster(t, command.Screen{}, interceptor.Funcs{}, backupNamed("b", ""), backupNamed("c", ""))
	w.start(t.Context(), "backup", "__complete", "watch", "")
	w.wantEnd(command.ExitOK)
	w.waitFor(w.out, "b\nc\n:4\n")
	silent := interceptor.Funcs{List: func(ctx context.Context, _ client.WithWatch, _ client.ObjectList,
		_ ...client.ListOption,
	) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	w = newTestCluster(t, command.Screen{}, silent)
	started := time.Now()
	w.start(t.Context(), "backup", "__complete", "watch", "")
	w.wantEnd(command.ExitOK)
	if took := time.Since(started); took > 30*time.Second {
		t.Errorf("Tab keeps one waiting for %s", took)
	}
}
