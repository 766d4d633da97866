#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: debian.sh PROGRAM=PACKAGE...
# Installs the Debian packages whose programs are missing. Elsewhere than on Debian it names the programs and fails.
set -eu
programs='' packages=''
for need; do
	command -v "${need%%=*}" >/dev/null || { programs="$programs ${need%%=*}"; packages="$packages ${need#*=}"; }
done
[ -n "$packages" ] || exit 0
command -v apt-get >/dev/null || { echo "missing:$programs; install them, and run this again" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
echo "installing Debian packages:$packages"
apt-get -o DPkg::Lock::Timeout=120 -q update
# shellcheck disable=SC2086 # a list of packages
apt-get -o DPkg::Lock::Timeout=120 -q -y --no-install-recommends install $packages
