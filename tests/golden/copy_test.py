# SPDX-License-Identifier: GPL-3.0-or-later
"""extmerge copy on the pools that a kernel wrote. A target must hold what the kernel read from the thin: a replica of the
origin after a copy of what is mapped, anything after a whole one. Origin and pool stay as they are."""

import os
import shutil
import subprocess
import unittest

from pools import EXTMERGE, GoldenTest, Pool, each_thin


class CopyTest(GoldenTest):
    def replica(self, pool, name="target"):
        target = os.path.join(self.folder, name)
        shutil.copyfile(pool.origin, target)
        os.truncate(target, pool.thin_size)
        return target

    def garbage(self, pool, name="garbage"):
        target = os.path.join(self.folder, name)
        with open(target, "wb") as file:
            file.write(b"\xee" * pool.thin_size)
        return target

    def copy(self, pool, thin_id, target, *more, status=0):
        return self.extmerge_json("copy", "--yes", *pool.source(thin_id, pool.origin), *more, target, status=status)

    def test_what_is_mapped_makes_a_replica_of_the_origin_the_thin(self):
        for pool, thin_id in each_thin():
            target = self.replica(pool, f"{pool.name}.{thin_id}")
            report = self.copy(pool, thin_id, target)
            self.assert_equal_bytes(target, pool.expected(thin_id))
            visible = [block for block in pool.mappings(thin_id) if block < pool.blocks_before(pool.thin_size)]
            self.assertEqual(report["copy_blocks"], len(visible), pool.name)
            self.assertEqual((report["target"], report["whole"], report["origin"]), (target, False, pool.origin))
            self.extmerge("verify", *pool.source(thin_id, pool.origin), target)

    def test_a_whole_copy_makes_anything_the_thin(self):
        for pool, thin_id in each_thin():
            target = self.garbage(pool, f"{pool.name}.{thin_id}")
            report = self.copy(pool, thin_id, target, "--whole", "--verify=full")
            self.assert_equal_bytes(target, pool.expected(thin_id))
            self.assertEqual(report["copy_bytes"], pool.thin_size)
            self.extmerge("verify", *pool.source(thin_id, pool.origin), "--whole", target)

    def test_again_only_what_changed(self):
        """Thin 2 is a later snapshot of the thin that thin 1 is a snapshot of."""
        pool = Pool("equal-64k")
        before, now = pool.mappings(1), pool.mappings(2)
        changed = sum(before.get(thin) != data for thin, data in now.items())
        for whole in ((), ("--whole",)):
            target = self.garbage(pool) if whole else self.replica(pool)
            self.copy(pool, 1, target, *whole)
            report = self.copy(pool, 2, target, *whole, "--since-last")
            self.assertEqual((report["round"], report["copy_blocks"]), ("since", changed))
            self.assertGreater(changed, 0)
            self.assert_equal_bytes(target, pool.expected(2))

    def test_a_chain_of_increments(self):
        """Each new target is an overlay over the one before, as qcow2 has it: qemu-img reads the chain."""
        if not shutil.which("qemu-img"):
            self.skipTest("there is no qemu-img")
        pool = Pool("equal-64k")
        base = self.replica(pool, "base")
        first = self.copy(pool, 1, base)
        second = os.path.join(self.folder, "second")
        shutil.copyfile(base, second)
        plan = self.extmerge("copy", "--dry-run", *pool.source(2, pool.origin), "--since", first["journal"], second)
        self.assertIn(f"only what changed since the copy of {first['journal']}\n", plan)
        report = self.copy(pool, 2, second, "--since", first["journal"])
        self.assertIn("  ORIGIN/TARGET  ", self.extmerge("status"))
        self.assertEqual(report["round"], "since")
        subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "raw", second, pool.expected(2)], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def test_stopped_and_resumed(self):
        pool = Pool("deep-64k")
        target = self.replica(pool)
        command = [EXTMERGE, "copy", "--yes", "--rate-limit=1M", "--checkpoint-interval=64K",
                   *pool.source(1, pool.origin), target]
        with subprocess.Popen(command, env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True) as run:
            journal = None
            while journal is None and run.poll() is None:
                found = [name for name in os.listdir(self.state_dir) if name.endswith(".journal")]
                if found:
                    journal = os.path.join(self.state_dir, found[0])
            # Somebody else's try does not disturb it, and is not told to stop it.
            self.extmerge("resume", journal, status=5)
            self.assertIn(f"extmerge ({run.pid}) has the target open for writing: wait for it", self.last_stderr)
            self.assertIsNone(run.poll())
            run.kill()
        status = self.extmerge_json("status", journal)
        self.assertEqual((status["state"], status["target"]), ("copying", target))
        self.extmerge("resume", journal)
        self.assert_equal_bytes(target, pool.expected(1))
        self.assertEqual(self.extmerge_json("status", journal)["state"], "done")

    def test_an_undo_puts_the_target_back(self):
        pool = Pool("equal-64k")
        target = self.replica(pool)
        log = os.path.join(self.folder, "undo")
        report = self.copy(pool, 1, target, "--undo-log", log)
        self.assert_equal_bytes(target, pool.expected(1))
        self.assertIn("before the copy", self.extmerge("undo", "--yes", report["journal"]))
        self.assert_equal_bytes(target, self.replica(pool, "again"))

    def test_refused(self):
        pool = Pool("equal-64k")
        target = self.replica(pool)
        before = self.replica(pool, "before")
        source = pool.source(1, pool.origin)
        for identifier, arguments in (
                ("EXM-101", (*source,)),
                ("EXM-101", (*source, "target")),
                ("EXM-101", (*source, "--since", "origin", target)),
                ("EXM-401", (*source, "/nowhere/target")),
                ("EXM-405", (*source, pool.origin)),
                ("EXM-405", (*source, pool.data)),
                ("EXM-405", (*source, pool.metadata)),
                ("EXM-601", (*source, "--since", "/nowhere/journal", target)),
        ):
            self.assert_refused(identifier, "copy", "--yes", *arguments)
        os.truncate(target, pool.thin_size - 512)
        self.assert_refused("EXM-419", "copy", "--yes", *source, target)
        self.assertIn(f"truncate -s {pool.thin_size} {target}", self.last_stderr)
        self.replica(pool)
        # A merge is no base of a copy.
        origin = self.copy_of_origin(pool)
        merged = self.extmerge_json("merge", "--yes", *pool.source(1, origin))
        self.assert_refused("EXM-618", "copy", "--yes", *source, "--since", merged["journal"], target)
        self.assertIn("not of a copy", self.last_stderr)
        self.assert_equal_bytes(target, before)
        # A second base for a target that has a state.
        first = self.copy(pool, 1, target)
        self.assert_refused("EXM-101", "copy", "--yes", *pool.source(2, pool.origin), "--since", first["journal"], target)
        # A qcow2 image is no raw disk.
        if shutil.which("qemu-img"):
            image = os.path.join(self.folder, "image.qcow2")
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=full", image, str(pool.thin_size)],
                           check=True)
            self.assert_refused("EXM-428", "copy", "--yes", *source, image)

    def test_a_target_that_was_written_to(self):
        pool = Pool("equal-64k")
        target = self.replica(pool)
        self.copy(pool, 1, target)
        with open(target, "r+b") as file:
            file.seek(20480)
            file.write(b"x" * 4096)
        self.assert_refused("EXM-414", "copy", "--yes", *pool.source(2, pool.origin), "--since-last", target)
        # The thin maps nothing there, so a copy of what is mapped cannot mend that, and no sample looks there.
        for thin_id in (1, 2):
            self.assert_refused("EXM-414", "copy", "--yes", *pool.source(thin_id, pool.origin), "--again", target)
            self.assertIn("copy --whole --again", self.last_stderr)
        self.copy(pool, 2, target, "--again", "--whole")
        self.assert_equal_bytes(target, pool.expected(2))

    def test_an_origin_that_is_named_like_a_file_of_the_journal(self):
        pool = Pool("equal-64k")
        target = self.replica(pool)
        for ending in (".lvm", ".lock"):
            origin = os.path.join(self.folder, "job" + ending)
            shutil.copyfile(pool.origin, origin)
            self.assert_refused("EXM-607", "copy", "--yes", "--journal", os.path.join(self.folder, "job"), *pool.source(1, origin), target)
            self.assert_equal_bytes(origin, pool.origin)
        self.assert_equal_bytes(target, pool.origin)

    def test_nothing_new(self):
        pool = Pool("equal-64k")
        target = self.replica(pool)
        self.copy(pool, 1, target)
        self.assert_refused("EXM-604", "copy", "--yes", *pool.source(1, pool.origin), target)
        text = self.extmerge("copy", "--yes", *pool.source(1, pool.origin), "--since-last", target)
        self.assertIn("Nothing to copy", text)

    def test_a_plan_changes_nothing(self):
        pool = Pool("equal-64k")
        target = self.replica(pool)
        text = self.extmerge("copy", "-n", *pool.source(1, pool.origin), target)
        self.assertIn("a copy would start", text)
        self.assertNotIn("siblings", text)
        self.assertEqual(os.listdir(self.state_dir), [])
        self.assert_equal_bytes(target, self.replica(pool, "before"))


if __name__ == "__main__":
    unittest.main()
