// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

// helperMutants are changes to the init container of restored pods.
func helperMutants() []Mutant {
	const pkg = "./helper-image"
	return []Mutant{
		{
			Name: "a volume without a marker counts as restored", File: "helper-image/wait.go",
			Line:   "		v.reason = unreadable(err)\n		return false, nil\n	}\n	return true, nil",
			Change: "		v.reason = unreadable(err)\n		return true, nil\n	}\n	return true, nil",
			Test:   test(pkg, "TestExamine"),
		},
	}
}
