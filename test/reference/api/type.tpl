{{- define "type" -}}
{{- .Doc | replace "\n" " " }}
{{ with .Markers }}{{ range index . "kubebuilder:validation:XValidation" }}
Rule: {{ .Message }}.
{{ end }}{{ end }}
{{- if .EnumValues }}
| value | description |
| --- | --- |
{{ range .EnumValues -}}
| `{{ .Name }}` | {{ template "enum" .Doc }} |
{{ end -}}
{{- else if .Members }}
| field | description |
| --- | --- |
{{ range .Members -}}
| `{{ .Name }}` _{{ markdownRenderType .Type }}_{{ if not (index .Markers "optional") }}, required{{ end }} | {{ template "text" .Doc }}{{ with .Default }} Default: `{{ . }}`.{{ end }}{{ range .Validation }}{{ if not (or (hasPrefix "Enum" .) (hasPrefix "Optional" .) (hasPrefix "Required" .) (hasPrefix "MinLength" .)) }} {{ . }}.{{ end }}{{ end }} |
{{ end -}}
{{ end -}}
{{- end -}}
{{- define "text" -}}
{{- . | replace "\n" " " | replace "|" "\\|" -}}
{{- end -}}
{{- /* The comment of a value begins with the name of its constant, which is not the value. */ -}}
{{- define "enum" -}}
{{- $text := . | trim | replace "\n" " " | replace "|" "\\|" -}}
{{- $text = regexReplaceAll "^(Phase|Repository|Operation|Maintenance|WaitingFor)[A-Za-z]+:? " $text "" -}}
{{- upper (substr 0 1 $text) }}{{ substr 1 -1 $text -}}
{{- end -}}
