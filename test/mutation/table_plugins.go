// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

// pluginMutants are changes to the actions that Velero's server runs.
func pluginMutants() []Mutant {
	return []Mutant{
		{
			Name: "an answer for one backup counts for the next", File: "plugins/internal/cluster/answers.go",
			Line: "return a.backup == backup && a.yes[question]", Change: "return a.yes[question]",
			Test: test("./plugins/internal/cluster", "TestOnce"),
		},
		{
			Name: "restores leave out every object", File: "plugins/ownresources/action.go",
			Line:   "return velero.ResourceSelector{IncludedResources: []string{\n",
			Change: "return velero.ResourceSelector{ExcludedResources: []string{\n",
			Test:   test("./plugins/ownresources", "TestAppliesTo"),
		},
		{
			Name: "a memory limit below the request stays, and the API server refuses the pod",
			File: "plugins/podrestore/config.go",
			Line: "case request.Cmp(limit) > 0:", Change: "case false && request.Cmp(limit) > 0:",
			Test: test("./plugins/podrestore", "TestResources"),
		},
		{
			Name: "a second attempt of Velero at the same pod fails",
			File: "plugins/podrestore/object.go",
			Line: "if err != nil && !apierrors.IsAlreadyExists(err) {", Change: "if err != nil {",
			Test: test("./plugins/podrestore", "TestExecuteTwice"),
		},
	}
}
