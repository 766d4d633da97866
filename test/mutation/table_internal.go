// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import "slices"

// internalMutants are changes to what several programs share.
func internalMutants() []Mutant {
	return slices.Concat(contractMutants(), ruleMutants())
}

// contractMutants are changes to names and forms that exist in clusters and repositories.
func contractMutants() []Mutant {
	const pkg = "./internal/contract"
	return []Mutant{
		{
			Name: "a long name is labeled in another way than Velero's", File: "internal/contract/name.go",
			Line: "if len(name) <= labelValueMax {", Change: "if len(name) < labelValueMax {",
			Test: test(pkg, "TestLabelValue"),
		},
		{
			Name: "objects get other names than those that exist", File: "internal/contract/name.go",
			Line: `"\x00"`, Change: `"/"`, Test: test(pkg, "TestDerivedNames"),
		},
		{
			Name: "a note of a later version is guessed at", File: "internal/contract/podnote.go",
			Line: "if note.Version < 1 || note.Version > podNoteVersion {", Change: "if note.Version < 1 {",
			Test: test(pkg, "TestPodNote"),
		},
		{
			Name: "snapshots are found without the pod's UID", File: "internal/contract/tag.go",
			Line: "TagBackupUID: backupUID, TagPodUID: podUID, ", Change: "TagBackupUID: backupUID, ",
			Test: test(pkg, "TestSnapshotTags"),
		},
	}
}

// ruleMutants are changes to the rules that select volumes.
func ruleMutants() []Mutant {
	const pkg = "./internal/volumerule"
	return []Mutant{
		{
			Name: "a pattern that ends with a star matches every name", File: "internal/volumerule/glob.go",
			Line: "	if !found {\n", Change: "	if false {\n", Test: test(pkg, "TestConditions"),
		},
		{
			Name: "an unbound claim has no size", File: "internal/volumerule/rule.go",
			Line: "	if v.Claim != nil {\n", Change: "	if false {\n",
			Test: test(pkg, "TestConditionsOfAnUnboundClaim"),
		},
		{
			Name: "a claim without a class matches no class of its volume", File: "internal/volumerule/rule.go",
			Line: "		return v.PV.Spec.StorageClassName\n", Change: "		return \"\"\n",
			Test: test(pkg, "TestConditionsOfAnUnboundClaim"),
		},
		{
			Name: "a Job whose name ends in eight letters counts as a CronJob's", File: "internal/volumerule/owner.go",
			Line: `strings.Trim(digits, "0123456789") == "" && `, Change: "", Test: test(pkg, "TestOwners"),
		},
		{
			Name: "a rule for nfs misses the volume of a claim", File: "internal/volumerule/type.go",
			Line: "func(s *pv) bool { return s.NFS != nil }", Change: "func(*pv) bool { return false }",
			Test: test(pkg, "TestTypes"),
		},
	}
}
