# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures time and cost of extmerge, beside a program that does the same job.

sections: metadata thins siblings copy equal shapes cost resume scale rounds copies; all of them if none is named.
The pools are made in --folder, on a disk (up to 50 GB at a time), and in --memory (some 16
GB). Missing peers are left out and named. EXTMERGE is the program; THIN_LS_1, THIN_CHECK_1 and
THIN_RESTORE_1 can name the programs of thin-provisioning-tools 1.x. EXTMERGE_BEFORE can name the
extmerge of commit 85ca08b, which merges a later snapshot in full: the sections metadata, copy and
rounds also measure that one.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from copies import Copies, ExportRounds, knows_copies
from measure import Contest, Table, run, system_calls, traffic
from plot import draw
from pools import GIB, KIB, MIB, Pool, RoundsPool, Shape, apart
from rounds import EXTMERGE, METADATA_IMAGE, Rounds, RoundsImage, bound, knows_rounds

BEFORE = os.environ.get("EXTMERGE_BEFORE")


def peers(*names):
    """The programs of `names` that are installed."""
    found = []
    for name in names:
        if shutil.which(name):
            found.append(name)
        else:
            print("skipped: %s is not installed" % name)
    return found


class Bench:
    def __init__(self, options):
        self.folder, self.memory, self.repeats = options.folder, options.memory, options.rounds
        self.plot, self.large = options.plot, options.large

    # --- merges ---------------------------------------------------------------

    def merge(self, pool, *options, program=EXTMERGE):
        def once(number):
            with tempfile.TemporaryDirectory(dir=self.folder) as state:
                result = run([program, "merge", "--yes", "--batch-mode", "--verify=none",
                              "--state-dir", state, *options, *pool.source(pool.next_thin())])
                result.journal = sum(entry.stat().st_size for entry in os.scandir(state))
                return result
        return once

    def commit(self, pool):
        return lambda number: run(["qemu-img", "commit", "-f", "qcow2", "-d", "-t", "none",
                                   pool.overlay(pool.next_thin())])

    def fio(self, pool):
        """The same reads and writes at once, into buffers of huge pages. The time is by fio's own
        clock, because fio needs a third of a second to start and to end."""
        shape = pool.shape
        common = ["--ioengine=libaio", "--direct=1", "--iodepth=32", "--mem=shmhuge", "--bs=%d" % min(shape.block, MIB), "--end_fsync=1",
                  "--io_size=%d" % shape.mapped, "--randrepeat=0"]
        command = ["fio", "--output-format=json", *common,
                   "--name=read", "--rw=randread" if shape.scattered else "--rw=read",
                   "--filename=" + pool.path("data"), "--size=%d" % shape.mapped,
                   "--name=write", "--rw=randwrite" if shape.run == 1 else "--rw=write",
                   "--filename=" + pool.path("scratch"), "--size=%d" % shape.origin]
        if not os.path.exists(pool.path("scratch")):
            subprocess.run(["cp", pool.path("origin"), pool.path("scratch")], check=True)

        def once(number):
            with huge_pages(64):
                result = run(command)
            jobs = json.loads(result.said)["jobs"]
            result.wall = max(job["job_runtime"] for job in jobs) / 1000
            return result
        return once

    def contest(self, pool, wanted, extra=None):
        commands = {"extmerge": self.merge(pool)}
        commands.update(extra or {})
        if "qemu-img" in wanted:
            commands["qemu-img"] = self.commit(pool)
        if "fio" in wanted:
            commands["fio"] = self.fio(pool)
        return Contest(commands, self.repeats)

    # --- sections -------------------------------------------------------------

    def metadata(self):
        images = self._metadata_images(10_000_000)
        table = Table("plan: 10 million single blocks, %d MiB of metadata"
                      % (self._used(images["ordered"]) // MIB),
                      ["command", "wall s", "cpu s", "MiB", "times"])
        commands = {"extmerge plan": lambda n: self._plan(images["ordered"], 10_000_000),
                    "extmerge plan, leaves shuffled":
                        lambda n: self._plan(images["shuffled"], 10_000_000),
                    "dd iflag=direct bs=1M": lambda n: run(
                        ["dd", "if=" + images["ordered"], "of=/dev/null", "iflag=direct", "bs=1M",
                         "count=%d" % (self._used(images["ordered"]) // MIB)])}
        if BEFORE:
            commands["before: plan"] = lambda n: self._plan(images["ordered"], 10_000_000, BEFORE)
        columns = ["-o", "DEV,MAPPED,EXCLUSIVE"]
        for label, program, arguments in (
                ("thin_ls -o DEV,MAPPED,EXCLUSIVE", "thin_ls", columns),
                ("thin_ls 1.x, the same", os.environ.get("THIN_LS_1", "thin_ls 1.x"), columns),
                ("thin_check 1.x", os.environ.get("THIN_CHECK_1", "thin_check 1.x"), [])):
            for name in peers(program):
                commands[label] = lambda n, name=name, arguments=arguments: run(
                    [name, *arguments, images["ordered"]])
        contest = Contest(commands, self.repeats)
        for name in commands:
            table.row(name, "%.2f" % contest.median(name), "%.2f" % contest.median(name, "cpu"),
                      "%.0f" % (contest.median(name, "memory") / MIB),
                      "%.2f" % contest.times_faster("extmerge plan", name))

    def thins(self):
        """Plans one of many thins. thin_ls 1.x reads the root of each thin, too, for any columns;
        thin_ls 0.9 does so only with EXCLUSIVE."""
        columns = ["-o", "DEV,MAPPED,EXCLUSIVE"]
        for kind in ("independent", "shuffled", "snapshots"):
            for count in (1000, 20_000, 100_000):
                image = self._thins_image(count, kind)
                if not image:
                    continue
                table = Table("plan beside %d thins, %s, %d MiB of metadata"
                              % (count - 1, kind, self._used(image) // MIB),
                              ["command", "wall s", "cpu s", "MiB", "times"])
                commands = {"extmerge plan": lambda n, image=image: self._plan(image, 5_000_000)}
                for label, program, arguments in (
                        ("thin_ls", "thin_ls", columns),
                        ("thin_ls 1.x", os.environ.get("THIN_LS_1", "thin_ls 1.x"), [])):
                    for name in peers(program):
                        commands[label] = lambda n, name=name, arguments=arguments, image=image: \
                            run([name, *arguments, image])
                contest = Contest(commands, self.repeats)
                for name in commands:
                    table.row(name, "%.2f" % contest.median(name),
                              "%.2f" % contest.median(name, "cpu"),
                              "%.0f" % (contest.median(name, "memory") / MIB),
                              "%.2f" % contest.times_faster("extmerge plan", name))

    def siblings(self):
        """A plan beside many siblings that share most of their nodes. The bound is 1.3 times a plan
        beside none, plus one walk of the siblings' own nodes, each read once."""
        mappings, count = 2_000_000, 150
        images = {}
        for number in (0, count):
            images[number] = os.path.join(self.folder, "%d-siblings.metadata" % number)
            if not os.path.exists(images[number]):
                subprocess.run([METADATA_IMAGE, "siblings", str(mappings), str(number), images[number]], check=True)

        def walk(number):
            result = run([METADATA_IMAGE, "walk", images[count]])
            result.wall = float(result.said)
            return result
        contest = Contest({"plan beside none": lambda n: self._plan(images[0], mappings),
                           "plan beside %d siblings" % count: lambda n: self._plan(images[count], mappings),
                           "walk of their own nodes": walk}, self.repeats)
        table = Table("plan of %d million blocks beside %d siblings, %d MiB of metadata"
                      % (mappings // 1_000_000, count, os.path.getsize(images[count]) // MIB),
                      ["command", "wall s", "cpu s", "MiB"])
        walls = []
        for name in contest.runs:
            walls.append(contest.median(name))
            table.row(name, "%.3f" % walls[-1], "%.2f" % contest.median(name, "cpu"),
                      "%.0f" % (contest.median(name, "memory") / MIB))
        none, beside, own = walls
        print("bound: 1.3 * %.3f + %.3f = %.3f s; the plan takes %.2f of that" % (none, own, 1.3 * none + own, beside / (1.3 * none + own)))

    def copy(self):
        for where, folder in (("on disk", self.folder), ("in memory", self.memory)):
            size = (2, 8) if folder == self.folder else (1, 4)
            pool = Pool(folder, Shape(mapped=size[0] * GIB, origin=size[1] * GIB))
            table = Table("copy %s: %d GiB of single 64 KiB blocks into %d GiB, all different"
                          % (where, *size), ["command", "wall s", "cpu s", "MiB", "times"])
            extra = {"extmerge --compare=never": self.merge(pool, "--compare=never"),
                     "extmerge --compare=always": self.merge(pool, "--compare=always"),
                     "extmerge, checkpoints 1T apart":
                         self.merge(pool, "--checkpoint-interval=1T")}
            if BEFORE:
                extra["before: merge"] = self.merge(pool, program=BEFORE)
            contest = self.contest(pool, peers("qemu-img", "fio"), extra)
            self._rows(table, contest)

    def equal(self):
        for percent in (90, 25, 100):
            pool = Pool(self.folder, Shape(equal=percent / 100))
            table = Table("copy on disk: 2 GiB into 8 GiB, %d %% equal" % percent,
                          ["command", "wall s", "cpu s", "MiB", "times"])
            extra = {"extmerge --compare=never": self.merge(pool, "--compare=never"),
                     "extmerge --compare=always": self.merge(pool, "--compare=always")}
            self._rows(table, self.contest(pool, peers("qemu-img"), extra))
            pool.remove()

    def shapes(self):
        table = Table("shapes, on disk: how many times as fast as qemu-img commit",
                      ["shape", "extmerge s", "qemu-img s", "times", "one core", "4 KiB pages"])
        if not peers("qemu-img"):
            return
        for label, shape in (
                ("64 KiB, single, scattered", Shape(mapped=GIB)),
                ("64 KiB, single, in data order", Shape(mapped=GIB, scattered=False)),
                ("64 KiB, runs of 16", Shape(mapped=GIB, run=16)),
                ("64 KiB, one run", Shape(mapped=GIB, origin=GIB, run=GIB // (64 * KIB))),
                ("1 MiB, single, scattered", Shape(block=MIB, mapped=GIB)),
                ("1 MiB, runs of 4", Shape(block=MIB, mapped=GIB, run=4)),
                ("64 MiB, scattered", Shape(block=64 * MIB, mapped=GIB)),
                ("64 MiB, one run", Shape(block=64 * MIB, mapped=GIB, origin=GIB, run=16))):
            pool = Pool(self.folder, shape)
            self._shape(table, label, pool)
            pool.remove()
        pool = Pool(self.folder, Shape(mapped=GIB))
        for sector in (512, 4096):
            with pool.on_loop_devices(sector):
                self._shape(table, "the first, loop of %d-byte sectors" % sector, pool)
        pool.remove()

    def _shape(self, table, label, pool):
        merge, commit = self.merge(pool), self.commit(pool)
        contests = [Contest({"extmerge": ours, "qemu-img": theirs}, self.repeats)
                    for ours, theirs in ((merge, commit),
                                         (self._pinned(merge), self._pinned(commit)),
                                         (self._without_huge_pages(pool), commit))]
        table.row(label, "%.2f" % contests[0].median("extmerge"),
                  "%.2f" % contests[0].median("qemu-img"),
                  *("%.2f" % c.times_faster("extmerge", "qemu-img") for c in contests))

    def cost(self):
        table = Table("cost a GiB, on disk", ["case", "cpu s", "calls", "MiB"])
        for label, shape in (("all different", Shape()), ("90 % equal", Shape(equal=0.9))):
            pool = Pool(self.folder, shape)
            contest = Contest({"extmerge": self.merge(pool)}, self.repeats)
            with tempfile.TemporaryDirectory(dir=self.folder) as state:
                calls = system_calls([EXTMERGE, "merge", "--yes", "--batch-mode", "--verify=none",
                                      "--state-dir", state, *pool.source(pool.next_thin())])
            gib = shape.mapped / GIB
            table.row(label, "%.3f" % (contest.median("extmerge", "cpu") / gib),
                      "%d" % (calls / gib), "%.0f" % (contest.median("extmerge", "memory") / MIB))

    def resume(self):
        """A kill loses the copy since the last checkpoint, 128 MiB on average, and the program
        starts twice. So the merge must be a long one. A disk's speed varies over so much data,
        but the bytes written twice can be counted."""
        pool = Pool(self.folder, Shape(mapped=6 * GIB, origin=8 * GIB), with_overlays=False)
        table = Table("6 GiB, killed with SIGKILL at about half way, and resumed",
                      ["case", "wall s", "cpu s", "MiB written", "times"])
        merge = self.merge(pool)
        merge(0)  # the first merge takes longer
        half = merge(1).wall / 2
        contest = Contest({"uninterrupted": merge,
                           "killed and resumed": lambda n: self._killed(pool, half)}, self.repeats)
        for name in contest.runs:
            table.row(name, "%.2f" % contest.median(name), "%.2f" % contest.median(name, "cpu"),
                      "%.0f" % (contest.median(name, "written") / MIB),
                      "%.3f" % (1 / contest.times_faster(name, "uninterrupted")))
        pool.remove()

    def scale(self):
        plans = []
        table = Table("scale: plans of single blocks", ["mappings", "wall s", "cpu s", "MiB",
                                                        "ns each"])
        for millions in (6.25, 25, 100):
            mappings = int(millions * 1_000_000)
            image = self._metadata_images(mappings, peers_too=False)["ordered"]
            contest = Contest({"plan": lambda n: self._plan(image, mappings)}, self.repeats)
            wall, memory = contest.median("plan"), contest.median("plan", "memory")
            plans.append((mappings, wall, memory))
            table.row("%g million" % millions, "%.2f" % wall,
                      "%.2f" % contest.median("plan", "cpu"), "%.0f" % (memory / MIB),
                      "%.0f" % (wall / mappings * 1e9))
        merges = []
        table = Table("scale: copies of single 64 KiB blocks, on disk",
                      ["copied", "wall s", "cpu s", "MiB", "MiB/s"])
        for mapped in (256 * MIB, GIB, 4 * GIB):
            pool = Pool(self.folder, Shape(mapped=mapped), with_overlays=False)
            contest = Contest({"merge": self.merge(pool)}, self.repeats)
            wall, memory = contest.median("merge"), contest.median("merge", "memory")
            merges.append((mapped / GIB, wall, memory))
            journal_bytes = contest.median("merge", "journal") / (mapped // (64 * KIB))
            table.row("%d MiB" % (mapped // MIB), "%.2f" % wall,
                      "%.2f" % contest.median("merge", "cpu"), "%.0f" % (memory / MIB),
                      "%.0f" % (mapped / MIB / wall))
            pool.remove()
        self._of_16_tib(plans, merges[-1], journal_bytes)
        if self.plot:
            draw(self.plot, [("plan: seconds and MiB by million mappings",
                              [(m / 1e6, s, b / MIB) for m, s, b in plans]),
                             ("merge: seconds and MiB by GiB copied",
                              [(g, s, b / MIB) for g, s, b in merges])])

    def _of_16_tib(self, plans, merge, journal_bytes):
        """Calculates from measured terms: a plan's time and memory by mapping, a journal's bytes
        by run, a copy's time by GiB."""
        (fewer, seconds_1, memory_1), (more, seconds_2, memory_2) = plans[-2:]
        seconds = (seconds_2 - seconds_1) / (more - fewer)
        memory = (memory_2 - memory_1) / (more - fewer)
        gib, copying, _ = merge
        table = Table("16 TiB of single blocks, by calculation",
                      ["block", "mappings", "plan s", "plan MiB", "journal MiB", "copy h"])
        for block in (64 * KIB, 256 * KIB, MIB):
            blocks = 16 * 1024 * GIB // block
            table.row("%d KiB" % (block // KIB), blocks,
                      "%.1f" % (seconds_2 + seconds * (blocks - more)),
                      "%.0f" % ((memory_2 + memory * (blocks - more)) / MIB),
                      "%.0f" % (blocks * journal_bytes / MIB),
                      "%.1f" % (copying / gib * 16 * 1024 / 3600))

    def rounds(self):
        """Merges snapshot 2, then measures the merge of snapshot 3 again and again."""
        knows = knows_rounds()
        self._merge_round(knows)
        if knows:
            self._plan_rounds(10_000_000, self.repeats)
            if self.large:
                self._plan_rounds(100_000_000, 1)

    def _merge_round(self, knows):
        if not BEFORE:
            print("skipped: EXTMERGE_BEFORE names no earlier extmerge")
        if not BEFORE and not knows:
            return
        pool = RoundsPool(self.folder, Shape(mapped=4 * GIB))
        changed = pool.changed_bytes()
        rivals = {"before: merge": Rounds(self.folder, pool, BEFORE)} if BEFORE else {}
        if knows:
            rivals["extmerge merge --full"] = Rounds(self.folder, pool, EXTMERGE, "--full")
            rivals["extmerge merge --since-last"] = Rounds(self.folder, pool, EXTMERGE, "--since-last")
        for rival in rivals.values():
            rival.merge_first()
        pool.take_second()
        table = Table("rounds, on disk: 4 GiB of single 64 KiB blocks are merged, then the 1 %% that changed (%d MiB)" % (changed // MIB),
                      ["command", "wall s", "cpu s", "MiB", "MiB read", "written", "times"])
        contest = Contest({name: rival.merge_second for name, rival in rivals.items()}, self.repeats)
        first = next(iter(rivals))  # the peer, if there is one
        for name in rivals:
            table.row(name, "%.3f" % contest.median(name), "%.2f" % contest.median(name, "cpu"), "%.0f" % (contest.median(name, "memory") / MIB),
                      "%.1f" % (contest.median(name, "read") / MIB), "%.1f" % (contest.median(name, "written") / MIB),
                      "%.2f" % contest.times_faster(name, first))
        moved = self._rounds_traffic(pool, rivals)
        if knows:
            metadata_bytes, data_bytes, origin_bytes = moved["extmerge merge --since-last"]
            if BEFORE:
                bound("times as fast as before", contest.times_faster("extmerge merge --since-last", first), least=25)
            bound("bytes read from the pool's data, of those changed", data_bytes / changed, most=1.05)
            bound("bytes read from data and origin, of those changed", (data_bytes + origin_bytes) / changed, most=2.1)
            print("bytes read from the metadata, of those changed: %.3f" % (metadata_bytes / changed))
        for rival in rivals.values():
            rival.remove()
        pool.remove()

    def _rounds_traffic(self, pool, rivals):
        """Counts what each command reads and writes, file by file. Compares each result in full."""
        table = Table("the same, by system calls: MiB", ["command", "metadata", "data", "origin", "written"])
        read = {}
        for name, rival in rivals.items():
            moved = rival.traffic()
            metadata, data, origin = (moved[pool.path(file)] for file in ("metadata", "data", "origin"))
            read[name] = metadata[0], data[0], origin[0]
            table.row(name, *("%.1f" % (count / MIB) for count in (metadata[0], data[0], origin[0], origin[1])))
        return read

    def _plan_rounds(self, mappings, rounds):
        state = RoundsImage(self.folder, mappings)
        table = Table("plan of a round: %d million single blocks, 1 %% changed, %d MiB of metadata"
                      % (mappings // 1_000_000, os.path.getsize(state.path("metadata")) // MIB),
                      ["command", "wall s", "cpu s", "MiB", "ns each", "times"])
        contest = Contest({"plan --full": state.full, "plan --since-last": state.since}, rounds)
        for name in contest.runs:
            wall = contest.median(name)
            table.row(name, "%.2f" % wall, "%.2f" % contest.median(name, "cpu"), "%.0f" % (contest.median(name, "memory") / MIB),
                      "%.1f" % (wall / mappings * 1e9), "%.2f" % contest.times_faster(name, "plan --full"))
        bound("MiB of memory", contest.median("plan --since-last", "memory") / MIB, most=128)
        state.remove()

    def copies(self):
        """Copies of a thin to an image and to an NBD export."""
        if not knows_copies() or len(peers("nbdkit", "nbdcopy", "qemu-img")) < 3:
            return
        rival = Copies(self.folder, self.repeats)
        rival.to_exports()
        rival.whole()
        rival.to_images()
        rival.remove()
        rounds = ExportRounds(self.folder, self.repeats)
        rounds.measure()
        rounds.remove()

    # --- what they have in common ----------------------------------------------

    def _rows(self, table, contest):
        for name in contest.runs:
            table.row(name, "%.2f" % contest.median(name), "%.2f" % contest.median(name, "cpu"),
                      "%.0f" % (contest.median(name, "memory") / MIB),
                      "%.2f" % contest.times_faster("extmerge", name))

    def _pinned(self, command):
        def once(number):
            os.sched_setaffinity(0, {0})
            try:
                return command(number)
            finally:
                os.sched_setaffinity(0, range(os.cpu_count()))
        return once

    def _without_huge_pages(self, pool):
        merge = self.merge(pool)

        def once(number):
            prctl(41, 1)  # PR_SET_THP_DISABLE, inherited
            try:
                return merge(number)
            finally:
                prctl(41, 0)
        return once

    def _killed(self, pool, seconds):
        """Kills a merge after `seconds` and resumes it. Returns both runs together."""
        with tempfile.TemporaryDirectory(dir=self.folder) as state:
            arguments = ["--yes", "--batch-mode", "--verify=none", "--state-dir", state,
                         *pool.source(pool.next_thin())]
            first = run([EXTMERGE, "merge", *arguments], status=-signal.SIGKILL,
                        kill_after=seconds)
            second = run([EXTMERGE, "merge", *arguments])
            second.wall += first.wall
            second.cpu += first.cpu
            second.written += first.written
            return second

    def _used(self, image):
        return os.stat(image).st_blocks * 512

    def _plan(self, image, mappings, program=EXTMERGE):
        block = 64 * KIB
        for name, size in (("plan-data", mappings * block), ("plan-origin", 2 * mappings * block)):
            path = os.path.join(self.folder, name)
            with open(path, "ab") as file:
                file.truncate(size)
        return run([program, "plan", "--metadata", image, "--data",
                    os.path.join(self.folder, "plan-data"), "--thin-id", "1", "--origin",
                    os.path.join(self.folder, "plan-origin"), "--live-root", "--thin-size",
                    str(2 * mappings * block), "--state-dir", self.folder + "/none"])

    def _thins_image(self, count, kind):
        """The image of that kind, or nothing if thin_restore 1.x is missing."""
        image = os.path.join(self.folder, "%d-thins-%s.metadata" % (count, kind))
        if os.path.exists(image):
            return image
        if kind == "shuffled":
            subprocess.run([METADATA_IMAGE, "shuffle", self._thins_image(count, "independent"),
                            image], check=True)
            return image
        tools = ["thin_restore"]
        if kind == "snapshots":
            tools = peers(os.environ.get("THIN_RESTORE_1", "thin_restore 1.x"))
        if not tools:
            return None
        apart(restore_thins, count, image, kind, tools)
        return image

    def _metadata_images(self, mappings, peers_too=True):
        images = {kind: os.path.join(self.folder, "%d-%s.metadata" % (mappings, kind))
                  for kind in ("ordered", "shuffled")}
        if not peers_too:
            if not os.path.exists(images["ordered"]):
                subprocess.run([METADATA_IMAGE, "make", str(mappings), "ordered",
                                images["ordered"]], check=True)
            return images
        if not os.path.exists(images["shuffled"]):
            apart(restore, mappings, images["ordered"])
            subprocess.run([METADATA_IMAGE, "shuffle", images["ordered"], images["shuffled"]],
                           check=True)
        return images


def restore_thins(count, image, kind, restore_command):
    """Writes `count` thins of ten blocks each in random places. Or writes snapshots of one volume
    of 2,000 blocks, each with one block of its own. Snapshots need <def>, which thin_restore 1.x has."""
    import random
    numbers = random.Random(1)
    shared = 2000 if kind == "snapshots" else 0
    xml = image + ".xml"
    with open(xml, "w") as file:
        file.write('<superblock uuid="" time="1" transaction="1" flags="0" version="2" '
                   'data_block_size="128" nr_data_blocks="%d">\n' % (shared + 10 * count))
        data = iter(range(shared + 10 * count))
        single = '<single_mapping origin_block="%d" data_block="%d" time="0"/>\n'
        if shared:
            file.write('<def name="volume">\n')
            file.writelines(single % (2 * i, next(data)) for i in range(shared))
            file.write("</def>\n")
        for id in range(1, count + 1):
            own = [5000 + id] if shared else sorted(numbers.sample(range(4000), 10))
            file.write('<device dev_id="%d" mapped_blocks="%d" transaction="0" creation_time="0" '
                       'snap_time="0">\n' % (id, shared + len(own)))
            if shared:
                file.write('<ref name="volume"/>\n')
            file.writelines(single % (block, next(data)) for block in own)
            file.write("</device>\n")
        file.write("</superblock>\n")
    with open(image, "wb") as file:
        file.truncate(64 * MIB + count * 10 * KIB)
    subprocess.run([*restore_command, "-i", xml, "-o", image], check=True,
                   stdout=subprocess.DEVNULL)
    os.remove(xml)


def restore(mappings, image):
    """Writes metadata by thin_restore: every second block, mapped to data in random order."""
    import random
    data = list(range(mappings))
    random.Random(1).shuffle(data)
    xml = image + ".xml"
    with open(xml, "w") as file:
        file.write('<superblock uuid="" time="1" transaction="1" flags="0" version="2" '
                   'data_block_size="128" nr_data_blocks="%d">\n' % mappings)
        file.write('<device dev_id="1" mapped_blocks="%d" transaction="0" creation_time="0" '
                   'snap_time="0">\n' % mappings)
        for i, block in enumerate(data):
            file.write('<single_mapping origin_block="%d" data_block="%d" time="0"/>\n'
                       % (2 * i, block))
        file.write("</device>\n</superblock>\n")
    with open(image, "wb") as file:
        file.truncate(max(64 * MIB, mappings * 52))
    subprocess.run(["thin_restore", "-i", xml, "-o", image], check=True,
                   stdout=subprocess.DEVNULL)
    os.remove(xml)


@contextlib.contextmanager
def huge_pages(count):
    """Reserves huge pages for fio, which cannot reserve them itself."""
    path = "/proc/sys/vm/nr_hugepages"
    with open(path) as file:
        before = file.read()
    with open(path, "w") as file:
        file.write(str(count))
    try:
        yield
    finally:
        with open(path, "w") as file:
            file.write(before)


def prctl(option, value):
    import ctypes
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def main():
    sections = ("metadata", "thins", "siblings", "copy", "equal", "shapes", "cost", "resume", "scale", "rounds", "copies")
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default="/var/tmp/extmerge-bench")
    parser.add_argument("--memory", default="/dev/shm/extmerge-bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plot", metavar="FILE", help="draw the section scale, as SVG")
    parser.add_argument("--large", action="store_true", help="in the section rounds, plan 100 million blocks too")
    parser.add_argument("sections", nargs="*", metavar="SECTION", default=[])
    options = parser.parse_args()
    for section in options.sections:
        if section not in sections:
            parser.error("no section " + section)
    for folder in (options.folder, options.memory):
        os.makedirs(folder, exist_ok=True)
    bench = Bench(options)
    for section in options.sections or sections:
        getattr(bench, section)()


if __name__ == "__main__":
    sys.exit(main())
