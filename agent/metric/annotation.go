// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package metric

import "github.com/prometheus/client_golang/prometheus"

// Annotation is what became of a change to a pod's annotations, as a label.
type Annotation string

// The outcomes.
const (
	AnnotationWritten Annotation = "written"
	AnnotationRefused Annotation = "refused"
)

func (s *Set) addAnnotation() {
	s.annotated = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "pod_annotations_total",
		Help: "Pods whose annotation was changed because of rules (written), or could not be (refused). Leader only.",
	}, []string{"result"})
}

// PodAnnotated counts a change to a pod's annotations.
func (s *Set) PodAnnotated(result Annotation) { s.annotated.WithLabelValues(string(result)).Inc() }
