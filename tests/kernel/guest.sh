# SPDX-License-Identifier: GPL-3.0-or-later
#
# Functions that the guest scripts share. Each script begins with `source guest.sh`. The disks are
# always the same: a pool's metadata and data device, and the external origin.

set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
metadata=/dev/ubda data=/dev/ubdb origin=/dev/ubdc
export EXTMERGE_STATE_DIR=/run/state
mkdir -m 0700 "$EXTMERGE_STATE_DIR"

# pause SECONDS: sleeps without a new process, which costs a guest tens of milliseconds.
# (`read -t` needs no process either, but bash 5.2 sometimes returns from it with SIGCHLD blocked.)
mkfifo /run/pause /run/paused
python3 -c 'import time
with open("/run/pause") as asked, open("/run/paused", "w", buffering=1) as answer:
    for seconds in asked:
        time.sleep(float(seconds))
        answer.write("\n")' &
exec {pause}> /run/pause {paused}< /run/paused
pause() {
  echo "$1" >&$pause
  read -r -u $paused
}
# find_node NAME: succeeds if device-mapper has this device; sets `node` to its folder in /sys.
find_node() {
  local name
  for node in /sys/block/dm-*; do
    if read -r name < "$node/dm/name" && [[ $name == "$1" ]]; then return; fi
  done 2> /dev/null
  return 1
}

stamp() { python3 -B "$here/stamp.py" "$@"; }
sectors() { blockdev --getsz "$1"; }
note() { printf -- '-- %s\n' "$*"; }
fail() {
  printf 'FAILED: %s\n' "$*"
  exit 1
}

# make_pool [DATA]: makes an empty pool of 64 KiB blocks. New blocks are not zeroed.
block_sectors=128
make_pool() {
  dd if=/dev/zero of=$metadata bs=4096 count=1 oflag=direct status=none
  dmsetup create pool --table "0 $(sectors "${1:-$data}") thin-pool $metadata ${1:-$data} $block_sectors 0 1 skip_block_zeroing"
}
message() { dmsetup message pool 0 "$@"; }
# thin NAME ID SECTORS [ORIGIN]: opens a thin that exists.
thin() { dmsetup create "$1" --table "0 $3 thin /dev/mapper/pool $2${4:+ $4}"; }
# snapshot NEW OLD NAME: makes a snapshot of the thin OLD, which is active as NAME. NAME is suspended during that.
snapshot() {
  dmsetup suspend "$3"
  message "create_snap $1 $2"
  dmsetup resume "$3"
}

# kernel_reads ID SECTORS ORIGIN FILE: writes to FILE what the kernel reads from the thin.
kernel_reads() {
  dmsetup create view --readonly --table "0 $2 thin /dev/mapper/pool $1 $3"
  dd if=/dev/mapper/view of="$4" bs=64k iflag=direct conv=sparse status=none
  truncate -s $(($2 * 512)) "$4"
  dmsetup remove view
}

# source_of ID SECTORS [ORIGIN]: sets `source` to the arguments that name this thin.
source_of() {
  source=(--metadata $metadata --data $data --thin-id "$1" --thin-size "${2}s" --origin "${3:-$origin}")
}

# refused ID COMMAND...: extmerge refuses with that id, and its exit status fits.
refused() {
  local id=$1 status=0 said
  shift
  said=$("$EXTMERGE" "$@" 2>&1) || status=$?
  if [[ $status != "${id:4:1}" || $said != *"$id"* ]]; then
    printf '%s\n' "$said"
    fail "extmerge $* ended with $status and not with $id"
  fi
  note "refused as it should be: $id"
}

# same WHAT FILE DEVICE: compares past the page cache. WHAT is the failure's text.
same() {
  cmp "$2" <(dd if="$3" bs=64k iflag=direct status=none) || fail "$1"
}

# mark_needs_check DEVICE [OFFSET]: marks pool metadata as the kernel does. Nobody has the metadata open.
mark_needs_check() {
  python3 - "$1" "${2:-0}" << 'MARK'
import os, struct, sys
fd, offset = os.open(sys.argv[1], os.O_RDWR), int(sys.argv[2])
block = bytearray(os.pread(fd, 4096, offset))
struct.pack_into("<I", block, 4, struct.unpack_from("<I", block, 4)[0] | 1)
crc = 0xffffffff
for byte in block[4:]:
    crc ^= byte
    for _ in range(8):
        crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
struct.pack_into("<I", block, 0, crc ^ 160774)
os.pwrite(fd, block, offset)
os.fsync(fd)
MARK
}

# again ARGUMENT...: runs extmerge after a kill. A kill between the reservation of a metadata
# snapshot and its record leaves a metadata snapshot of unknown owner. Then extmerge refuses
# once and names the command to release it; `again` runs that command and extmerge.
again() {
  local status=0 release
  "$EXTMERGE" "$@" > /run/said 2>&1 || status=$?
  if ((status == 5)) && release=$(grep -o 'dmsetup message .* release_metadata_snap' /run/said); then
    note "in doubt: $release"
    $release
    status=0
    "$EXTMERGE" "$@" > /run/said 2>&1 || status=$?
  fi
  return $status
}
