// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package operation

import (
	"context"
	"fmt"
	"time"

	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
)

const (
	// absentGrace is how long a volume waits on a node that has no agent pod at all. A DaemonSet's pod stands within
	// seconds of its node, so two minutes tell a node that will never have one.
	absentGrace = 2 * time.Minute
	// startingGrace is how long it waits for an agent whose pod is there and not ready: an image on its way over a
	// slow line, a rolling update, or a crash loop, which this ends.
	startingGrace = 10 * time.Minute
	// pollEvery is how often Wait looks. A hook has the application frozen meanwhile.
	pollEvery = time.Second
)

// Verdict is what became clear about a volume that no agent has begun with.
type Verdict struct {
	// Failed says why nobody ever will; the volume is failed with it.
	Failed string
	// Waiting says what it waits for.
	Waiting string
}

// Tracker reports on operations. It is safe for concurrent use.
type Tracker struct {
	Cluster *cluster.Cluster
	// Kind is the kind of the custom resources, for messages.
	Kind string
	// Read returns the custom resource of this name.
	Read func(name string) (*Volume, error)
	// Judge looks at a volume that nobody has begun with. It may be nil.
	Judge func(*Volume) (Verdict, error)
}

// Progress reports how far the operation is. Trouble with the API server goes into the description and the operation
// stays open, since Velero gives an operation up at the first error, and its own deadline bounds the whole. What keeps
// a volume from ever being done is found here: see Verdict, and the deadline of the volume.
func (t *Tracker) Progress(id ID) velero.OperationProgress {
	lines := make([]line, 0, len(id.Objects))
	for _, name := range id.Objects {
		lines = append(lines, t.line(name))
	}
	return report(id, lines)
}

// Cancel asks the agents to stop with every volume that is not done. It is right to repeat it.
func (t *Tracker) Cancel(id ID) error {
	for _, name := range id.Objects {
		v, err := t.Read(name)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading %s %s to cancel it: %w", t.Kind, name, err)
		}
		if err := t.cancel(v); err != nil {
			return err
		}
	}
	return nil
}

// Wait reports like Progress, once the operation is done or the time is over; then it cancels the operation.
func (t *Tracker) Wait(id ID, timeout time.Duration) (velero.OperationProgress, error) {
	ctx, stop := context.WithTimeout(t.Cluster.Context, timeout)
	defer stop()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		progress := t.Progress(id)
		if progress.Completed {
			return progress, nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			if err := t.Cancel(id); err != nil {
				return progress, err
			}
			return progress, fmt.Errorf("volume data of pod %s/%s was not taken within %s (itemOperationTimeout): %s",
				id.Namespace, id.Pod, timeout, progress.Description)
		}
	}
}

// line reads a custom resource, moves it on where nobody else would, and describes it.
func (t *Tracker) line(name string) line {
	v, err := t.Read(name)
	if apierrors.IsNotFound(err) {
		gone := fmt.Sprintf("%s %s/%s is gone: it was deleted before its volume was done",
			t.Kind, t.Cluster.Namespace, name)
		return line{text: gone, problem: gone}
	}
	if err != nil {
		return line{text: fmt.Sprintf("%s %s cannot be read: %v", t.Kind, name, err), open: true}
	}
	if v.done() {
		return describe(v, "")
	}
	if v.overdue(t.Cluster.Now()) {
		return t.overdue(v)
	}
	if !v.waiting() || t.Judge == nil || t.age(v) < absentGrace {
		return describe(v, "")
	}
	return t.judged(v)
}

// overdue ends a volume that its agent has not ended in time, as far as this operation goes.
func (t *Tracker) overdue(v *Volume) line {
	out := describe(v, "")
	out.open = false
	out.problem = fmt.Sprintf("volume %s: not done within %s (itemOperationTimeout), and told to stop; last seen: %s",
		v.Name, v.Timeout, out.text)
	if err := t.cancel(v); err != nil {
		out.problem += "; " + err.Error()
	}
	return out
}

// judged fails a volume that nobody will ever begin with.
func (t *Tracker) judged(v *Volume) line {
	verdict, err := t.Judge(v)
	if err != nil {
		return describe(v, err.Error())
	}
	if verdict.Failed == "" {
		return describe(v, verdict.Waiting)
	}
	if err := t.fail(v, verdict.Failed); err != nil {
		return describe(v, err.Error())
	}
	return describe(v, "")
}

// fail makes a volume Failed, unless somebody has changed it since it was read.
func (t *Tracker) fail(v *Volume, message string) error {
	before, isObject := v.Object.DeepCopyObject().(client.Object)
	if !isObject {
		return fmt.Errorf("copying %s %s: %T is no object", t.Kind, v.Object.GetName(), v.Object)
	}
	untouched := *v.Status
	now := metav1.NewTime(t.Cluster.Now())
	v.Status.Phase = resticv1.PhaseFailed
	v.Status.Message = message
	v.Status.CompletionTimestamp = &now
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := t.Cluster.Client.Status().Patch(t.Cluster.Context, v.Object, patch); err != nil {
		*v.Status = untouched
		return fmt.Errorf("setting %s %s to Failed (%s): %w", t.Kind, v.Object.GetName(), message, err)
	}
	return nil
}

// cancel asks the agent to stop with a volume. A volume that is done or gone stays as it is.
func (t *Tracker) cancel(v *Volume) error {
	if v.done() || *v.Cancel {
		return nil
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"cancel":true}}`))
	err := t.Cluster.Retry(func() error {
		return t.Cluster.Client.Patch(t.Cluster.Context, v.Object, patch)
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("canceling %s %s: %w", t.Kind, v.Object.GetName(), err)
	}
	return nil
}

func (t *Tracker) age(v *Volume) time.Duration {
	return t.Cluster.Now().Sub(v.Object.GetCreationTimestamp().Time)
}

// JudgeAgent is the verdict on a volume on this node that waits for its agent since then.
func (t *Tracker) JudgeAgent(node string, since time.Time) (Verdict, error) {
	state, problem, err := t.Cluster.Agent(node)
	if err != nil {
		return Verdict{}, err
	}
	waited := t.Cluster.Now().Sub(since)
	switch {
	case state == cluster.AgentReady:
		return Verdict{}, nil
	case state == cluster.AgentAbsent && waited >= absentGrace,
		state == cluster.AgentStarting && waited >= startingGrace:
		return Verdict{Failed: problem}, nil
	default:
		return Verdict{Waiting: problem}, nil
	}
}
