// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package reference

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestConstants(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		want   []group
		fails  bool
	}{
		"a group": {
			source: "// Two of them. More.\nconst (\n\t// KeyA: the first,\n\t// over two lines.\n\tKeyA = \"a\"\n" +
				"\t// KeyB: the second.\n\tKeyB kind = \"b\"\n\t// KeyC: a number.\n\tKeyC = 3\n\tOther = \"o\"\n)",
			want: []group{{doc: "Two of them. More.", constants: []constant{
				{name: "KeyA", value: "a", doc: "the first, over two lines."}, {name: "KeyB", value: "b", doc: "the second."},
			}}},
		},
		"a single constant": {
			source: "// KeyA: the only one.\nconst KeyA = \"a\"",
			want:   []group{{constants: []constant{{name: "KeyA", value: "a", doc: "the only one."}}}},
		},
		"a constant without a comment":       {source: "const KeyA = \"a\"", fails: true},
		"a comment that is about a group":    {source: "// Some.\nconst (\n\tKeyA = \"a\"\n)", fails: true},
		"a comment that begins another way":  {source: "// The first.\nconst KeyA = \"a\"", fails: true},
		"constants with another prefix only": {source: "const Other = \"o\""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.go")
			if err := os.WriteFile(file, []byte("package x\n\n"+c.source+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := constants(file, "Key")
			if (err != nil) != c.fails {
				t.Fatalf("got %v", err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(group{}, constant{})); diff != "" && !c.fails {
				t.Error(diff)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	registry := &Registry{}
	registry.MustRegister(
		prometheus.NewCounterVec(prometheus.CounterOpts{Name: "c_total", Help: `a "quoted" {text}`}, []string{"x", "y"}),
		prometheus.NewGauge(prometheus.GaugeOpts{Name: "a", Help: "A gauge."}),
		prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "g", Help: "vector"}, nil),
		prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", Help: "histogram"}),
		own{prometheus.NewDesc("o_total", "own", []string{"z"}, nil)},
		own{prometheus.NewDesc("o", "own", nil, nil)},
	)
	got, err := registry.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	want := "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n" +
		"| `a` | gauge | | A gauge. |\n" +
		"| `c_total` | counter | `x`, `y` | A \"quoted\" {text}. |\n" +
		"| `g` | gauge | | Vector. |\n" +
		"| `h` | histogram | | Histogram. |\n" +
		"| `o` | gauge | | Own. |\n" +
		"| `o_total` | counter | `z` | Own. |\n"
	if !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant at its end\n%s", got, want)
	}
}

// own is a collector that creates its metrics when it collects.
type own struct{ desc *prometheus.Desc }

func (o own) Describe(to chan<- *prometheus.Desc) { to <- o.desc }
func (o own) Collect(chan<- prometheus.Metric)    {}

func TestMetricsRefuseConstantLabels(t *testing.T) {
	registry := &Registry{}
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "a", ConstLabels: prometheus.Labels{"x": "1"}}))
	if got, err := registry.Metrics(); err == nil {
		t.Errorf("a label that the page would not name gives\n%s", got)
	}
}

func TestCLI(t *testing.T) {
	run := func(*cobra.Command, []string) {}
	root := &cobra.Command{Use: "tool", Short: "A tool"}
	root.PersistentFlags().StringP("namespace", "n", "velero", "the `name` of a|b")
	group := &cobra.Command{Use: "group", Short: "Only a group"}
	do := &cobra.Command{Use: "do NAME", Short: "short", Long: "Do it.", Example: "  tool group do x", Run: run}
	do.Flags().Var(&optional{}, "maybe", "whether")
	do.Flags().Bool("secret", false, "hidden")
	if err := do.Flags().MarkHidden("secret"); err != nil {
		t.Fatal(err)
	}
	group.AddCommand(do, &cobra.Command{Use: "ghost", Hidden: true, Run: run})
	root.AddCommand(group)
	got := CLI(root)
	want := "```text\nA tool\n```\n\n## Flags of every command\n\n" +
		"| flag | value | default | meaning |\n| --- | --- | --- | --- |\n" +
		"| `--namespace, -n` | name | `velero` | The name of a\\|b. |\n" +
		"\n## tool group do\n\n```text\ntool group do NAME [flags]\n\nDo it.\n```\n\nExamples:\n\n" +
		"```text\n  tool group do x\n```\n\n| flag | value | default | meaning |\n| --- | --- | --- | --- |\n" +
		"| `--maybe` | kind | | Whether. |\n"
	if !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant at its end\n%s", got, want)
	}
}

// optional is a flag that prints its missing value.
type optional struct{}

var _ pflag.Value = &optional{}

func (*optional) String() string   { return "<nil>" }
func (*optional) Set(string) error { return nil }
func (*optional) Type() string     { return "kind" }
