// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-plugin"
	"github.com/sirupsen/logrus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework"
	biav2 "github.com/vmware-tanzu/velero/pkg/plugin/framework/backupitemaction/v2"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework/common"
	ibav1 "github.com/vmware-tanzu/velero/pkg/plugin/framework/itemblockaction/v1"
	riav2 "github.com/vmware-tanzu/velero/pkg/plugin/framework/restoreitemaction/v2"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	backupaction "github.com/vmware-tanzu/velero/pkg/plugin/velero/backupitemaction/v2"
	blockaction "github.com/vmware-tanzu/velero/pkg/plugin/velero/itemblockaction/v1"
	restoreaction "github.com/vmware-tanzu/velero/pkg/plugin/velero/restoreitemaction/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// host is the side of go-plugin that starts the plugin's process. In Velero, package clientmgmt hides it.
type host struct {
	t      *testing.T
	client *plugin.Client
	// stderr is what the plugin wrote there.
	stderr *output
}

// output is a buffer for concurrent use.
type output struct {
	mu      sync.Mutex
	content bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.content.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.content.String()
}

// newHost returns a host with Velero's configuration and the given changes. It does not start the plugin yet.
func newHost(t *testing.T, binary, namespace string, changes ...func(*plugin.ClientConfig)) *host {
	t.Helper()
	t.Setenv("KUBECONFIG", shared.kubeconfig)
	t.Setenv("VELERO_NAMESPACE", namespace)
	log := logrus.New()
	log.SetOutput(io.Discard)
	logger := common.ClientLogger(log)
	h := &host{t: t, stderr: &output{}}
	config := &plugin.ClientConfig{
		HandshakeConfig:  framework.Handshake(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Plugins: plugin.PluginSet{
			string(common.PluginKindPluginLister):        &framework.PluginListerPlugin{},
			string(common.PluginKindItemBlockAction):     ibav1.NewItemBlockActionPlugin(logger),
			string(common.PluginKindBackupItemActionV2):  biav2.NewBackupItemActionPlugin(logger),
			string(common.PluginKindRestoreItemActionV2): riav2.NewRestoreItemActionPlugin(logger),
		},
		Cmd:          exec.Command(binary),
		Stderr:       h.stderr,
		StartTimeout: time.Minute,
	}
	for _, change := range changes {
		change(config)
	}
	h.client = plugin.NewClient(config)
	t.Cleanup(h.client.Kill)
	return h
}

// start starts the plugin and returns its process ID.
func (h *host) start() int {
	h.t.Helper()
	if _, err := h.client.Client(); err != nil {
		h.t.Fatalf("starting the plugin: %v: %s", err, h.stderr)
	}
	return h.processID()
}

func (h *host) processID() int {
	h.t.Helper()
	id, err := strconv.Atoi(h.client.ID())
	if err != nil {
		h.t.Fatal(err)
	}
	return id
}

// dispense returns the client of one kind of action, and for all kinds but the lister that of the named action.
func dispense[T any](h *host, kind common.PluginKind, name string) T {
	h.t.Helper()
	protocol, err := h.client.Client()
	if err != nil {
		h.t.Fatal(err)
	}
	dispensed, err := protocol.Dispense(string(kind))
	if err != nil {
		h.t.Fatal(err)
	}
	if dispenser, ok := dispensed.(common.ClientDispenser); ok {
		dispensed = dispenser.ClientFor(name)
	}
	action, ok := dispensed.(T)
	if !ok {
		h.t.Fatalf("the client for %s %s is a %T", kind, name, dispensed)
	}
	return action
}

func (h *host) backupAction() backupaction.BackupItemAction {
	h.t.Helper()
	return dispense[backupaction.BackupItemAction](h, common.PluginKindBackupItemActionV2, "velero.io/restic")
}

// wantGone fails unless the process ends, is reaped, and is known to the client as ended.
func (h *host) wantGone(processID int) {
	h.t.Helper()
	path := filepath.Join("/proc", strconv.Itoa(processID))
	eventually(h.t, "the end of the plugin's process", func() bool {
		_, err := os.Stat(path)
		return errors.Is(err, fs.ErrNotExist) && h.client.Exited()
	})
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after a minute there is still not: %s", what)
		}
	}
}

func TestGoPluginHandshake(t *testing.T) {
	h := newHost(t, shared.plugin, "velero")
	processID := h.start()
	if protocol, version := h.client.Protocol(), h.client.NegotiatedVersion(); protocol != plugin.ProtocolGRPC ||
		version != 2 {
		t.Errorf("the plugin speaks %s in version %d, want grpc in version 2", protocol, version)
	}
	protocol, err := h.client.Client()
	if err != nil {
		t.Fatal(err)
	}
	if err := protocol.Ping(); err != nil {
		t.Error(err)
	}
	registered, err := dispense[framework.PluginLister](h, common.PluginKindPluginLister, "").ListPlugins()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, action := range registered {
		got = append(got, string(action.Kind)+" "+action.Name)
	}
	slices.Sort(got)
	want := []string{
		"BackupItemActionV2 velero.io/restic", "BackupItemActionV2 velero.io/restic-volume",
		"DeleteItemAction velero.io/restic", "ItemBlockAction velero.io/restic",
		"RestoreItemActionV2 velero.io/restic", "RestoreItemActionV2 velero.io/restic-resources",
		"RestoreItemActionV2 velero.io/restic-volume",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("registered actions differ (-want +got):\n%s", diff)
	}
	h.client.Kill()
	h.wantGone(processID)
}

func TestGoPluginRefusesOtherHosts(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*plugin.ClientConfig)
		// err is part of the client's error, stderr is part of what the plugin says to a person.
		err, stderr string
	}{
		"another value of the magic cookie": {
			change: func(c *plugin.ClientConfig) { c.MagicCookieValue = "goodbye" },
			err:    "Unrecognized remote plugin message", stderr: "This binary is a plugin.",
		},
		"another magic cookie": {
			change: func(c *plugin.ClientConfig) { c.MagicCookieKey = "TF_PLUGIN_MAGIC_COOKIE" },
			err:    "Unrecognized remote plugin message", stderr: "This binary is a plugin.",
		},
		"an older version of Velero's protocol": {
			change: func(c *plugin.ClientConfig) { c.ProtocolVersion = 1 },
			err:    "incompatible API version with plugin. Plugin version: 2, Client versions: [1]",
		},
		"a newer version of Velero's protocol": {
			change: func(c *plugin.ClientConfig) { c.ProtocolVersion = 3 },
			err:    "incompatible API version with plugin. Plugin version: 2, Client versions: [3]",
		},
		"net/rpc in place of gRPC": {
			change: func(c *plugin.ClientConfig) { c.AllowedProtocols = []plugin.Protocol{plugin.ProtocolNetRPC} },
			err:    `unsupported plugin protocol "grpc"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, shared.plugin, "velero", test.change)
			_, err := h.client.Start()
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("error is %v, want one with %q", err, test.err)
			}
			h.wantGone(h.processID())
			if !strings.Contains(h.stderr.String(), test.stderr) {
				t.Errorf("the plugin wrote %q, want %q in it", h.stderr, test.stderr)
			}
		})
	}
}

func TestGoPluginStartedByHand(t *testing.T) {
	const message = "This binary is a plugin. These are not meant to be executed directly.\n" +
		"Please execute the program that consumes these plugins, which will\n" +
		"load any plugins automatically\n"
	for name, environment := range map[string][]string{
		"without a magic cookie": nil,
		"with the wrong one":     {framework.Handshake().MagicCookieKey + "=goodbye"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			command := exec.Command(shared.plugin)
			command.Env, command.Stdout, command.Stderr = environment, &stdout, &stderr
			err := command.Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("the plugin ends with %v, want exit code 1", err)
			}
			if stdout.String() != "" || stderr.String() != message {
				t.Errorf("the plugin wrote %q and %q, want nothing and %q", stdout.String(), stderr.String(), message)
			}
		})
	}
}

// execution is a call of the BackupItemAction that waits for its volumes, since the pod has a hook.
type execution struct {
	after []velero.ResourceIdentifier
	err   error
}

// beginExecution labels the pod's claims and calls the BackupItemAction. It returns once the call waits.
func (s *scene) beginExecution(t *testing.T, h *host, pod *corev1.Pod) <-chan execution {
	t.Helper()
	block := dispense[blockaction.ItemBlockAction](h, common.PluginKindItemBlockAction, "velero.io/restic")
	if _, err := block.GetRelatedItems(item(t, pod), s.backup); err != nil {
		t.Fatal(err)
	}
	action, podItem := h.backupAction(), item(t, pod)
	done := make(chan execution, 1)
	go func() { done <- execute(action, podItem, s.backup) }()
	eventually(t, "two PodVolumeBackups", func() bool { return len(s.objects(t)) == 2 })
	select {
	case ended := <-done:
		t.Fatalf("the call ended before its volumes were done: %+v", ended)
	case <-time.After(2 * time.Second):
	}
	return done
}

func execute(action backupaction.BackupItemAction, pod runtime.Unstructured, backup *velerov1.Backup) execution {
	_, after, _, _, err := action.Execute(pod, backup)
	return execution{after, err}
}

func (s *scene) hookedPod(t *testing.T) *corev1.Pod {
	t.Helper()
	pod := s.pod(t, "web", nil)
	pod.Annotations["pre.hook.backup.velero.io/command"] = "/freeze"
	return pod
}

func wait(t *testing.T, call <-chan execution) execution {
	t.Helper()
	select {
	case ended := <-call:
		return ended
	case <-time.After(time.Minute):
		t.Fatal("the call has not ended after a minute")
		return execution{}
	}
}

// TestGoPluginEndsInMidCall ends the plugin's process while a call waits. The client gets an error, no process is left,
// and the same call to a new process continues with the same objects.
func TestGoPluginEndsInMidCall(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *host, int){
		"killed": func(t *testing.T, _ *host, processID int) {
			process, err := os.FindProcess(processID)
			if err != nil {
				t.Fatal(err)
			}
			if err := process.Kill(); err != nil {
				t.Fatal(err)
			}
		},
		"stopped": func(_ *testing.T, h *host, _ int) { h.client.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, "mid-call-"+name)
			pod := s.hookedPod(t)
			h := newHost(t, shared.plugin, s.velero)
			processID := h.start()
			call := s.beginExecution(t, h, pod)
			end(t, h, processID)
			if ended := wait(t, call); ended.err == nil || !strings.Contains(ended.err.Error(), "Unavailable") {
				t.Errorf("the call ended with %+v, want the error Unavailable", ended)
			}
			h.wantGone(processID)
			before := s.objects(t)
			s.playAgent(t)
			next := newHost(t, shared.plugin, s.velero)
			next.start()
			if ended := execute(next.backupAction(), item(t, pod), s.backup); ended.err != nil || len(ended.after) != 2 {
				t.Errorf("the repeated call ended with %+v, want two items and no error", ended)
			}
			if now := s.objects(t); len(now) != len(before) || now[0].UID != before[0].UID || now[1].UID != before[1].UID {
				t.Errorf("the repeated call left %d PodVolumeBackups, want the same two", len(now))
			}
		})
	}
}

// TestGoPluginPanic builds the plugin with a bug in one action. A panic there becomes an error of that call alone: the
// process, the other actions, and a call that is being made go on.
func TestGoPluginPanic(t *testing.T) {
	s := newScene(t, "panic")
	pod := s.hookedPod(t)
	h := newHost(t, buildWithBug(t), s.velero)
	processID := h.start()
	call := s.beginExecution(t, h, pod)
	broken := dispense[restoreaction.RestoreItemAction](h, common.PluginKindRestoreItemActionV2,
		"velero.io/restic-resources")
	for range 2 {
		_, err := broken.Execute(input(item(t, pod), &velerov1.Restore{}))
		if err == nil || !strings.Contains(err.Error(), "plugin panicked: a bug in this action") {
			t.Errorf("error is %v, want the panic", err)
		}
	}
	s.playAgent(t)
	if ended := wait(t, call); ended.err != nil || len(ended.after) != 2 {
		t.Errorf("the call beside the panic ended with %+v, want two items and no error", ended)
	}
	if h.client.Exited() || h.processID() != processID {
		t.Error("the plugin's process has ended")
	}
	h.client.Kill()
	h.wantGone(processID)
}

// buildWithBug builds the plugin with a panic in the action that leaves our own resources out of a restore.
func buildWithBug(t *testing.T) string {
	t.Helper()
	const correct = "return velero.NewRestoreItemActionExecuteOutput(input.Item).WithoutRestore(), nil"
	source, err := filepath.Abs("../../plugins/ownresources/action.go")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(content), correct) != 1 {
		t.Fatalf("%s does not have this line once: %s", source, correct)
	}
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, "action.go"), filepath.Join(dir, "overlay.json")
	replaced, err := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		changed: strings.Replace(string(content), correct, `panic("a bug in this action")`, 1), overlay: string(replaced),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, "velero-plugin-for-restic")
	if _, err := command("go", "build", "-overlay", overlay, "-o", binary, "../../plugins"); err != nil {
		t.Fatal(err)
	}
	return binary
}
