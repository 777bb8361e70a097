#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A chain: internal snapshots of one another over one external origin. A merge of the newest one
# gives up the older ones that --with names. They are marked before the first write. An undo makes
# them whole again, and --finish removes them, the oldest last.
source "$(dirname "$0")/guest_chain.sh"

new_chain
note "plan shows the chain, also when a parent is removed and LVM shows nothing of it any more"
says 4 "chain +base <- mon <- tue <- cut <- wed" plan $vg/wed
quietly lvremove -y $vg/cut
[[ $(lvs_of lv_ancestors,lv_full_ancestors $vg/wed) =~ ^\ *base\ +base\ *$ ]] || fail "LVM still shows the parents: $(lvs_of lv_ancestors,lv_full_ancestors $vg/wed)"
note "without --with the older volumes are siblings"
refuses 4 "EXM-417.*(mon|tue)" merge --yes --batch-mode $vg/wed
says 4 "chain +base <- mon <- tue <- wed" plan $vg/wed
says 0 "given up +vg/tue, vg/mon: contents are lost" plan --with mon,tue $vg/wed
says 0 "siblings +none: only the volumes that are given up" plan --with vg/tue,mon $vg/wed
"$EXTMERGE" plan --json --with mon,tue $vg/wed > /run/plan
python3 - << 'CHECK' || fail "the plan in JSON: $(< /run/plan)"
import json
plan = json.load(open("/run/plan"))
assert plan["chain"] == ["vg/base", "vg/mon", "vg/tue", "vg/wed"], plan["chain"]
assert plan["given_up"] == ["vg/tue", "vg/mon"] and plan["siblings"] == [] and plan["refusals"] == []
CHECK

note "a volume that is not named is a sibling as before"
refuses 4 "EXM-417.*vg/mon" merge --yes --batch-mode --with tue $vg/wed
says_so "give them up: --with mon,tue"
refuses 4 "EXM-417.*vg/tue" merge --yes --batch-mode --finish --with mon $vg/wed

note "volumes that cannot be given up"
quietly lvcreate -y -Wn -Zn -n base2 -L 4M $vg
quietly lvchange -an $vg/base2
quietly lvchange -pr $vg/base2
quietly lvcreate -y -s -n alien --thinpool pool $vg/base2
new_pool 64k 8M pool2
new_snapshot far pool2
quietly lvchange -an $vg/far $vg/alien
refuses 4 "EXM-430.*vg/alien.*base" merge --yes --batch-mode --with mon,tue,alien $vg/wed
says 4 "EXM-430.*pool2" merge --yes --batch-mode --with mon,tue,far $vg/wed
refuses 4 "EXM-430.*younger" merge --yes --batch-mode --with mon,wed $vg/tue
says 4 "EXM-430.*no thin" plan --with mon,tue,base $vg/wed
says 4 "EXM-430.*group" plan --with other/mon $vg/wed
says 4 "EXM-401.*vg/sun" plan --with mon,tue,sun $vg/wed
says 1 "snapshot to be merged" plan --with wed $vg/wed
says 1 "twice" plan --with mon,tue,vg/mon $vg/wed
quietly lvremove -y $vg/far $vg/pool2 $vg/alien $vg/base2

note "active or open"
quietly lvchange -ay $vg/tue
refuses 5 "EXM-509.*vg/tue is active" merge --yes --batch-mode --with mon,tue $vg/wed
exec {opened}< /dev/$vg/tue
refuses 5 "EXM-509.*vg/tue is open" merge --yes --batch-mode --finish --with mon,tue $vg/wed
exec {opened}<&-
quietly lvchange -an $vg/tue

note "killed when the volumes are marked, before a journal exists: abort removes the marks"
before=$(state_of_group)
kill_when '[[ $(tags mon) == *given-up* ]]' merge --yes --batch-mode --with mon,tue $vg/wed
[[ $killed == yes ]] && ! has_file '*.journal' || fail "it was not killed in time: $(< /run/said)"
says 0 . abort $vg/wed
diff <(echo "$before") <(state_of_group) || fail "abort did not put everything back"

note "undo makes all of them whole again"
merges --with mon,tue --undo-log "$EXTMERGE_STATE_DIR"/undo $vg/wed
origin_is /run/view_wed
given_up mon tue
kernel_view mon /run/view_after
! cmp -s /run/view_mon /run/view_after || fail "the merge did not change mon"
says 0 "vg/tue and vg/mon read as before the merge" undo --yes $vg/wed
reads_as_before mon tue wed
diff <(echo "$before") <(state_of_group) || fail "undo did not put everything back"

note "killed while it copies: status shows the volumes, resume wants them inactive and knows them"
kill_when is_copying merge --yes --batch-mode --rate-limit 1M --checkpoint-interval 64k --with mon,tue $vg/wed
[[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
given_up mon tue
says 0 "given up +vg/tue, vg/mon: contents are lost" status $vg/wed
quietly lvchange -ay -K $vg/tue
says 5 "EXM-509.*vg/tue is active" resume $vg/wed
quietly lvchange -an $vg/tue
reads_as_before wed
says 0 "resumed from" resume $vg/wed
says_so "given up +vg/tue, vg/mon: contents are lost"
says_so "merge --finish --with tue,mon vg/wed"
origin_is /run/view_wed
given_up mon tue

note "the next merge has to name them again; abort says which have lost their contents"
write_blocks wed 4 5 3
kernel_view wed /run/view_wed
says 4 "EXM-417.*vg/(mon|tue)" merge --yes --batch-mode $vg/wed
kill_when is_copying merge --yes --batch-mode --full --rate-limit 1M --checkpoint-interval 64k --with mon,tue $vg/wed
[[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
says 0 "vg/tue and vg/mon were given up: the contents are lost" abort $vg/wed
reads_as_before wed
given_up mon tue

note "an undo does not release what an earlier merge has destroyed"
merges --full --with mon,tue --undo-log "$EXTMERGE_STATE_DIR"/undo2 $vg/wed
says 0 . undo --yes $vg/wed
! grep -q 'reads\? as before' /run/said || fail "their contents are lost: $(< /run/said)"
given_up mon tue
reads_as_before wed

note "a finish of a volume in use, killed when that is removed, and again when the next one is"
sleep infinity < /dev/$vg/wed &
reader=$!
# closes_and_removes LV: closes wed once extmerge waits for that, and succeeds when LV is gone.
closes_and_removes() {
  if [[ -n $reader ]] && has_noted '"waiting": true'; then
    kill "$reader"
    reader=
  fi
  [[ -z $reader ]] && ! is_there "$1"
}
kill_when 'closes_and_removes wed' merge --yes --batch-mode --finish --when-closed --with mon,tue $vg/wed
[[ $killed == yes ]] || fail "it ended before it was killed: $(< /run/said)"
is_there mon || fail "the oldest volume is not removed last"
says 0 "about to be removed" status $vg/wed
kill_when '! is_there tue' merge --yes --batch-mode --finish --with mon,tue $vg/wed
says 0 "vg/base (is|stays) " merge --yes --batch-mode --finish --with mon,tue $vg/wed
only_base
