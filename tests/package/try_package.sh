#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# try_package.sh PACKAGE.deb: makes a Debian of this machine's suite, on which the package was built, and installs the
# package there. The installed program merges and verifies a small pool. systemd and man must accept their files. After
# the removal of the package nothing may be left. The script needs root and a Debian mirror.
set -euo pipefail

package=$(readlink -f "$1")
cd "$(dirname "$(readlink -f "$0")")/../.."
pool=tests/data/equal-64k

die() {
  printf 'try_package: %s\n' "$*" >&2
  exit 1
}

((EUID == 0)) || die "this takes root (or ./run package --no-try)"
scratch=$(mktemp -d "${TMPDIR:-/tmp}/extmerge-package.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
root=$scratch/root

# Testing and unstable both have the codename of the next Debian. Unstable can install a package that either has built.
suite=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME-}")
[[ $(< /etc/debian_version) != */sid ]] || suite=sid
source=$(tests/platforms/apt_source.py "$suite")
# The dependencies are installed first, so that the removal of the package leaves the same files as before.
depends=$(dpkg-deb -f "$package" Depends | sed 's/([^)]*)//g; s/ //g')
printf 'making a Debian (%s) with %s ...\n' "$suite" "$depends"
mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
  --include="systemd,man-db,$depends" "$suite" "$root" "$source" ||
  die "mmdebstrap failed (its messages are above)"
# in_root COMMAND...: runs the command in the root, with a /proc of its own.
in_root() {
  # shellcheck disable=SC2016
  unshare --mount --propagation private sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" env -i \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive HOME=/root "$@"' "$root" "$@"
}

everything() { (cd "$root" && find . \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./tmp -o -path ./run -o -path ./var/cache \
  -o -path ./var/log -o -path ./var/lib/apt -o -path ./var/lib/dpkg \) -prune -o -print | sort); }

cp "$package" "$root/tmp/extmerge.deb"
everything >"$scratch/before"
in_root dpkg -i /tmp/extmerge.deb
printf 'installed: %s\n' "$(in_root extmerge --version)"

for image in metadata data origin expected; do
  zstd -q -d --sparse "$pool/$image.img.zst" -o "$root/tmp/$image.img"
done
images=(--metadata /tmp/metadata.img --data /tmp/data.img --thin-id 1 --origin /tmp/origin.img --thin-size 32M)
in_root extmerge plan "${images[@]}"
in_root extmerge merge "${images[@]}" --yes
in_root extmerge verify "${images[@]}"
cmp "$root/tmp/origin.img" "$root/tmp/expected.img" || die "the origin is not what the kernel read from the snapshot"

for page in "8 extmerge" "5 extmerge-journal" "7 extmerge-recovery"; do
  # shellcheck disable=SC2086
  # dpkg does not unpack manuals if its configuration excludes them. $page is two words.
  [[ ! -d $root/usr/share/man/man8 ]] || in_root man -w $page >/dev/null || die "man does not find $page"
done
in_root systemd-analyze verify /usr/lib/systemd/system/extmerge@.service || die "systemd does not take the unit"
in_root systemd-tmpfiles --create extmerge.conf
[[ $(stat -c %a "$root/var/lib/extmerge") == 700 ]] || die "the state directory is not for root alone"

in_root dpkg --purge extmerge
rm -rf "$root/var/lib/extmerge" # journals are the administrator's
everything >"$scratch/after"
diff "$scratch/before" "$scratch/after" || die "this is left, or missing, after it was removed"
printf 'package: ok: installed, merged, and removed without a trace\n'
