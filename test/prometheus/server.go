// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package prometheus

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	// startTimeout limits the time until a server is ready, requestTimeout the time of one request.
	startTimeout   = time.Minute
	requestTimeout = 30 * time.Second
)

// ServerOptions describe where a server runs.
type ServerOptions struct {
	// Namespace is the file of a network namespace. Address is the address and port in it on which the server listens.
	Namespace, Address string
	// Folder is an empty directory for the configuration and data of the server.
	Folder string
}

// Server is a running Prometheus.
type Server struct {
	options ServerOptions
	process *exec.Cmd
	output  bytes.Buffer
	ended   chan struct{}
}

// Start starts a server with this configuration and waits until it is ready. The server runs until Stop, or until this
// process ends. Start fails if the server exits or is not ready within a minute.
func Start(ctx context.Context, programs Programs, options ServerOptions, config string) (*Server, error) {
	file := filepath.Join(options.Folder, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("starting Prometheus: %w", err)
	}
	s := &Server{options: options, ended: make(chan struct{})}
	s.process = exec.Command("nsenter", "--net="+options.Namespace, "--", programs.Server, "--config.file="+file,
		"--storage.tsdb.path="+filepath.Join(options.Folder, "data"), "--web.listen-address="+options.Address,
		"--log.level=warn")
	s.process.Stdout, s.process.Stderr = &s.output, &s.output
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		return nil, fmt.Errorf("starting Prometheus: %w", err)
	}
	go func() {
		defer close(s.ended)
		_ = s.process.Wait() // only the output matters, not the exit code
	}()
	deadline := time.Now().Add(startTimeout)
	for {
		_, err := s.get(ctx, "/-/ready", nil)
		if err == nil {
			return s, nil
		}
		select {
		case <-s.ended:
			return nil, fmt.Errorf("starting Prometheus: it exited: %s", s.output.String())
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.Stop()
			return nil, fmt.Errorf("starting Prometheus: %w", err)
		}
	}
}

// Stop ends the server.
func (s *Server) Stop() {
	_ = s.process.Process.Kill() // an error means that the process has already exited
	<-s.ended
}

func (s *Server) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	address := url.URL{Scheme: "http", Host: s.options.Address, Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // read-only, so an error loses nothing
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("requesting %s from Prometheus: %s: %s", path, response.Status, body.String())
	}
	return body.Bytes(), nil
}

// Sample is a value of a series.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Query evaluates an expression at the current time. The expression must return a vector.
func (s *Server) Query(ctx context.Context, expression string) ([]Sample, error) {
	body, err := s.get(ctx, "/api/v1/query", url.Values{"query": {expression}})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				// Value has a time, and the value as a string.
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("reading the response to %s: %w", expression, err)
	}
	samples := make([]Sample, 0, len(answer.Data.Result))
	for _, result := range answer.Data.Result {
		text, _ := result.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("reading the response to %s: %w", expression, err)
		}
		samples = append(samples, Sample{Labels: result.Metric, Value: value})
	}
	return samples, nil
}

// Alert is a pending or firing alert.
type Alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	State       string            `json:"state"`
}

// Alerts returns all pending and firing alerts.
func (s *Server) Alerts(ctx context.Context) ([]Alert, error) {
	body, err := s.get(ctx, "/api/v1/alerts", nil)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Alerts []Alert `json:"alerts"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("reading Prometheus' alerts: %w", err)
	}
	return answer.Data.Alerts, nil
}
