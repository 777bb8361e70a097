#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What only looks or asks, and must leave nothing held or active behind, however it ends; and
# what a plan has to see that a merge sees.
source "$(dirname "$0")/guest_lvm.sh"

new_everything 64k 8196k
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts

note "plan with nobody who reads what it says"
"$EXTMERGE" plan $vg/$snap_lv | true || true
! is_held || fail "the metadata snapshot is still held"
quietly lvchange -an $vg/$snap_lv $vg/$pool_lv
before=$(state)
"$EXTMERGE" plan $vg/$snap_lv | true || true
diff <(echo "$before") <(state) || fail "the pool was left active"
quietly lvchange -ay $vg/$snap_lv

note "while the question waits for its answer, no metadata snapshot is held; after no, nothing has changed"
before=$(state_of_everything)
python3 - "$EXTMERGE" merge $vg/$snap_lv << 'ASK' > /run/asked || fail "asking: $(< /run/asked)"
import os, pty, subprocess, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said = b""
while b"[y/N]" not in said and b"? " not in said:
    said += os.read(terminal, 4096)
print(subprocess.run(["dmsetup", "status", "--noflush", "--target", "thin-pool"],
                     capture_output=True, text=True).stdout)
os.write(terminal, b"n\n")
try:
    while True:
        said += os.read(terminal, 4096)
except OSError:
    pass
print(said.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0)
ASK
read -ra words < <(grep thin-pool /run/asked)
[[ ${words[7]} == - ]] || fail "a metadata snapshot is held while it asks: ${words[*]}"
diff <(echo "$before") <(state_of_everything) || fail "asking changed something"

note "done: a finish can be tried without doing it"
merges $vg/$snap_lv
before=$(state_of_everything)
says 0 . merge -n --finish $vg/$snap_lv
diff <(echo "$before") <(state_of_everything) || fail "merge -n changed something"

note "an inactive origin that was written to since: plan says so as merge does"
find_origin
read -r disk offset length <<< "$origin_extents"
dd if=/dev/urandom of="$disk" bs=64k seek="$offset" count=$((length / 65536)) \
  oflag=direct,seek_bytes conv=notrunc status=none
stamp scatter /dev/$vg/$snap_lv 2 2 5
! is_active $origin_lv || fail "the origin is active"
refuses 4 EXM-414 plan $vg/$snap_lv
refuses 4 EXM-414 merge --yes --batch-mode $vg/$snap_lv
refuses 4 EXM-414 merge -n --yes --batch-mode $vg/$snap_lv
