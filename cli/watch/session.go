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

// refresh is how often a view is given the time.
const refresh = 250 * time.Millisecond

// session is one watch of one operation.
type session struct {
	kind            kind
	namespace, name string
	client          client.WithWatch
	clock           clock.WithTicker
	board           *board.Board
	view            view
	// program is what the user calls this one.
	program string

	operation client.Object
	// objects are the volumes' by name.
	objects map[string]client.Object
	// lost says that somebody was told that the API server is away.
	lost bool
}

// run shows the operation until it has ended.
func (s *session) run(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	if !s.board.Operation().Final {
		if err := s.follow(ctx); err != nil {
			s.view.end(s.clock.Now(), false)
			return s.stopped(ctx, err)
		}
	}
	if err := s.list(ctx); err != nil && len(s.objects) == 0 {
		s.view.end(s.clock.Now(), false)
		return s.stopped(ctx, err)
	}
	s.view.end(s.clock.Now(), true)
	if backup, known := s.operation.(*velerov1.Backup); known && len(s.objects) == 0 {
		if why := s.without(backup); why != "" {
			s.view.notice(why)
		}
	}
	if s.board.Well() {
		return nil
	}
	return &command.Error{Code: command.ExitProblemFound, Next: fmt.Sprintf("velero -n %s %s describe %s --details\n"+
		"velero -n %s %s logs %s", s.namespace, s.kind.name, s.name, s.namespace, s.kind.name, s.name)}
}

// without says why a backup has no volumes; empty where its phase says enough. For a backup that Velero has found in
// the bucket it makes its own object again, and not ours: such a Backup is younger than its own end.
func (s *session) without(backup *velerov1.Backup) string {
	switch backup.Status.Phase {
	case velerov1.BackupPhaseCompleted, velerov1.BackupPhasePartiallyFailed:
	default:
		return ""
	}
	if ended := backup.Status.CompletionTimestamp; ended != nil && backup.CreationTimestamp.After(ended.Time) {
		return fmt.Sprintf("no PodVolumeBackup of it is in this cluster, since Velero has found it in the bucket; "+
			"'%s repo snapshots NAME --backup %s' shows what is in a repository", s.program, backup.Name)
	}
	return fmt.Sprintf("restic was asked for none of its volumes; '%s plan NAMESPACE' says why", s.program)
}

// begin finds Velero's object.
func (s *session) begin(ctx context.Context) error {
	object := s.kind.object()
	err := s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: s.name}, object)
	switch details := (*apierrors.StatusError)(nil); {
	case apierrors.IsNotFound(err) && errors.As(err, &details) && details.ErrStatus.Details != nil &&
		details.ErrStatus.Details.Name == s.name:
		return s.notThere(ctx)
	case err != nil:
		return fmt.Errorf("reading %s %s: %w", s.kind.name, s.name, err)
	}
	s.setOperation(object)
	return nil
}

// notThere names the operations that there are.
func (s *session) notThere(ctx context.Context) error {
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

// list reads all volumes' objects once more: Velero's object may have been told to be done before they were.
func (s *session) list(ctx context.Context) error {
	list := s.kind.volumes()
	if err := s.client.List(ctx, list, s.volumeOptions()...); err != nil {
		return fmt.Errorf("listing the volumes of %s %s: %w", s.kind.name, s.name, err)
	}
	objects, err := objectsOf(list)
	if err != nil {
		return err
	}
	s.take(news{all: objects})
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
	operations, volumes, ends := make(chan news), make(chan news), make(chan error, 2)
	start := func(what string, list func() client.ObjectList, options []client.ListOption, out chan<- news) {
		f := feed{client: s.client, clock: s.clock, list: list, options: options}
		go func() {
			err := f.run(ctx, func(n news) {
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
			if over, err := s.takeOperation(n); over || err != nil {
				return err
			}
		case n := <-volumes:
			s.take(n)
		case now := <-ticker.C():
			s.view.tick(now)
		}
	}
}

// takeOperation returns true when there is nothing more to wait for.
func (s *session) takeOperation(n news) (over bool, err error) {
	s.connection(n)
	if n.lost != nil {
		return false, nil //nolint:nilerr // the feed tries again, and says when it gives up
	}
	object := n.changed
	if len(n.all) > 0 {
		object = n.all[0]
	}
	if object == nil {
		return false, command.NewError(fmt.Errorf("%s %s was deleted", s.kind.name, s.name), "")
	}
	s.setOperation(object)
	return s.board.Operation().Final, nil
}

func (s *session) take(n news) {
	s.connection(n)
	switch {
	case n.lost != nil:
		return
	case n.changed != nil:
		s.objects[n.changed.GetName()] = n.changed
	case n.gone != nil:
		delete(s.objects, n.gone.GetName())
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
	for _, object := range s.kind.mine(s.operation, all) {
		volumes = append(volumes, s.kind.volume(object))
	}
	s.board.Replace(s.clock.Now(), volumes)
}

// connection tells when the API server goes and comes back.
func (s *session) connection(n news) {
	switch {
	case n.lost != nil && !s.lost:
		s.lost = true
		s.view.notice(fmt.Sprintf("the API server does not answer (%v); the %s goes on, trying again", n.lost,
			s.kind.name))
	case n.lost == nil && s.lost:
		s.lost = false
		s.view.notice("the API server answers again")
	}
}

// stopped says what a watch that did not see the end leaves behind.
func (s *session) stopped(ctx context.Context, err error) error {
	again := fmt.Sprintf("the %s goes on; to look at it again: %s %s watch %s", s.kind.name, s.program, s.kind.name,
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
