{{- define "kind" -}}
{{- $resource := first (index .Markers "kubebuilder:resource") -}}
## {{ .Name }}

{{ .Doc | replace "\n" " " }}

- Short name: `{{ join "`, `" $resource.ShortName }}`. Categories: `{{ join "`, `" $resource.Categories }}`.
- Columns: {{ template "columns" dict "of" . "priority" 0 }}. With `-o wide` also: {{ template "columns" dict "of" . "priority" 1 }}.
{{- with index .Markers "kubebuilder:selectablefield" }}
- Field selectors:{{ range . }} `{{ trimPrefix "." .JSONPath }}`{{ end }}.
{{- end }}
{{ end -}}
{{- define "columns" -}}
{{- $names := list -}}
{{- $priority := .priority -}}
{{- range index .of.Markers "kubebuilder:printcolumn" }}{{ if eq (int .Priority) $priority }}{{ $names = append $names (upper .Name) }}{{ end }}{{ end -}}
{{- join ", " $names -}}
{{- end -}}
