// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"strings"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
)

// azureCloud is the domain of a cloud's blob storage, and who signs people in. Both are empty for the public cloud.
type azureCloud struct{ suffix, authority string }

// azureCloudOf returns the cloud of AZURE_CLOUD_NAME in the credential, and whether there is one of this name. The
// names are those of Velero's plugin (velero v1.18.3, pkg/util/azure/util.go), the values those of
// https://learn.microsoft.com/azure/developer/identity/authentication-endpoints.
func azureCloudOf(name string) (azureCloud, bool) {
	switch strings.ToLower(name) {
	case "", "azurepubliccloud", "azurecloud":
		return azureCloud{}, true
	case "azurechinacloud":
		return azureCloud{"core.chinacloudapi.cn", "https://login.chinacloudapi.cn/"}, true
	case "azureusgovernment", "azureusgovernmentcloud":
		return azureCloud{"core.usgovcloudapi.net", "https://login.microsoftonline.us/"}, true
	}
	return azureCloud{}, false
}

// configureAzure gives restic the account's key, its SAS, or what it takes to sign in as somebody. restic tries them
// in this order (v0.19.1, internal/backend/azure/azure.go).
func configureAzure(in Input, access *Access) error {
	account := setting(in.Location, "storageAccount")
	if account == "" {
		account = in.ProcessEnv["AZURE_ACCOUNT_NAME"]
	}
	if account == "" {
		account = in.extraEnv["AZURE_ACCOUNT_NAME"]
	}
	if account == "" {
		return locationError(in.Location, "spec.config.storageAccount is empty: name the storage account")
	}
	passOn(access.Env, in.ProcessEnv, azureVariables())
	credential := dotenv(in.Credential)
	passOn(access.Env, credential, azureVariables())
	access.Env["AZURE_ACCOUNT_NAME"] = account

	if name := setting(in.Location, "storageAccountKeyEnvVar"); name != "" {
		key := credential[name]
		if key == "" {
			key = in.ProcessEnv[name]
		}
		if key == "" {
			return locationError(in.Location, "spec.config.storageAccountKeyEnvVar names %q, which its credential "+
				"does not have: add the line %s=<access key of the account>", name, name)
		}
		access.Env["AZURE_ACCOUNT_KEY"] = key
	}
	if err := azureEndpoint(in.Location, credential["AZURE_CLOUD_NAME"], access); err != nil {
		return err
	}
	if !azureCanSignIn(access.Env) && !azureCanSignIn(in.extraEnv) {
		return locationError(in.Location, "its credential has nothing to sign in with: give it a line with the "+
			"account's access key and name that line in spec.config.storageAccountKeyEnvVar, or a service principal "+
			"(AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET) with the role Storage Blob Data Contributor, or "+
			"give the agent's service account a workload identity")
	}
	return nil
}

// azureEndpoint sets the domain of the storage account where it is not the public one.
func azureEndpoint(location *velerov1.BackupStorageLocation, cloudName string, access *Access) error {
	cloud, ok := azureCloudOf(cloudName)
	if !ok {
		return locationError(location, "AZURE_CLOUD_NAME in its credential is %q: write AzurePublicCloud, "+
			"AzureUSGovernment or AzureChinaCloud", cloudName)
	}
	if cloud.suffix != "" {
		access.Env["AZURE_ENDPOINT_SUFFIX"] = cloud.suffix
		if access.Env["AZURE_AUTHORITY_HOST"] == "" {
			access.Env["AZURE_AUTHORITY_HOST"] = cloud.authority
		}
	}
	uri := setting(location, "storageAccountURI")
	if uri == "" {
		return nil
	}
	// restic makes the URL itself: https://ACCOUNT.blob.SUFFIX/CONTAINER.
	start := "https://" + access.Env["AZURE_ACCOUNT_NAME"] + ".blob."
	suffix, ok := strings.CutPrefix(strings.TrimRight(uri, "/"), start)
	if !ok || suffix == "" || strings.Contains(suffix, "/") {
		return locationError(location, "spec.config.storageAccountURI is %q, but restic reaches only %s<domain>",
			uri, start)
	}
	access.Env["AZURE_ENDPOINT_SUFFIX"] = suffix
	return nil
}

// azureCanSignIn says whether there is anything that restic, or its library for Azure, can sign in with. A managed
// identity needs nothing but the node that the agent runs on, and so is asked for by its client ID.
func azureCanSignIn(env map[string]string) bool {
	for _, name := range []string{"AZURE_ACCOUNT_KEY", "AZURE_ACCOUNT_SAS", "AZURE_CLIENT_ID"} {
		if env[name] != "" {
			return true
		}
	}
	return false
}
