# SPDX-License-Identifier: GPL-3.0-or-later
"""A merge after an earlier one of the same thin: a round with --since-last.

In the pools that a kernel wrote, thin 1 and thin 2 are snapshots of thin 0, one after the other. So
thin 2 after thin 1 is a round, with the kernel's own times.
"""

import json
import os
import shutil
import subprocess
import time
import unittest
import xml.etree.ElementTree as xml

from support import PoolTest, run

BLOCK = 65536


class Rounds(PoolTest):
    def other(self, thin_id):
        """The same pool, with another thin."""
        self.pool.thin_id = thin_id
        return self.pool

    def report(self, command, *options, thin_id):
        words = ["--yes"] if command == "merge" else []
        return json.loads(self.assert_ok(self.other(thin_id).run(command, *words, "-J", "--thin-size=32M", *options)).stdout)

    def merge(self, *options, thin_id):
        return self.report("merge", *options, thin_id=thin_id)

    def plan(self, *options, thin_id):
        return self.report("plan", *options, thin_id=thin_id)

    def mappings(self, thin_id):
        """{thin block: data block}, as thin_dump read them."""
        found = {}
        for device in xml.parse(os.path.join(self.pool.fixture, "dump.xml")).getroot():
            if device.get("dev_id") != str(thin_id):
                continue
            for each in device:
                if each.tag == "single_mapping":
                    found[int(each.get("origin_block"))] = int(each.get("data_block"))
                else:
                    for number in range(int(each.get("length"))):
                        found[int(each.get("origin_begin")) + number] = int(each.get("data_begin")) + number
        return found

    def changed(self):
        """The blocks that were written between thin 1 and thin 2."""
        before = self.mappings(1)
        changed = {thin: data for thin, data in self.mappings(2).items() if before.get(thin) != data}
        self.assertGreater(len(changed), 10)
        self.assertLess(len(changed), len(self.mappings(2)) / 2)
        return changed


class RoundsTest(Rounds):
    def test_a_round_writes_exactly_what_changed(self):
        first = self.merge(thin_id=1)
        self.assertEqual((first["round"], first["base"], first["full_reason"]),
                         ("full", None, "no earlier merge into this origin is known"))
        wanted = bytearray(self.pool.origin_bytes())
        self.assertEqual(wanted, self.pool.merged())
        changed = self.changed()

        ranges = self.assert_ok(self.other(2).run("plan", "--since-last", "--ranges", "--noheadings")).stdout
        planned = {}
        for line in ranges.splitlines():
            thin, data, count = map(int, line.split())
            planned.update({thin + i: data + i for i in range(count)})
        self.assertEqual(planned, changed)

        second = self.merge("--since-last", "--compare=never", thin_id=2)
        self.assertEqual((second["round"], second["full_reason"]), ("since", None))
        base = second["base"]
        self.assertEqual((base["pool_time"], base["end_bytes"], base["verified"]), (1, 32 << 20, "sample"))
        self.assertEqual(second["mapped_blocks"], len(self.mappings(2)))
        for member in ("copy_bytes", "bytes_read", "bytes_written", "total_bytes", "durable_bytes"):
            self.assertEqual(second[member], len(changed) * BLOCK, member)
        with open(self.pool.data, "rb") as file:
            for thin, data in changed.items():
                file.seek(data * BLOCK)
                wanted[thin * BLOCK:(thin + 1) * BLOCK] = file.read(BLOCK)
        self.assertEqual(self.pool.origin_bytes(), wanted)
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())
        status = self.pool.status()
        self.assertEqual((status["round"], status["base"]), ("since", base))

    def test_a_plan_says_in_words_which_it_is(self):
        self.merge(thin_id=1)
        text = self.assert_ok(self.other(2).run("plan", "--since-last")).stdout
        self.assertRegex(text, r"(?m)^  to be copied .*, changed since the last merge$")
        self.assertRegex(text, r"(?m)^  round +only what changed since the last merge$")
        self.assertRegex(self.pool.run("plan", "--full").stdout, r"(?m)^  round +everything: --full asks for it$")

    def test_without_the_word_everything_is_merged(self):
        self.merge(thin_id=1)
        for options, reason in (([], "the state merged last was not known to be a freeze of this thin"),
                                (["--full"], "--full asks for it"),
                                (["--restart"], "the merge restarts from the beginning"),
                                (["--again"], "--again asks for everything once more")):
            plan = self.plan(*options, thin_id=2)
            self.assertEqual((plan["round"], plan["base"], plan["full_reason"]), ("full", None, reason))
            self.assertEqual(plan["copy_blocks"], len(self.mappings(2)))
        report = self.merge("--full", thin_id=2)
        self.assertEqual(report["copy_blocks"], len(self.mappings(2)))
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_after_a_round_nothing_is_left(self):
        self.merge(thin_id=1)
        self.merge("--since-last", thin_id=2)
        before = self.pool.origin_bytes()
        said = "nothing was written to thin 2 since it was merged into " + self.pool.origin
        for command, words in (("plan", []), ("merge", ["--yes"])):
            result = self.assert_ok(self.pool.run(command, *words, "--since-last", "--thin-size=32M"))
            self.assertIn("othing to merge: " + said, result.stdout)
            report = self.report(command, "--since-last", thin_id=2)
            self.assertEqual((report["state"], report["round"], report["copy_bytes"]), ("done", "since", 0))
            self.assert_failed(self.pool.run(command, *words, "--thin-size=32M"), 6, "EXM-604")
        self.assertEqual(self.pool.origin_bytes(), before)

    def test_how_much_was_compared_is_carried_on(self):
        for first, second, both in (("full", "changed", "full"), ("sample", "full", "full"), ("sample", "changed", "sample"),
                                    ("full", "sample", "sample"), ("full", "none", "none")):
            with self.subTest(first=first, second=second):
                self.pool = self.make_pool()
                self.merge("--verify=" + first, thin_id=1)
                self.assertEqual(self.plan("--since-last", thin_id=2)["base"]["verified"], first)
                self.assertEqual(self.merge("--since-last", "--verify=" + second, thin_id=2)["verified"], second)
                result = self.pool.run("plan", "-J", "--since-last", "--thin-size=32M")
                self.assertEqual(json.loads(result.stdout)["base"]["verified"], both)

    def test_a_round_that_was_stopped_goes_on_as_one(self):
        self.merge(thin_id=1)
        wanted = len(self.changed()) * BLOCK
        process = self.other(2).start(*self.pool.command(
            "merge", "--yes", "--since-last", "--thin-size=32M", "--rate-limit=512k", "--checkpoint-interval=128k", "--buffer-size=64k"))
        self.addCleanup(process.communicate)
        end = time.monotonic() + 10
        while self.pool.status()["state"] != "copying" or self.pool.status()["durable_bytes"] == 0:  # until then it is the first journal
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        process.terminate()
        process.wait(10)
        journal = self.pool.journal()
        self.assertEqual((self.pool.status()["state"], self.pool.status()["round"]), ("copying", "since"))
        self.assert_failed(self.pool.run("merge", "--yes", "--full", "--thin-size=32M"), 6, "EXM-610")
        report = json.loads(self.assert_ok(run("resume", "-J", journal)).stdout)
        self.assertEqual((report["round"], report["total_bytes"]), ("since", wanted))
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())


class RefusalsTest(Rounds):
    """Where --since-last is refused, the origin and the journal stay as they are."""

    def assert_refused(self, message_id, *words, thin_id=2, options=()):
        pool = self.other(thin_id)
        before, journal = pool.origin_bytes(), self.journal_bytes()
        for command in (["plan"], ["merge", "--yes"]):
            result = pool.run(*command, "--since-last", "--thin-size=32M", *options)
            self.assert_failed(result, 6, message_id)
            for word in words:
                self.assertIn(word, result.stderr)
        self.assertEqual((pool.origin_bytes(), self.journal_bytes()), (before, journal))

    def journal_bytes(self):
        if not self.pool.journal():
            return None
        with open(self.pool.journal(), "rb") as file:
            return file.read()

    def test_nothing_was_merged_before(self):
        self.assert_refused("EXM-618", "no earlier merge into this origin is known", "without --since-last")
        self.assertIsNone(self.pool.journal())

    def test_the_last_merge_was_undone(self):
        self.merge("--undo-log", self.pool.path("undo"), thin_id=1)
        self.assert_ok(run("undo", "--yes", self.pool.journal()))
        self.assertTrue(self.pool.untouched())
        self.assert_refused("EXM-618", "the last merge was undone")

    def test_the_last_merge_is_unfinished(self):
        self.other(1)
        self.unfinished(None, "--thin-size=32M")
        self.assert_refused("EXM-618", "the last merge is unfinished")
        self.assert_refused("EXM-618", "the unfinished merge is a full one", thin_id=1)

    def test_the_state_merged_last_was_written_to(self):
        self.merge("--live-root", thin_id=0)
        self.assert_refused("EXM-618", "the state merged last was not frozen")

    def test_the_thin_has_no_snapshot_as_late(self):
        self.merge(thin_id=2)
        self.assert_refused("EXM-618", "no snapshot as late as the last merge", thin_id=1)

    def test_the_origin_was_written_to_since(self):
        self.merge(thin_id=1)
        with open(self.pool.origin, "r+b") as file:
            file.write(b"later")
        self.other(2)
        for command in (["plan"], ["merge", "--yes"]):
            self.assert_failed(self.pool.run(*command, "--since-last", "--thin-size=32M"), 4, "EXM-414")

    def test_another_thin(self):
        """Thins 3 and 4 have an old block of their own, which the merge of thin 1 did not find. Thin 4 has a new one, too."""
        if not shutil.which("thin_restore"):
            self.skipTest("there is no thin_restore (package thin-provisioning-tools)")
        pool_xml = xml.parse(os.path.join(self.pool.fixture, "dump.xml"))
        pool_xml.getroot().set("nr_data_blocks", str(os.path.getsize(self.pool.data) // BLOCK))
        used = set(self.mappings(0).values()) | set(self.mappings(1).values()) | set(self.mappings(2).values())
        free = list(range(max(used) + 1, max(used) + 4))
        for thin_id, times in ((3, (0,)), (4, (0, 2))):
            device = xml.SubElement(pool_xml.getroot(), "device", dev_id=str(thin_id), mapped_blocks=str(len(times)), transaction="0",
                                    creation_time="0", snap_time="2")
            for number, time in enumerate(times):
                xml.SubElement(device, "single_mapping", origin_block=str(number), data_block=str(free.pop()), time=str(time))
        with open(self.pool.path("pool.xml"), "wb") as file:
            pool_xml.write(file)
        subprocess.run(["thin_restore", "-i", file.name, "-o", self.pool.metadata], check=True, capture_output=True)
        shared = ("--live-root", "--allow-shared-origin")

        self.merge(*shared, thin_id=1)
        self.assert_refused("EXM-619", "since before the last merge", "--full", thin_id=3, options=shared)
        self.assertEqual(self.plan("--since-last", *shared, thin_id=4)["copy_blocks"], 1)
        before, journal = self.pool.origin_bytes(), self.journal_bytes()
        self.assert_failed(self.pool.run("merge", "--yes", "--since-last", "--thin-size=32M", *shared), 6, "EXM-619")
        self.assertEqual((self.pool.origin_bytes(), self.journal_bytes()), (before, journal))
        # The thin that it was is still merged in a round.
        self.assertEqual(self.merge("--since-last", *shared, thin_id=2)["round"], "since")
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())


if __name__ == "__main__":
    unittest.main()
