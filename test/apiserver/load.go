// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// batch is the number of objects in one transaction. etcd allows 128 (its flag --max-txn-ops).
const batch = 100

// Load writes objects to etcd in the format of the API server, including their status. It writes tens of thousands of
// objects in seconds. An object without a UID gets one. Load runs no admission or validation and sets no defaults. It
// supports only pods, claims, volumes and custom resources. It fails if etcd rejects an object.
func (s *Server) Load(ctx context.Context, scheme *runtime.Scheme, objects []client.Object) error {
	core := protobuf.NewSerializer(scheme, scheme)
	for len(objects) > 0 {
		count := min(batch, len(objects))
		var puts []operation
		for _, object := range objects[:count] {
			key, value, err := stored(scheme, core, object)
			if err != nil {
				return err
			}
			puts = append(puts, operation{Put: put{Key: []byte(key), Value: value}})
		}
		if err := s.transact(ctx, puts); err != nil {
			return fmt.Errorf("loading objects into etcd: %w", err)
		}
		objects = objects[count:]
	}
	return nil
}

// stored returns the key and the value of an object in etcd.
func stored(scheme *runtime.Scheme, core runtime.Serializer, object client.Object) (string, []byte, error) {
	gvk, err := apiutil.GVKForObject(object, scheme)
	if err != nil {
		return "", nil, err
	}
	object.GetObjectKind().SetGroupVersionKind(gvk)
	if object.GetUID() == "" {
		object.SetUID(uuid.NewUUID())
	}
	object.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	encode := func(w io.Writer) error { return json.NewEncoder(w).Encode(object) }
	if gvk.Group == corev1.GroupName {
		encode = func(w io.Writer) error { return core.Encode(object, w) }
	} else {
		object.SetGeneration(1)
	}
	var value bytes.Buffer
	if err := encode(&value); err != nil {
		return "", nil, fmt.Errorf("encoding %s %s: %w", gvk.Kind, object.GetName(), err)
	}
	return key(gvk, object), value.Bytes(), nil
}

func key(gvk schema.GroupVersionKind, object client.Object) string {
	key := "/registry/"
	if gvk.Group != corev1.GroupName {
		key += gvk.Group + "/"
	}
	resource, _ := meta.UnsafeGuessKindToResource(gvk)
	key += resource.Resource + "/"
	if object.GetNamespace() != "" {
		key += object.GetNamespace() + "/"
	}
	return key + object.GetName()
}

// operation and put are types of etcd's gRPC gateway (etcd 3.4, etcdserver/etcdserverpb/rpc.proto, RequestOp and
// PutRequest). Bytes are in base64, as in Go.
type operation struct {
	Put put `json:"requestPut"`
}

type put struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

func (s *Server) transact(ctx context.Context, puts []operation) error {
	body, err := json.Marshal(map[string][]operation{"success": puts})
	if err != nil {
		return err
	}
	url := s.environment.ControlPlane.Etcd.URL.JoinPath("v3", "kv", "txn")
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("etcd returned %s: %s", response.Status, answer)
	}
	return err
}
