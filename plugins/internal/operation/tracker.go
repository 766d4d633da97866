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
	"github.com/velero-restic/velero-plugin-for-restic/internal/stranded"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
)

// pollInterval is the time between two reads in Wait. It is short because a backup hook may have frozen the
// application.
const pollInterval = time.Second

// Tracker reports on operations. It is safe for concurrent use.
type Tracker struct {
	Cluster *cluster.Cluster
	// Kind is the kind of the custom resources, for messages.
	Kind string
	// Read returns the custom resource with this name.
	Read func(name string) (*Volume, error)
	// Evaluate returns whether an agent can carry out a volume that none has started. The volume waits since the given
	// time.
	Evaluate func(v *Volume, since time.Time) (stranded.Verdict, error)
}

// Progress reports how far the operation is. An error of the API server is only part of the description, because Velero
// fails an operation at its first error; Velero's own timeout ends the operation if the error persists. Progress also
// fails volumes that no agent can carry out while no agent leads, and ends volumes whose timeout has passed.
func (t *Tracker) Progress(id ID) velero.OperationProgress {
	lines := make([]line, 0, len(id.Objects))
	for _, name := range id.Objects {
		lines = append(lines, t.line(name))
	}
	return report(id, lines)
}

// Cancel asks the agents to stop every volume that is not done. It can be repeated.
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

// Wait returns the same as Progress when the operation is done. After the timeout it cancels the operation and returns
// an error.
func (t *Tracker) Wait(id ID, timeout time.Duration) (velero.OperationProgress, error) {
	ctx, stop := context.WithTimeout(t.Cluster.Context, timeout)
	defer stop()
	ticker := time.NewTicker(pollInterval)
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
			return progress, fmt.Errorf("volume data of pod %s/%s was not backed up within %s "+
				"(itemOperationTimeout): %s", id.Namespace, id.Pod, timeout, progress.Description)
		}
	}
}

// line reads a custom resource, ends it if nothing else will, and describes it.
func (t *Tracker) line(name string) line {
	v, err := t.Read(name)
	if apierrors.IsNotFound(err) {
		gone := fmt.Sprintf("%s %s/%s was deleted before its volume was done", t.Kind, t.Cluster.Namespace, name)
		return line{text: gone, problem: gone}
	}
	if err != nil {
		return line{text: fmt.Sprintf("%s %s cannot be read: %v", t.Kind, name, err), open: true}
	}
	if v.done() {
		return describe(v, "")
	}
	now := t.Cluster.Now()
	if v.overdue(now) {
		return t.overdue(v)
	}
	created := v.Object.GetCreationTimestamp().Time
	if !v.waiting() || now.Sub(created) < stranded.AbsentGrace {
		return describe(v, "")
	}
	return t.evaluate(v, created)
}

// overdue ends a volume, as far as this operation is concerned, that its agent has not ended in time.
func (t *Tracker) overdue(v *Volume) line {
	out := describe(v, "")
	out.open = false
	out.problem = fmt.Sprintf("volume %s: not done within %s (itemOperationTimeout), so it was canceled; "+
		"last state: %s", v.Name, v.Timeout, out.text)
	if err := t.cancel(v); err != nil {
		out.problem += "; " + err.Error()
	}
	return out
}

// evaluate describes a volume that waits, and fails it if no agent can carry it out and no agent leads. While an agent
// leads, it alone fails volumes, because it has seen the agents come and go. So the time before its last renewal of the
// Lease does not count here.
func (t *Tracker) evaluate(v *Volume, created time.Time) line {
	verdict, err := t.Evaluate(v, created)
	if err == nil && verdict.Failed {
		verdict, err = t.withoutLeader(v, created)
	}
	if err == nil && verdict.Failed {
		err = t.fail(v, verdict.Message)
	}
	if err != nil {
		return describe(v, err.Error())
	}
	return describe(v, verdict.Message)
}

func (t *Tracker) withoutLeader(v *Volume, created time.Time) (stranded.Verdict, error) {
	led, err := t.Cluster.LastLeader()
	if err != nil {
		return stranded.Verdict{}, err
	}
	if led.Before(created) {
		led = created
	}
	return t.Evaluate(v, led)
}

// fail sets the phase Failed, unless the object has changed since it was read.
func (t *Tracker) fail(v *Volume, message string) error {
	before, ok := v.Object.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("copying %s %s: %T is not a client.Object", t.Kind, v.Object.GetName(), v.Object)
	}
	unchanged := *v.Status
	now := metav1.NewTime(t.Cluster.Now())
	v.Status.Phase, v.Status.Reason = resticv1.PhaseFailed, ""
	v.Status.Reason, v.Status.Message = "", message
	v.Status.CompletionTimestamp = &now
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := t.Cluster.Client.Status().Patch(t.Cluster.Context, v.Object, patch); err != nil {
		*v.Status = unchanged
		return fmt.Errorf("setting %s %s to Failed (%s): %w", t.Kind, v.Object.GetName(), message, err)
	}
	return nil
}

// cancel asks the agent to stop a volume. It does nothing for a volume that is done or deleted.
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

// EvaluateAgent returns whether the agent on a node can carry out a volume that waits since the given time.
func (t *Tracker) EvaluateAgent(node string, since time.Time) (stranded.Verdict, error) {
	pods, err := t.Cluster.AgentPods(node)
	if err != nil {
		return stranded.Verdict{}, err
	}
	now := t.Cluster.Now()
	return stranded.NewAgent(node, pods, stranded.WaitingSince(since), now).Verdict(t.Cluster.Namespace, now), nil
}
