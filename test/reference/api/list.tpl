{{- define "gvList" -}}
<!-- Generated from api/v1 by make generate. Do not edit: change the doc comments there, or test/reference/api. -->
# API

Custom resources of group `restic.velero.io`, version `v1`, in Velero's namespace. The plugin and the agents create them;
users do not have to. Deleting one never deletes data. In a terminal,
`kubectl explain podvolumebackups.restic.velero.io.spec` prints the same. Fields have the names that Velero's own kinds
had in the releases that included restic.
{{ range . }}{{ $gv := . }}
{{- range $gv.SortedKinds }}{{ $kind := $gv.TypeForKind . }}
{{ template "kind" $kind }}
{{- range $kind.Members }}{{ if or (eq .Name "spec") (eq .Name "status") }}
### {{ .Type.Name }}

{{ template "type" .Type }}
{{- end }}{{ end }}
{{- end }}
## Types
{{ range $gv.SortedTypes }}{{ $name := .Name }}
{{- if and (not .GVK) .References (ne .Name "VolumeStatus") (not (has (trimSuffix "Spec" $name) $gv.Kinds)) (not (has (trimSuffix "Status" $name) $gv.Kinds)) }}
### {{ .Name }}

{{ template "type" . }}
{{- end }}{{ end }}
{{- end }}
## Labels and annotations

See [labels and annotations](reference/labels.md).

## Events

See [Events and conditions](reference/events.md).

## Metrics

See [metrics](reference/metrics.md).

## Which versions run

Each agent publishes its versions when it starts: in the metric `velero_restic_build_info`, and in a Lease in Velero's
namespace with the name of its pod. Reading it needs only the right to list Leases:
`kubectl -n velero get leases -l restic.velero.io/agent -o yaml`. The Lease shows what was started in the pod, not that it
still runs. The Lease `velero-restic-leader` names the node of the leader.

## Flags of the agent

See [flags of the agent](reference/agent.md).

## Keys of the plugin's ConfigMap

See [settings of the plugin](reference/plugin.md).
{{ end -}}
