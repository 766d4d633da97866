// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package watch

import (
	"context"
	"errors"
	"fmt"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/cli/watch/board"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// refresh is the time between two ticks of the view.
const refresh = 250 * time.Millisecond

// session follows one operation.
type session struct {
	kind            kind
	namespace, name string
	client          client.WithWatch
	clock           clock.WithTicker
	board           *board.Board
	view            view
	// program is the name that the user called.
	program string

	operation client.Object
	// objects are the volumes' objects by name.
	objects map[string]client.Object
	// outage is true if the view has reported that the API server does not answer.
	outage bool
}

// run follows the operation until it ends.
func (s *session) run(ctx context.Context) error {
	if err := s.readOperation(ctx); err != nil {
		return err
	}
	if !s.board.Operation().Final {
		if err := s.follow(ctx); err != nil {
			s.view.end(s.clock.Now(), false)
			return s.endError(ctx, err)
		}
	}
	if err := s.list(ctx); err != nil && len(s.objects) == 0 {
		s.view.end(s.clock.Now(), false)
		return s.endError(ctx, err)
	}
	s.view.end(s.clock.Now(), true)
	if backup, known := s.operation.(*velerov1.Backup); known && len(s.objects) == 0 {
		if why := s.noVolumesText(backup); why != "" {
			s.view.notice(why)
		}
	}
	if s.board.Well() {
		return nil
	}
	return &command.Error{Code: command.ExitProblemFound, Next: fmt.Sprintf("velero -n %s %s describe %s --details\n"+
		"velero -n %s %s logs %s", s.namespace, s.kind.name, s.name, s.namespace, s.kind.name, s.name)}
}

// noVolumesText explains why a backup has no volumes; "" if its phase explains it. For a backup that Velero synced from
// the bucket, Velero creates a Backup, and no PodVolumeBackups: such a Backup is younger than its own completion.
func (s *session) noVolumesText(backup *velerov1.Backup) string {
	switch backup.Status.Phase {
	case velerov1.BackupPhaseCompleted, velerov1.BackupPhasePartiallyFailed:
	default:
		return ""
	}
	if ended := backup.Status.CompletionTimestamp; ended != nil && backup.CreationTimestamp.After(ended.Time) {
		return fmt.Sprintf("this cluster has no PodVolumeBackups of it, because Velero synced it from the bucket; "+
			"'%s repo snapshots NAME --backup %s' lists the snapshots in a repository", s.program, backup.Name)
	}
	return fmt.Sprintf("none of its volumes was selected for restic; '%s plan NAMESPACE' shows why", s.program)
}

// readOperation reads Velero's object.
func (s *session) readOperation(ctx context.Context) error {
	object := s.kind.object()
	err := s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: s.name}, object)
	switch details := (*apierrors.StatusError)(nil); {
	case apierrors.IsNotFound(err) && errors.As(err, &details) && details.ErrStatus.Details != nil &&
		details.ErrStatus.Details.Name == s.name:
		return s.notFound(ctx)
	case err != nil:
		return fmt.Errorf("reading %s %s: %w", s.kind.name, s.name, err)
	}
	s.setOperation(object)
	return nil
}

// notFound returns an error that lists the existing operations.
func (s *session) notFound(ctx context.Context) error {
	list := s.kind.operations()
	if err := s.client.List(ctx, list, client.InNamespace(s.namespace)); err != nil {
		return fmt.Errorf("listing %ss: %w", s.kind.name, err)
	}
	names, err := command.NamesIn(list)
	if err != nil {
		return err
	}
	return command.NotFoundError(s.kind.name, s.namespace, s.name, names)
}

func (s *session) setOperation(object client.Object) {
	s.operation = object
	s.board.SetOperation(s.kind.operation(object))
}

// list reads the volumes' objects once more, because Velero's object may change before they do.
func (s *session) list(ctx context.Context) error {
	list := s.kind.volumes()
	if err := s.client.List(ctx, list, s.volumeOptions()...); err != nil {
		return fmt.Errorf("listing the volumes of %s %s: %w", s.kind.name, s.name, err)
	}
	objects, err := objectsOf(list)
	if err != nil {
		return err
	}
	s.applyVolumes(event{all: objects})
	return nil
}

func (s *session) volumeOptions() []client.ListOption {
	return []client.ListOption{
		client.InNamespace(s.namespace), client.MatchingLabels{s.kind.nameLabel: contract.LabelValue(s.name)},
	}
}

// follow watches until the operation's phase is final.
func (s *session) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	operations, volumes, ends := make(chan event), make(chan event), make(chan error, 2)
	start := func(what string, list func() client.ObjectList, options []client.ListOption, out chan<- event) {
		f := reflector{client: s.client, clock: s.clock, list: list, options: options}
		go func() {
			err := f.run(ctx, func(n event) {
				select {
				case out <- n:
				case <-ctx.Done():
				}
			})
			if err != nil {
				ends <- fmt.Errorf("watching %s: %w", what, err)
			}
		}()
	}
	this := []client.ListOption{client.InNamespace(s.namespace), client.MatchingFields{"metadata.name": s.name}}
	start(s.kind.name+" "+s.name, s.kind.operations, this, operations)
	start("the volumes of "+s.kind.name+" "+s.name, s.kind.volumes, s.volumeOptions(), volumes)
	ticker := s.clock.NewTicker(refresh)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-ends:
			return err
		case n := <-operations:
			if over, err := s.applyOperation(n); over || err != nil {
				return err
			}
		case n := <-volumes:
			s.applyVolumes(n)
		case now := <-ticker.C():
			s.view.tick(now)
		}
	}
}

// applyOperation returns true if the operation has ended.
func (s *session) applyOperation(n event) (over bool, err error) {
	s.reportOutage(n)
	if n.outage != nil {
		return false, nil //nolint:nilerr // the reflector retries, and returns an error when it gives up
	}
	object := n.updated
	if len(n.all) > 0 {
		object = n.all[0]
	}
	if object == nil {
		return false, command.NewError(fmt.Errorf("%s %s was deleted", s.kind.name, s.name), "")
	}
	s.setOperation(object)
	return s.board.Operation().Final, nil
}

func (s *session) applyVolumes(n event) {
	s.reportOutage(n)
	switch {
	case n.outage != nil:
		return
	case n.updated != nil:
		s.objects[n.updated.GetName()] = n.updated
	case n.deleted != nil:
		delete(s.objects, n.deleted.GetName())
	default:
		clear(s.objects)
		for _, object := range n.all {
			s.objects[object.GetName()] = object
		}
	}
	all := make([]client.Object, 0, len(s.objects))
	for _, object := range s.objects {
		all = append(all, object)
	}
	var volumes []board.Volume
	for _, object := range s.kind.ownVolumes(s.operation, all) {
		volumes = append(volumes, s.kind.volume(object))
	}
	s.board.Replace(s.clock.Now(), volumes)
}

// reportOutage reports when the API server stops answering, and when it answers again.
func (s *session) reportOutage(n event) {
	switch {
	case n.outage != nil && !s.outage:
		s.outage = true
		s.view.notice(fmt.Sprintf("the API server does not answer (%v); the %s continues; retrying", n.outage,
			s.kind.name))
	case n.outage == nil && s.outage:
		s.outage = false
		s.view.notice("the API server answers again")
	}
}

// endError returns the error for a session that did not see the end of the operation.
func (s *session) endError(ctx context.Context, err error) error {
	again := fmt.Sprintf("the %s continues; to follow it again: %s %s watch %s", s.kind.name, s.program, s.kind.name,
		s.name)
	switch {
	case command.IsTimeout(ctx):
		return command.TimeoutError(fmt.Errorf("%s %s is still %s, and --timeout has passed", s.kind.name, s.name,
			s.board.Operation().Phase), again)
	case ctx.Err() != nil:
		return &command.Error{Code: command.ExitInterrupted, Next: again}
	}
	return err
}
