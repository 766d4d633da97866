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
	// startLimit is how long a server may take until it answers, and answerLimit how long it may take for an answer.
	startLimit  = time.Minute
	answerLimit = 30 * time.Second
)

// Place is where a server runs.
type Place struct {
	// Namespace is the file of a network namespace, and Address where in it the server listens.
	Namespace, Address string
	// Folder is an empty one for its configuration and data.
	Folder string
}

// Server is a Prometheus that runs.
type Server struct {
	place   Place
	process *exec.Cmd
	said    bytes.Buffer
	ended   chan struct{}
}

// Start starts a server with this configuration and waits until it is ready. It ends with Stop, or with this process.
func Start(ctx context.Context, programs Programs, place Place, config string) (*Server, error) {
	file := filepath.Join(place.Folder, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("starting Prometheus: %w", err)
	}
	s := &Server{place: place, ended: make(chan struct{})}
	s.process = exec.Command("nsenter", "--net="+place.Namespace, "--", programs.Server, "--config.file="+file,
		"--storage.tsdb.path="+filepath.Join(place.Folder, "data"), "--web.listen-address="+place.Address,
		"--log.level=warn")
	s.process.Stdout, s.process.Stderr = &s.said, &s.said
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		return nil, fmt.Errorf("starting Prometheus: %w", err)
	}
	go func() {
		defer close(s.ended)
		_ = s.process.Wait() // how it ends is of no interest, only what it said
	}()
	deadline := time.Now().Add(startLimit)
	for {
		_, err := s.ask(ctx, "/-/ready", nil)
		if err == nil {
			return s, nil
		}
		select {
		case <-s.ended:
			return nil, fmt.Errorf("starting Prometheus: it has ended: %s", s.said.String())
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
	_ = s.process.Process.Kill() // an error says that it is gone already
	<-s.ended
}

func (s *Server) ask(ctx context.Context, path string, query url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	address := url.URL{Scheme: "http", Host: s.place.Address, Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // read only: nothing can be lost
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking Prometheus for %s: %s: %s", path, response.Status, body.String())
	}
	return body.Bytes(), nil
}

// Sample is the value of a series.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Query evaluates an expression that gives a vector, now.
func (s *Server) Query(ctx context.Context, expression string) ([]Sample, error) {
	body, err := s.ask(ctx, "/api/v1/query", url.Values{"query": {expression}})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				// Value is a time and the value as text.
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("reading the answer to %s: %w", expression, err)
	}
	samples := make([]Sample, 0, len(answer.Data.Result))
	for _, result := range answer.Data.Result {
		text, _ := result.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("reading the answer to %s: %w", expression, err)
		}
		samples = append(samples, Sample{Labels: result.Metric, Value: value})
	}
	return samples, nil
}

// Alert is one that is pending or firing.
type Alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	State       string            `json:"state"`
}

// Alerts returns all that are pending or firing.
func (s *Server) Alerts(ctx context.Context) ([]Alert, error) {
	body, err := s.ask(ctx, "/api/v1/alerts", nil)
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
