// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// valid returns the options of an agent in its DaemonSet.
func valid(t *testing.T, arguments ...string) *Options {
	t.Helper()
	options := NewOptions([]string{
		"NODE_NAME=node-1", "VELERO_NAMESPACE=velero", "VELERO_SCRATCH_DIR=/tmp/scratch", "X=a=b",
	})
	flags := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	options.AddFlags(flags)
	if err := flags.Parse(append([]string{"--host-pods=" + t.TempDir()}, arguments...)); err != nil {
		t.Fatal(err)
	}
	return options
}

func TestOptions(t *testing.T) {
	options := valid(t)
	if err := options.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	if options.Node != "node-1" || options.Namespace != "velero" || options.ScratchDir != "/tmp/scratch" ||
		options.ProcessEnv["X"] != "a=b" {
		t.Errorf("of the environment came %+v", options)
	}
	if options.AllowStaticPassword {
		t.Error("the well-known password is allowed by default")
	}
	options = valid(t, "--node-name=node-2", "--namespace=backups", "--scratch-dir=/s", "--concurrency=7",
		"--retry-lock=3s", "--allow-static-password", "--log-format=json")
	if err := options.Validate(); err != nil || options.Node != "node-2" || options.Namespace != "backups" ||
		options.ScratchDir != "/s" || options.Concurrency != 7 || options.RetryLock != 3*time.Second ||
		!options.AllowStaticPassword || options.LogFormat != "json" {
		t.Errorf("of the flags came %+v, %v", options, err)
	}
	if got := NewOptions(nil); got.Node != "" || got.ScratchDir == "" || got.HostPods != "/host_pods" {
		t.Errorf("of nothing came %+v", got)
	}
}

func TestOptionsAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		flag, value string
		// want are parts of the message, beside the flag.
		want []string
	}{
		"no node":                          {"node-name", "", []string{"NODE_NAME", "spec.nodeName"}},
		"no namespace":                     {"namespace", "", []string{"VELERO_NAMESPACE"}},
		"nothing at a time":                {"concurrency", "0", []string{"0", "at least 1"}},
		"less than nothing at a time":      {"concurrency", "-1", []string{"-1", "at least 1"}},
		"a negative number of files":       {"read-concurrency", "-1", []string{"-1", "negative"}},
		"no wait for locks":                {"retry-lock", "0s", []string{"0s", "more than 0"}},
		"no time to stop":                  {"stop-grace", "-1s", []string{"-1s", "more than 0"}},
		"no wait for repositories":         {"repository-wait", "0s", []string{"0s", "more than 0"}},
		"progress all the time":            {"progress-interval", "0s", []string{"0s", "more than 0"}},
		"a level that there is not":        {"log-level", "loud", []string{`"loud"`, "debug, info, warn, error"}},
		"a format that there is not":       {"log-format", "xml", []string{`"xml"`, "text, json"}},
		"a folder of pods that is missing": {"host-pods", file + "-not", []string{"not a folder", "host-pods of DaemonSet"}},
		"a folder of pods that is a file":  {"host-pods", file, []string{"not a folder", "host-pods of DaemonSet"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := valid(t, "--"+c.flag+"="+c.value).Validate()
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, part := range append(c.want, "--"+c.flag) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}
