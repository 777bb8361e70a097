# SPDX-License-Identifier: GPL-3.0-or-later
"""The program reads journals of format 1, as extmerge 0.1 wrote them. It resumes an unfinished
merge. It refuses to repeat a finished one."""

import os
import shutil
import unittest

from pools import GoldenTest, Pool
from version_1 import COPYING, DONE, POOL, THIN, StoredJournal, journal_name, merge_part, parameters, sha256

FOLDER = os.path.join(os.environ["EXTMERGE_TEST_DATA"], "journals-0.1")


class Version1(GoldenTest):
    def setUp(self):
        super().setUp()
        self.pool = Pool(POOL)
        self.values = parameters(FOLDER)

    def restore(self, name, planned_bytes):
        """Makes the origin of a stored journal, and puts the journal into the state directory."""
        self.origin = self.copy_of_origin(self.pool)
        self.source = self.pool.source(THIN, self.origin)
        merge_part(self.pool, THIN, self.origin, planned_bytes)
        self.stored = StoredJournal(os.path.join(FOLDER, name + ".journal"))
        self.stored.rebind(self.pool.metadata, self.pool.data, self.origin)
        self.journal = os.path.join(self.state_dir, journal_name(self.origin))
        self.stored.write(self.journal)

    def restore_copying(self):
        self.restore("copying", int(self.values["on_origin"]))
        self.assertEqual(sha256(self.origin), self.values["origin_sha256"])

    def restore_done(self):
        """The fingerprint of a finished merge holds the time of the origin's last modification."""
        self.restore("done", self.stored_length())
        self.assert_merged(self.pool, THIN, self.origin)
        modified = int(self.values["done_origin_mtime_ns"])
        os.utime(self.origin, ns=(modified, modified))

    def stored_length(self):
        return StoredJournal(os.path.join(FOLDER, "done.journal")).copy_bytes()

    def status(self):
        """Returns the only merge in the state directory. Its journal by itself tells the same."""
        merges = self.extmerge_json("status")["merges"]
        self.assertEqual([merge["journal"] for merge in merges], [self.journal])
        self.assertEqual(self.extmerge_json("status", self.journal)["durable_bytes"], merges[0]["durable_bytes"])
        return merges[0]

    def assert_uninterrupted_equals(self, merged):
        """An uninterrupted merge of the present program gives the same bytes."""
        other, state = os.path.join(self.folder, "other.img"), os.path.join(self.folder, "other-state")
        shutil.copyfile(self.pool.origin, other)
        os.mkdir(state, mode=0o700)
        self.extmerge("merge", "--yes", "--state-dir", state, *self.pool.source(THIN, other))
        self.assert_equal_bytes(merged, other)

    def test_the_stored_journals_are_those_of_0_1(self):
        self.assertEqual(self.values["version"], "0.1.0")
        for name, state in (("copying", COPYING), ("done", DONE)):
            stored = StoredJournal(os.path.join(FOLDER, name + ".journal"))
            self.assertEqual((stored.versions(), stored.states()), ([1, 1], [state, state]), name)
        copying = StoredJournal(os.path.join(FOLDER, "copying.journal"))
        self.assertGreater(copying.position(), copying.copy_bytes() // 4)
        self.assertLess(copying.position(), copying.copy_bytes() * 3 // 4)
        self.assertLessEqual(copying.position(), int(self.values["on_origin"]))

    def test_an_unfinished_merge_is_resumed(self):
        self.restore_copying()
        merge = self.status()
        self.assertEqual(merge["state"], "copying")
        self.assertEqual(merge["durable_bytes"], self.stored.position())
        self.assertEqual(merge["total_bytes"], self.stored.copy_bytes())
        self.extmerge("status", self.journal)
        report = self.extmerge_json("resume", self.journal)
        self.assertEqual(report["state"], "done")
        self.assertEqual(report["resumed_from"], self.stored.position())
        self.assert_merged(self.pool, THIN, self.origin)
        self.assert_uninterrupted_equals(self.origin)
        self.assertEqual(self.status()["state"], "done")
        self.assert_refused("EXM-611", "resume", self.journal)
        self.assert_refused("EXM-604", "merge", "--yes", *self.source)

    def test_a_merge_by_the_same_command_resumes_it_too(self):
        self.restore_copying()
        plan = self.extmerge_json("plan", *self.source)
        self.assertEqual(plan["resumable_from"], self.stored.position())
        report = self.extmerge_json("merge", "--yes", *self.source)
        self.assertEqual((report["state"], report["resumed_from"]), ("done", self.stored.position()))
        self.assertEqual(os.listdir(self.state_dir).count(os.path.basename(self.journal)), 1)
        self.assert_merged(self.pool, THIN, self.origin)

    def test_a_half_merged_origin_takes_no_other_thin(self):
        self.restore_copying()
        self.assert_refused("EXM-610", "merge", "--yes", *self.pool.source(2, self.origin))

    def test_one_copy_of_the_header_is_enough(self):
        self.restore_copying()
        with open(self.journal, "r+b") as file:
            file.write(bytes(512))
        self.extmerge("resume", self.journal)
        self.assert_merged(self.pool, THIN, self.origin)

    def test_a_finished_merge_is_not_merged_again(self):
        self.restore_done()
        merge = self.status()
        self.assertEqual((merge["state"], merge["durable_bytes"]), ("done", self.stored.copy_bytes()))
        before = sha256(self.origin)
        self.assert_refused("EXM-604", "merge", "--yes", *self.source)
        self.assert_refused("EXM-611", "resume", self.journal)
        self.assertEqual(sha256(self.origin), before)
        self.extmerge("verify", *self.source)

    def test_a_later_snapshot_follows_a_finished_merge(self):
        self.restore_done()
        self.extmerge("merge", "--yes", *self.pool.source(2, self.origin))
        self.assert_merged(self.pool, 2, self.origin)

    def test_a_later_snapshot_does_not_follow_if_the_origin_was_written_to(self):
        self.restore_done()
        os.utime(self.origin)
        self.assert_refused("EXM-414", "merge", "--yes", *self.pool.source(2, self.origin))


if __name__ == "__main__":
    unittest.main()
