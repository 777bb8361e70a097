# SPDX-License-Identifier: GPL-3.0-or-later
"""Each command prints one JSON document, with all members, of the right kinds."""

import json
import os
import unittest

from support import SOURCE, PoolTest, run

PLAN = {
    "schema": str, "plan_id": str, "thin_id": int, "metadata": str, "data": str, "origin": str,
    "data_block_size": int, "metadata_snap": int, "transaction_id": int, "mapped_blocks": int,
    "mapped_bytes": int, "runs": int, "copy_blocks": int, "copy_bytes": int,
    "beyond_origin_bytes": int, "beyond_thin_bytes": int, "origin_bytes": int,
    "thin_bytes": (int, type(None)), "source": (str, type(None)), "siblings_known": bool,
    "siblings": list, "chain": list, "given_up": list, "undo_log_estimate": (dict, type(None)), "round": str, "base": (dict, type(None)),
    "full_reason": (str, type(None)), "notes": list, "target": (str, type(None)),
    "target_bytes": (int, type(None)), "whole": bool,
}
BASE = {"pool_time": int, "end_bytes": int, "verified": str, "merged_at": int}
PLAN_ONLY = {"map": (dict, type(None)), "state": str, "resumable_from": (int, type(None)), "refusals": list}
COUNTERS = {"bytes_read": int, "bytes_compared_equal": int, "bytes_written": int}
MERGE_ONLY = {
    **COUNTERS, "seconds": float, "resumed_from": int, "verified": str, "journal": str,
    "undo_log": (str, type(None)), "state": str, "total_bytes": int, "durable_bytes": int,
}
VERIFY_ONLY = {
    "equal": bool, "bytes_compared": int, "bytes_different": int,
    "first_difference": (int, type(None)), "seconds": float,
}
STATUS_ONE = {
    "journal": str, "state": str, "running": bool, "plan_id": str, "thin_id": int,
    "metadata": str, "data": str, "origin": str, "data_block_size": int, "mapped_blocks": int,
    "runs": int, "origin_bytes": int, "thin_bytes": (int, type(None)), "total_bytes": int,
    "durable_bytes": int, **COUNTERS, "created_at": int, "round": str, "base": (dict, type(None)),
    "undo_log": (str, type(None)), "target": (str, type(None)), "target_bytes": (int, type(None)), "whole": bool,
}
# Members for one merge, not in a list of several. A volume of LVM has more (docs/lvm.md).
STATUS_SOURCE = {"source": (str, type(None))}
STATUS_OF_VOLUME = {
    "freeze": (str, type(None)), "half_merged": bool, "metadata_snapshot_held": bool,
    "given_up": list, "removing": bool, "waiting": bool, "thin_kept_inactive": bool, "pool_activated": bool,
    "origin_writable": (bool, type(None)),
}
ABORT = {"schema": str, "journal": str, "origin": str, "state": str, "durable_bytes": int}
UNDO = {
    "schema": str, "journal": str, "origin": str, "undo_log": (str, type(None)), "state": str,
    "undone_before": bool, "ranges": int, "bytes_put_back": int, "origin_bytes": int,
    "seconds": (int, float),
}
ERROR = {"id": str, "message": str, "next": str, "exit_status": int}


class JsonTest(PoolTest):
    def assert_members(self, document, members):
        self.assertEqual(set(document), set(members))
        for name, kind in members.items():
            self.assertIsInstance(document[name], kind, name)
            if kind is int:
                self.assertNotIsInstance(document[name], bool, name)

    def run_json(self, *words):
        result = self.assert_ok(run(*words))
        self.assertTrue(result.stdout.endswith("}\n"))
        return json.loads(result.stdout)

    def test_undo(self):
        log = self.pool.path("undo")
        plan = self.run_json(*self.pool.command("plan", "--json", "--undo-log", log))
        self.assert_members(plan["undo_log_estimate"],
                            {"path": str, "expected_bytes": int, "most_bytes": int})
        merged = self.run_json(*self.pool.command("merge", "--yes", "--json", "--undo-log", log))
        self.assertEqual(merged["undo_log"], log)
        for before in (False, True):
            undone = self.run_json("undo", "--yes", "--json", self.pool.journal())
            self.assert_members(undone, UNDO)
            self.assertEqual(undone["undone_before"], before)

    def test_plan(self):
        plan = self.run_json(*self.pool.command("plan", "--json", "--thin-size=32M"))
        self.assert_members(plan, {**PLAN, **PLAN_ONLY})
        self.assertEqual(plan["schema"], "extmerge/1")
        self.assertRegex(plan["plan_id"], r"\A[0-9a-f]{32}\Z")
        self.assertEqual(plan["thin_id"], 1)
        self.assertEqual(plan["data_block_size"], 65536)
        self.assertEqual(plan["mapped_bytes"], plan["mapped_blocks"] * 65536)
        self.assertEqual(plan["origin_bytes"], 32 << 20)
        self.assertEqual(plan["origin"], self.pool.origin)
        self.assertEqual(plan["refusals"], [])
        for sibling in plan["siblings"]:
            self.assert_members(sibling, {"thin_id": int, "name": (str, type(None)),
                                          "harmed_blocks": int, "copy_up_blocks": int,
                                          "block_size": int, "unreadable": bool})
        self.assertEqual({s["thin_id"] for s in plan["siblings"]}, {0, 2})

    def test_the_same_plan_has_the_same_id(self):
        first = self.run_json(*self.pool.command("plan", "-J"))
        self.assertEqual(first, self.run_json(*self.pool.command("plan", "-J")))

    def test_refusals_are_in_the_plan(self):
        pool = self.make_pool("thin-larger-64k", thin_id=0)
        result = pool.run("plan", "-J")
        plan = json.loads(result.stdout)
        self.assert_members(plan, {**PLAN, **PLAN_ONLY})
        self.assertGreaterEqual(len(plan["refusals"]), 2)
        for refusal in plan["refusals"]:
            self.assert_members(refusal, {"id": str, "message": str, "next": str})
        self.assertEqual(result.returncode, int(plan["refusals"][0]["id"][4]))

    def test_merge(self):
        report = self.run_json(*self.pool.command("merge", "--yes", "-J"))
        self.assert_members(report, {**PLAN, **MERGE_ONLY})
        self.assertEqual(report["state"], "done")
        self.assertEqual(report["verified"], "sample")
        self.assertEqual(report["resumed_from"], 0)
        self.assertEqual(report["journal"], self.pool.journal())
        self.assertEqual(report["durable_bytes"], report["total_bytes"])
        self.assertEqual(report["total_bytes"], report["copy_bytes"])
        self.assertEqual(report["bytes_read"], report["copy_bytes"])
        self.assertEqual(report["bytes_written"] + report["bytes_compared_equal"],
                         report["copy_bytes"])

    def test_resume_reports_as_merge_does(self):
        journal = self.unfinished()
        position = self.pool.status()["durable_bytes"]
        report = self.run_json("resume", "--json", journal)
        self.assert_members(report, {**PLAN, **MERGE_ONLY})
        self.assertEqual(report["resumed_from"], position)
        self.assertEqual(report["state"], "done")

    def test_a_plan_says_where_a_merge_would_go_on(self):
        self.unfinished()
        plan = self.run_json(*self.pool.command("plan", "-J"))
        self.assertEqual(plan["resumable_from"], self.pool.status()["durable_bytes"])

    def test_verify(self):
        result = self.pool.run("verify", "-J")
        self.assertEqual(result.returncode, 8)
        report = json.loads(result.stdout)
        self.assert_members(report, {**PLAN, **VERIFY_ONLY})
        self.assertFalse(report["equal"])
        self.assertGreater(report["bytes_different"], 0)
        self.assertEqual(report["bytes_compared"], report["copy_bytes"])
        self.assert_ok(self.pool.run("merge", "--yes"))
        report = self.run_json(*self.pool.command("verify", "-J"))
        self.assertTrue(report["equal"])
        self.assertEqual((report["bytes_different"], report["first_difference"]), (0, None))

    def test_status_of_one_and_of_all(self):
        journal = self.unfinished()
        one = self.run_json("status", "-J", journal)
        self.assert_members(one, {"schema": str, **STATUS_ONE, **STATUS_SOURCE})
        self.assertEqual(one["journal"], journal)
        listed = self.run_json("status", "-J", "--state-dir", self.pool.state)
        self.assert_members(listed, {"schema": str, "merges": list})
        self.assert_members(listed["merges"][0], STATUS_ONE)
        self.assertEqual({"schema": "extmerge/1", **listed["merges"][0], "source": None}, one)

    def test_abort(self):
        journal = self.unfinished()
        durable = self.pool.status()["durable_bytes"]
        report = self.run_json("abort", "--json", journal)
        self.assert_members(report, ABORT)
        self.assertEqual(report, {"schema": "extmerge/1", "journal": journal,
                                  "origin": self.pool.origin, "state": "aborted",
                                  "durable_bytes": durable})

    def test_failures(self):
        for words in (self.pool.command("plan", "-J", "--thin-size=x"),
                      ["abort", "-J", "/no/such/journal"],
                      ["resume", "--json", "/no/such/journal"],
                      ["status", "-J", "/no/such/journal"],
                      self.pool.command("merge", "-J")):
            result = run(*words)
            document = json.loads(result.stdout)
            self.assert_members(document, {"schema": str, "error": dict})
            self.assert_members(document["error"], ERROR)
            self.assertEqual(document["error"]["exit_status"], result.returncode)
            self.assertEqual(int(document["error"]["id"][4]), result.returncode)
            self.assertIn(document["error"]["id"], result.stderr)

    def test_a_path_that_is_not_utf8_still_gives_valid_json(self):
        strange = os.fsencode(self.pool.folder) + b"/origin\xff"
        os.rename(os.fsencode(self.pool.origin), strange)
        self.pool.origin = os.fsdecode(strange)
        self.assertEqual(self.run_json(*self.pool.command("plan", "-J"))["thin_id"], 1)

    def test_the_docs_list_every_member(self):
        with open(os.path.join(SOURCE, "docs", "command-line.md"), encoding="utf-8") as file:
            text = file.read()
        for members in (PLAN, PLAN_ONLY, BASE, MERGE_ONLY, VERIFY_ONLY, STATUS_ONE, STATUS_SOURCE, ABORT,
                        STATUS_OF_VOLUME, ERROR):
            for name in members:
                self.assertIn("`%s`" % name, text)


if __name__ == "__main__":
    unittest.main()
