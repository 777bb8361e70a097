#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Commands that only look or ask leave nothing held or active behind, even if they fail. A plan
# sees all that a merge sees.
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
grep -Eq '^ *metadata +/dev/mapper/' /run/asked && grep -Eq '^ *data +/dev/mapper/' /run/asked &&
  grep -Eq '^ *origin +/dev/' /run/asked || fail "the question does not name the devices: $(< /run/asked)"
grep -Eq '^ *note +freezing' /run/asked || fail "the notes are not shown with the question: $(< /run/asked)"
read -ra words < <(grep thin-pool /run/asked)
[[ ${words[7]} == - ]] || fail "a metadata snapshot is held while it asks: ${words[*]}"
diff <(echo "$before") <(state_of_everything) || fail "asking changed something"

note "plan and verify leave no file and no folder behind"
# looks COMMAND...: the command leaves no state directory behind.
looks() {
  says '0|8' . "$@" $vg/$snap_lv
  [[ ! -e $EXTMERGE_STATE_DIR ]] || fail "$* left $(ls -A "$EXTMERGE_STATE_DIR")"
}
rm -rf "$EXTMERGE_STATE_DIR"
looks plan
looks verify
looks merge -n
quietly lvchange -an $vg/$snap_lv $vg/$pool_lv
looks plan
looks verify
quietly lvchange -ay $vg/$snap_lv
looks verify --state-dir /run/deep/in/there/
[[ ! -e /run/deep ]] || fail "the folders it made are still there"
mkdir -m 0700 "$EXTMERGE_STATE_DIR"
says 0 . plan $vg/$snap_lv
[[ -z $(ls -A "$EXTMERGE_STATE_DIR") ]] || fail "plan left $(ls -A "$EXTMERGE_STATE_DIR")"

note "killed while it held the metadata snapshot, the next plan puts that right and leaves nothing either"
kill_holding plan $vg/$snap_lv
says 0 . plan $vg/$snap_lv
! is_held || fail "the metadata snapshot is still held"
[[ -z $(ls -A "$EXTMERGE_STATE_DIR") ]] || fail "plan left $(ls -A "$EXTMERGE_STATE_DIR")"

note "done: a finish can be tried without doing it"
# Slow enough for a line on any machine.
says 0 Merged merge --yes --progress=json --rate-limit 2M $vg/$snap_lv
grep -q "\"device\":\"/dev/$vg/$origin_lv\"" /run/said || fail "progress does not name the origin: $(< /run/said)"
! grep -q '"device":""' /run/said || fail "progress has no device: $(< /run/said)"

note "what a merge has left in the state directory stays as it is"
# state_files: prints names, modes, sizes and checksums.
state_files() (
  cd "$EXTMERGE_STATE_DIR"
  stat -c '%n %a %s' *
  sha256sum *
)
before=$(state_files)
for command in plan verify; do says 0 . $command $vg/$snap_lv; done
diff <(echo "$before") <(state_files) || fail "the state directory has changed"

note "nothing was written since: that is success, and nothing is changed"
before=$(state_of_everything)
says 0 "Nothing to merge: nothing was written to $vg/$snap_lv since" merge --yes --batch-mode $vg/$snap_lv
says 0 "nothing to merge: nothing was written" plan $vg/$snap_lv
"$EXTMERGE" merge --yes --batch-mode --json $vg/$snap_lv > /run/report || fail "merge --json"
"$EXTMERGE" plan --json --progress=none $vg/$snap_lv > /run/planned || fail "plan --json"
python3 - << 'READ' || fail "JSON: $(< /run/report)"
import json, sys
report, plan = json.load(open("/run/report")), json.load(open("/run/planned"))
sys.exit((report["state"], report["bytes_read"], report["bytes_written"], report["durable_bytes"] > 0,
          plan["state"], plan["refusals"]) != ("done", 0, 0, True, "done", []))
READ
diff <(echo "$before") <(state_of_everything) || fail "that changed something"

note "the same data written again counts as new: its blocks have moved"
dd if=/dev/$vg/$snap_lv of=/run/block bs=64k count=1 iflag=direct status=none
dd if=/run/block of=/dev/$vg/$snap_lv bs=64k oflag=direct conv=notrunc status=none
says 0 "Merged" merge --yes --batch-mode $vg/$snap_lv
says 0 "Nothing to merge" merge --yes --batch-mode $vg/$snap_lv
grep -q "is inactive" /run/said && fail "the origin was read, and extmerge says that it was not"
quietly lvchange -an $vg/$snap_lv
says 0 "origin is inactive: extmerge did not check" merge --yes --batch-mode $vg/$snap_lv
quietly lvchange -ay $vg/$snap_lv

note "and a finish finishes all the same"
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
