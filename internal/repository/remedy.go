// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"slices"
	"strings"
)

// remedy is what to do when restic says one of these texts of a repository whose URL begins with one of these
// schemes, or of any, without schemes.
type remedy struct {
	schemes, says []string
	what          string
}

// remedies are in the order in which they are tried. The texts are those of restic v0.19.1 and of the libraries in it;
// where they change, a message has no remedy, and that is all.
func remedies() []remedy {
	return []remedy{
		{nil, []string{"certificate signed by unknown authority", "certificate is not trusted"}, "put the " +
			"certificate of the server's authority into the location's spec.objectStorage.caCert, or into a Secret " +
			"that its spec.objectStorage.caCertRef names"},
		{nil, []string{"certificate is valid for", "any IP SANs", "certificate has expired"}, "the server's " +
			"certificate is not one for this address at this time: replace it, or use the address that it is for"},
		{nil, []string{"server gave HTTP response to HTTPS client"}, "the server speaks no TLS: write http:// " +
			"instead of https:// in the location"},
		{[]string{"rclone:"}, []string{"executable file not found"}, "the agent's image has no rclone: add the " +
			"component examples/component/rclone to the installation"},
		{[]string{"rclone:"}, []string{"didn't find section in config file"}, "rclone has no remote of this name: " +
			"put it into key rclone.conf, or into keys RCLONE_CONFIG_<REMOTE>_…, of the Secret that annotation " +
			"restic.velero.io/resticEnvSecret of the location names"},
		{[]string{"s3:"}, []string{"no credentials found"}, "name a Secret with a key in the location's " +
			"spec.credential, make Secret cloud-credentials, or give the agents' service account a role that " +
			"trusts it"},
		{[]string{"s3:"}, []string{
			"Access Denied", "AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId",
			"does not match the signature", "does not exist in our records",
		}, "check the key in the Secret of the location's spec.credential (else in cloud-credentials), and that it " +
			"may list, read, write and delete there"},
		{[]string{"s3:"}, []string{"AssumeRoleWithWebIdentity", "sts."}, "check the role of the agents' service " +
			"account, and that the role trusts this cluster and service account velero-restic"},
		{[]string{"rest:"}, []string{"401 Unauthorized", "403 Forbidden"}, "put the right user and password into " +
			"keys RESTIC_REST_USERNAME and RESTIC_REST_PASSWORD of the Secret that annotation " +
			"restic.velero.io/resticEnvSecret of the location names, and see that the server lets that user in there"},
		{[]string{"azure:"}, []string{"AuthorizationPermissionMismatch"}, "give the identity the role Storage Blob " +
			"Data Contributor on the storage account or container"},
		{
			[]string{"azure:"},
			[]string{"AuthenticationFailed", "AuthorizationFailure", "NoAuthenticationInformation"},
			"check the access key or SAS in the Secret of the location's spec.credential, and the account's firewall",
		},
		{[]string{"gs:"}, []string{"could not find default credentials"}, "name a Secret with the key of a service " +
			"account in the location's spec.credential, or give the agents' service account a workload identity"},
		{[]string{"gs:"}, []string{"oauth2:", "cannot fetch token"}, "check the service account's key in the Secret " +
			"of the location's spec.credential"},
		{[]string{"gs:"}, []string{"Error 401", "Error 403"}, "give the service account the role Storage Object " +
			"Admin on the bucket"},
		{
			[]string{"azure:", "gs:", "s3:"},
			[]string{"ContainerNotFound", "bucket doesn't exist", "NoSuchBucket"},
			"make the container or bucket, or correct its name in the location's spec.objectStorage.bucket",
		},
		{nil, []string{
			"connection refused", "no such host", "no route to host", "i/o timeout",
			"network is unreachable",
		}, unreachable},
	}
}

// unreachable is what to look at when there is no answer.
const unreachable = "is the server up, and may the agents' nodes reach it (address, firewall, network policy, proxy)?"

// Remedy returns what to do about a failure of restic with the repository at the URL, or "" if that is not known. The
// text is what restic has said; an empty one means that it waited for an answer until it was stopped.
func Remedy(url, text string) string {
	if text == "" {
		return unreachable
	}
	for _, r := range remedies() {
		here := len(r.schemes) == 0 ||
			slices.ContainsFunc(r.schemes, func(scheme string) bool { return strings.HasPrefix(url, scheme) })
		if here && slices.ContainsFunc(r.says, func(says string) bool { return strings.Contains(text, says) }) {
			return r.what
		}
	}
	return ""
}
