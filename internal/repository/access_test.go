// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type config = map[string]string

func location(provider, prefix string, config config) *velerov1.BackupStorageLocation {
	return &velerov1.BackupStorageLocation{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec: velerov1.BackupStorageLocationSpec{
			Provider: provider,
			Config:   config,
			StorageType: velerov1.StorageType{
				ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: "bucket", Prefix: prefix},
			},
		},
	}
}

// TestURL has the URLs of Velero 1.16, so that what it has stored is found.
func TestURL(t *testing.T) {
	azure := config{"storageAccount": "acct"}
	cases := map[string]struct {
		location *velerov1.BackupStorageLocation
		want     string
	}{
		"AWS in a region": {
			location("aws", "", config{"region": "eu-west-1"}), "s3:s3-eu-west-1.amazonaws.com/bucket/restic/shop",
		},
		"AWS anywhere": {location("aws", "", nil), "s3:s3.amazonaws.com/bucket/restic/shop"},
		"AWS in China": {
			location("aws", "p", config{"region": "cn-north-1"}),
			"s3:s3.cn-north-1.amazonaws.com.cn/bucket/p/restic/shop",
		},
		"AWS GovCloud": {
			location("velero.io/aws", "p/q/", config{"region": "us-gov-west-1"}),
			"s3:s3-us-gov-west-1.amazonaws.com/bucket/p/q/restic/shop",
		},
		"a server of S3": {
			location("aws", "", config{"s3Url": "http://minio:9000/", "region": "minio"}),
			"s3:http://minio:9000/bucket/restic/shop",
		},
		"another provider": {
			location("example.com/s3", "p", config{"s3Url": "https://s3"}), "s3:https://s3/bucket/p/restic/shop",
		},
		"Azure":           {location("azure", "", azure), "azure:bucket:/restic/shop"},
		"Azure, a folder": {location("velero.io/azure", "/p/", azure), "azure:bucket:/p/restic/shop"},
		"GCP":             {location("gcp", "p", nil), "gs:bucket:/p/restic/shop"},
		"a prefix": {
			location("aws", "p", config{"resticRepoPrefix": "rest:https://host:8000/r/"}),
			"rest:https://host:8000/r/shop",
		},
		"a path": {
			location("velero.io/fs", "", config{"resticRepoPrefix": "/mnt/nfs/restic"}), "/mnt/nfs/restic/shop",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			access, err := Resolve(Input{Location: c.location, VolumeNamespace: "shop", Credential: everyCredential})
			if err != nil {
				t.Fatal(err)
			}
			if access.URL != c.want {
				t.Errorf("got  %s\nwant %s", access.URL, c.want)
			}
		})
	}
}

// everyCredential is one that every provider can read.
var everyCredential = []byte("[default]\naws_access_key_id=AK\naws_secret_access_key=SK\nAZURE_ACCOUNT_SAS=sas\n")

func TestAccess(t *testing.T) {
	awsFile := []byte(`
# keys
[default]
aws_access_key_id = AK
aws_secret_access_key = "SK=="
[other]
aws_access_key_id=AK2
aws_secret_access_key=SK2
[profile configured]
aws_access_key_id=AK3
aws_secret_access_key=SK3
[role]
role_arn=arn:aws:iam::1:role/r
source_profile=other
external_id=ext
[web]
role_arn=arn:aws:iam::1:role/w
web_identity_token_file=/var/run/token
`)
	processEnv := map[string]string{
		"PATH": "/bin", "HTTPS_PROXY": "http://proxy", "KUBERNETES_SERVICE_HOST": "10.0.0.1", "EMPTY": "",
		"AWS_ACCESS_KEY_ID": "ENV-KEY", "AWS_SECRET_ACCESS_KEY": "ENV-SECRET", "AWS_REGION": "eu-west-1",
		"AWS_ROLE_ARN": "arn", "AWS_WEB_IDENTITY_TOKEN_FILE": "/token", "AZURE_CLIENT_ID": "client",
		"AZURE_TENANT_ID": "tenant", "AZURE_FEDERATED_TOKEN_FILE": "/azure", "GOOGLE_APPLICATION_CREDENTIALS": "/gcp",
		"RESTIC_PASSWORD": "never", "B2_ACCOUNT_ID": "b2",
	}
	common := config{"PATH": "/bin", "HTTPS_PROXY": "http://proxy"}
	aws := config{"AWS_REGION": "eu-west-1", "AWS_ROLE_ARN": "arn", "AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}
	azure := config{
		"AZURE_CLIENT_ID": "client", "AZURE_TENANT_ID": "tenant", "AZURE_FEDERATED_TOKEN_FILE": "/azure",
		"AZURE_ACCOUNT_NAME": "acct",
	}
	keyFile := config{"AWS_SHARED_CREDENTIALS_FILE": "credential"}
	cases := map[string]struct {
		location   *velerov1.BackupStorageLocation
		credential []byte
		extra      map[string][]byte
		env        []config
		envFiles   config
		options    []string
		insecure   bool
	}{
		"AWS with keys": {
			location: location("aws", "", config{"region": "eu-central-1"}), credential: awsFile,
			env: []config{common, aws, {"AWS_PROFILE": "default"}}, envFiles: keyFile,
			options: []string{"s3.region=eu-central-1"},
		},
		"AWS with another profile, without checking certificates": {
			location:   location("aws", "", config{"profile": "other", "insecureSkipTLSVerify": "true"}),
			credential: awsFile, env: []config{common, aws, {"AWS_PROFILE": "other"}}, envFiles: keyFile, insecure: true,
		},
		"AWS with a profile in the form of a config file": {
			location: location("aws", "", config{"profile": "configured"}), credential: awsFile,
			env: []config{common, aws, {"AWS_PROFILE": "profile configured"}}, envFiles: keyFile,
		},
		"AWS with a role by keys": {
			location: location("aws", "", config{"profile": "role"}), credential: awsFile, envFiles: keyFile,
			env: []config{common, aws, {
				"AWS_PROFILE": "other", "RESTIC_AWS_ASSUME_ROLE_ARN": "arn:aws:iam::1:role/r",
				"RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID": "ext", "RESTIC_AWS_ASSUME_ROLE_SESSION_NAME": "velero-restic",
			}},
		},
		"AWS with a role by token": {
			location: location("aws", "", config{"profile": "web"}), credential: awsFile,
			env: []config{common, {
				"AWS_REGION": "eu-west-1", "AWS_ROLE_ARN": "arn:aws:iam::1:role/w",
				"AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token", "AWS_ROLE_SESSION_NAME": "velero-restic",
			}},
		},
		"AWS with the identity of the agent": {
			location: location("aws", "", nil),
			env:      []config{common, aws, {"AWS_ACCESS_KEY_ID": "ENV-KEY", "AWS_SECRET_ACCESS_KEY": "ENV-SECRET"}},
		},
		"a server of S3 by path": {
			location:   location("aws", "", config{"s3Url": "http://minio", "s3ForcePathStyle": "true", "region": "minio"}),
			credential: awsFile, env: []config{common, aws, {"AWS_PROFILE": "default"}}, envFiles: keyFile,
			options: []string{"s3.bucket-lookup=path", "s3.region=minio"},
		},
		"a server of S3 by host": {
			location:   location("aws", "", config{"s3Url": "http://cos", "s3ForcePathStyle": "false"}),
			credential: awsFile, env: []config{common, aws, {"AWS_PROFILE": "default"}}, envFiles: keyFile,
			options: []string{"s3.bucket-lookup=dns"},
		},
		"Azure with a key, elsewhere": {
			location:   location("azure", "", config{"storageAccount": "acct", "storageAccountKeyEnvVar": "THE_KEY"}),
			credential: []byte("AZURE_SUBSCRIPTION_ID=s\nexport THE_KEY='a2V5=='\nAZURE_CLOUD_NAME=AzureChinaCloud\n"),
			env: []config{common, azure, {
				"AZURE_ACCOUNT_KEY": "a2V5==", "AZURE_ENDPOINT_SUFFIX": "core.chinacloudapi.cn",
				"AZURE_AUTHORITY_HOST": "https://login.chinacloudapi.cn/",
			}},
		},
		"Azure with a service principal and an address": {
			location: location("azure", "", config{
				"storageAccount":    "acct",
				"storageAccountURI": "https://acct.blob.core.example.org/",
			}),
			credential: []byte("AZURE_CLIENT_ID=sp\nAZURE_CLIENT_SECRET=secret\n"),
			env: []config{common, azure, {
				"AZURE_CLIENT_ID": "sp", "AZURE_CLIENT_SECRET": "secret",
				"AZURE_ENDPOINT_SUFFIX": "core.example.org",
			}},
		},
		"Azure with a workload identity": {
			location: location("azure", "", config{"storageAccount": "acct"}), env: []config{common, azure},
		},
		"GCP with a key": {
			location: location("gcp", "", nil), credential: []byte("{}"), env: []config{common},
			envFiles: config{"GOOGLE_APPLICATION_CREDENTIALS": "credential"},
		},
		"GCP with the identity of the agent": {
			location: location("gcp", "", nil), env: []config{common, {"GOOGLE_APPLICATION_CREDENTIALS": "/gcp"}},
		},
		"B2 by prefix, with what the credential has for it": {
			location:   location("aws", "", config{"resticRepoPrefix": "b2:bucket:restic"}),
			credential: []byte("B2_ACCOUNT_ID=id\nB2_ACCOUNT_KEY=key\nLD_PRELOAD=/evil\nRESTIC_PASSWORD_COMMAND=x\n"),
			env:        []config{common, {"B2_ACCOUNT_ID": "id", "B2_ACCOUNT_KEY": "key"}},
		},
		"what the administrator adds wins": {
			location: location("gcp", "", nil), credential: []byte("{}"),
			extra: map[string][]byte{"GOOGLE_APPLICATION_CREDENTIALS": []byte("/mine"), "PATH": []byte("/mine")},
			env:   []config{common, {"GOOGLE_APPLICATION_CREDENTIALS": "/mine", "PATH": "/mine"}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			access, err := Resolve(Input{
				Location: c.location, VolumeNamespace: "shop", Credential: c.credential,
				ProcessEnv: processEnv, Extra: c.extra, Password: []byte("pw"), CACert: []byte("ca"),
			})
			if err != nil {
				t.Fatal(err)
			}
			want := config{}
			for _, part := range c.env {
				maps.Copy(want, part)
			}
			if diff := cmp.Diff(want, access.Env); diff != "" {
				t.Error(diff)
			}
			if c.envFiles == nil {
				c.envFiles = config{}
			}
			if diff := cmp.Diff(c.envFiles, access.EnvFiles); diff != "" {
				t.Error(diff)
			}
			for _, file := range access.EnvFiles {
				if diff := cmp.Diff(c.credential, access.Files[file]); diff != "" {
					t.Error(diff)
				}
			}
			if diff := cmp.Diff(c.options, access.Options); diff != "" {
				t.Error(diff)
			}
			if access.InsecureTLS != c.insecure || string(access.Password) != "pw" || string(access.CACert) != "ca" {
				t.Errorf("got %+v", access)
			}
		})
	}
}

func TestResolveRefuses(t *testing.T) {
	noBucket := location("aws", "", nil)
	noBucket.Spec.ObjectStorage = nil
	account := config{"storageAccount": "acct"}
	with := func(key, value string) config { return config{"storageAccount": "acct", key: value} }
	secret := []byte("[default]\naws_secret_access_key=hunter2\n[process]\ncredential_process=/bin/x y\n" +
		"[role]\nrole_arn=r\n[bad]\nrole_arn=r\nsource_profile=none\nAZURE_CLOUD_NAME=Mars\n")
	cases := map[string]struct {
		location   *velerov1.BackupStorageLocation
		credential []byte
		says       string
	}{
		"a provider that restic does not know": {
			location("velero.io/fs", "", nil), nil, "spec.config.resticRepoPrefix",
		},
		"no bucket": {noBucket, nil, "spec.objectStorage.bucket"},
		"an address without a scheme": {
			location("aws", "", config{"s3Url": "minio:9000"}), nil, "spec.config.s3Url",
		},
		"a switch that is none": {
			location("aws", "", config{"s3ForcePathStyle": "yep"}), nil, "spec.config.s3ForcePathStyle",
		},
		"another switch that is none": {
			location("gcp", "", config{"insecureSkipTLSVerify": "yep"}), nil, "spec.config.insecureSkipTLSVerify",
		},
		"half a key": {location("aws", "", nil), secret, `profile "default" has neither`},
		"a profile that is not there": {
			location("aws", "", config{"profile": "x"}), secret, "spec.config.profile",
		},
		"a profile that runs a program": {
			location("aws", "", config{"profile": "process"}), secret, "credential_process",
		},
		"a role without keys": {
			location("aws", "", config{"profile": "role"}), secret, "source_profile",
		},
		"a role with keys that are not there": {
			location("aws", "", config{"profile": "bad"}), secret, `profile "none"`,
		},
		"no account": {location("azure", "", nil), nil, "spec.config.storageAccount"},
		"a key that the credential does not have": {
			location("azure", "", with("storageAccountKeyEnvVar", "K")), nil, "storageAccountKeyEnvVar",
		},
		"nothing to sign in with":     {location("azure", "", account), nil, "workload identity"},
		"a cloud that does not exist": {location("azure", "", account), secret, "AZURE_CLOUD_NAME"},
		"an address that restic cannot reach": {
			location("azure", "", with("storageAccountURI", "http://127.0.0.1/acct")), nil,
			"spec.config.storageAccountURI",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Resolve(Input{Location: c.location, VolumeNamespace: "shop", Credential: c.credential})
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), `"default"`) {
				t.Errorf("got %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error has a secret: %v", err)
			}
		})
	}
}

func TestReadOnlyLocation(t *testing.T) {
	bsl := location("gcp", "", nil)
	bsl.Spec.AccessMode = velerov1.BackupStorageLocationAccessModeReadOnly
	access, err := Resolve(Input{Location: bsl, VolumeNamespace: "shop"})
	if err != nil || !access.ReadOnly {
		t.Errorf("got %+v, %v", access, err)
	}
}

func TestIdentifier(t *testing.T) {
	for url, want := range map[string]string{
		"s3:https://s3/bucket/restic/shop": "s3:https://s3/bucket/restic/shop",
		"rest:https://u:p@h:8000/r":        "rest:https://u:***@h:8000/r",
		"rest:https://u:p@ss@h/r@x":        "rest:https://u:***@h/r@x",
		"sftp:user@host:/srv":              "sftp:user@host:/srv",
		"sftp://user@host/srv":             "sftp://user@host/srv",
		"/mnt/restic":                      "/mnt/restic",
	} {
		if got := Identifier(url); got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
	}
}
