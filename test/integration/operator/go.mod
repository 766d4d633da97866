// Pins the definitions of the Prometheus operator's kinds, files that TestOperator reads. No package is imported, which
// is why `go mod tidy` would take the requirement away: to change the version, edit it here, empty go.sum, and run
// `go mod download`.
module github.com/velero-restic/velero-plugin-for-restic/test/integration/operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
