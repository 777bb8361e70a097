# SPDX-License-Identifier: GPL-3.0-or-later
"""The effect of each option with the commands that accept it.

Command lines that extmerge refuses are in options_test.py.
"""

import json
import os
import subprocess
import time
import unittest

from metadata_image import MetadataImage
from support import EXTMERGE, PoolTest, environment, run


class SourceOptionsTest(PoolTest):
    def plan(self, *arguments, pool=None):
        return json.loads(self.assert_ok((pool or self.pool).run("plan", "-J", *arguments)).stdout)

    def test_the_thin_id_chooses_the_thin(self):
        plans = {self.plan(pool=self.make_pool(thin_id=i))["plan_id"] for i in (1, 2)}
        self.assertEqual(len(plans), 2)

    def test_metadata_snap_reads_the_held_root_or_the_block_given(self):
        held = self.plan()
        self.assertGreater(held["metadata_snap"], 0)
        for words in (["-m"], ["--metadata-snap"], ["-m%d" % held["metadata_snap"]],
                      ["-m=%d" % held["metadata_snap"]],
                      ["--metadata-snap=%d" % held["metadata_snap"]]):
            self.assertEqual(self.plan(*words)["plan_id"], held["plan_id"])
        self.assert_failed(self.pool.run("plan", "-m1"), 9, "EXM-901")

    def test_live_root_reads_the_live_tree(self):
        changed = self.make_pool(thin_id=0)  # written to after the snapshot
        live = self.plan("--live-root", pool=changed)
        self.assertEqual(live["metadata_snap"], 0)
        self.assertNotEqual(live["plan_id"], self.plan("--allow-stale", pool=changed)["plan_id"])

    def test_thin_size_clips(self):
        whole, clipped = self.plan("--thin-size=32M"), self.plan("--thin-size=10M")
        self.assertEqual(whole["thin_bytes"], 32 << 20)
        self.assertEqual(whole["beyond_thin_bytes"], 0)
        self.assertEqual(clipped["thin_bytes"], 10 << 20)
        self.assertGreater(clipped["beyond_thin_bytes"], 0)
        self.assertEqual(clipped["copy_bytes"] + clipped["beyond_thin_bytes"],
                         whole["copy_bytes"])
        self.assert_usage_error(self.pool.run("plan", "--thin-size=1000"), "512-byte sectors")

    def test_without_thin_size_it_says_that_nothing_was_clipped(self):
        self.assertIn("data past its end is merged too", self.pool.run("plan").stdout)
        self.assertIsNone(self.plan()["thin_bytes"])
        self.assertNotIn("data past its end is merged too", self.pool.run("plan", "--thin-size=32M").stdout)

    def test_beyond_origin_refuses_drops_or_extends(self):
        pool = self.make_pool("thin-larger-64k")
        self.assert_failed(pool.run("plan"), 4, "EXM-411")
        self.assert_failed(pool.run("plan", "--beyond-origin=refuse"), 4, "EXM-411")
        dropped = self.plan("--beyond-origin=drop", pool=pool)
        self.assertGreater(dropped["beyond_origin_bytes"], 0)
        self.assert_failed(pool.run("plan", "--beyond-origin=extend"), 1, "EXM-103")
        extended = self.plan("--beyond-origin=extend", "--thin-size=32M", pool=pool)
        self.assertGreater(extended["copy_bytes"], dropped["copy_bytes"])
        self.assert_ok(pool.run("merge", "--yes", "--beyond-origin=extend", "--thin-size=32M"))
        with open(os.path.join(pool.fixture, "expected.img"), "rb") as file:
            self.assertEqual(pool.origin_bytes(), file.read())

    def test_allow_stale_accepts_a_thin_that_was_written_to(self):
        pool = self.make_pool(thin_id=0)
        self.assert_failed(pool.run("plan"), 4, "EXM-409")
        self.assert_ok(pool.run("plan", "--allow-stale"))

    def test_allow_stale_lets_resume_finish_an_old_plan(self):
        # A write changes the mappings of the live tree, but not those of the metadata snapshot.
        for options in ([], ["--live-root"]):
            with self.subTest(options=options):
                pool = self.make_pool()
                journal = self.unfinished(pool, *options)
                plan = self.plan(*options, pool=pool)
                MetadataImage(pool.metadata).give(1, 0)  # thin 1 is written to
                before = pool.origin_bytes()
                self.assert_failed(pool.run("merge", "--yes", *options), 4, "EXM-409")
                self.assert_failed(run("resume", journal), 4, "EXM-409")
                self.assertEqual(pool.origin_bytes(), before)

                result = self.assert_ok(run("resume", "-J", "--allow-stale", journal))
                report = json.loads(result.stdout)
                self.assertGreater(report["resumed_from"], 0)
                self.assertEqual(report["plan_id"], plan["plan_id"])
                self.assertEqual(pool.status()["state"], "done")
                self.assertEqual(pool.origin_bytes(), pool.merged())

    def test_allow_shared_origin_is_no_bar_where_nothing_is_shared(self):
        self.assertEqual(self.plan("--allow-shared-origin"), self.plan())


class JournalOptionsTest(PoolTest):
    def test_the_state_directory_is_where_a_volume_is_looked_for(self):
        for command in ("resume", "status", "abort"):
            os.makedirs(self.pool.state, mode=0o700, exist_ok=True)
            result = run(command, "--state-dir", self.pool.state, "no-such-group/snap")
            self.assertIn(result.returncode, (3, 6, 11), result.stderr)
            self.assertRegex(result.stderr, "no-such-group|lvm")
        self.assertEqual(os.listdir(self.pool.state), [])

    def test_journal_names_the_file(self):
        path = self.pool.path("my.journal")
        self.assert_ok(self.pool.run("merge", "--yes", "-j", path))
        self.assertTrue(os.path.isfile(path))
        self.assertFalse(os.path.exists(self.pool.state))

    def test_a_journal_in_a_folder_that_does_not_exist_is_refused(self):
        result = self.pool.run("merge", "--yes", "--journal", self.pool.path("no/such/journal"))
        self.assert_failed(result, 4, "EXM-401")
        self.assertTrue(self.pool.untouched())

    def test_the_state_directory_is_made_with_mode_0700(self):
        self.assert_ok(self.pool.run("merge", "--yes"))
        self.assertEqual(os.stat(self.pool.state).st_mode & 0o7777, 0o700)
        self.assertIsNotNone(self.pool.journal())

    def test_the_environment_names_the_state_directory(self):
        directory = self.pool.path("from-environment")
        env = environment(EXTMERGE_STATE_DIR=directory)
        self.assert_ok(run("merge", *self.pool.source, "--yes", env=env))
        self.assertTrue(any(n.endswith(".journal") for n in os.listdir(directory)))
        listed = json.loads(run("status", "--json", env=env).stdout)
        self.assertEqual(len(listed["merges"]), 1)

    def test_the_option_wins_over_the_environment(self):
        env = environment(EXTMERGE_STATE_DIR=self.pool.path("unused"))
        self.assert_ok(self.pool.run("merge", "--yes", env=env))
        self.assertIsNotNone(self.pool.journal())
        self.assertFalse(os.path.exists(self.pool.path("unused")))

    def test_a_dry_run_makes_and_changes_nothing(self):
        before = sorted(os.listdir(self.pool.folder))
        for flag in ("-n", "--dry-run"):
            result = self.assert_ok(self.pool.run("merge", flag))
            self.assertIn("a merge would start", result.stdout)
        self.assertEqual(self.pool.run("merge", "-n").stdout, self.pool.run("plan").stdout)
        self.assertTrue(self.pool.untouched())
        self.assertEqual(sorted(os.listdir(self.pool.folder)), before)

    def test_a_dry_run_has_all_guards(self):
        self.assert_ok(self.pool.run("merge", "--yes"))
        self.assert_failed(self.pool.run("merge", "--dry-run"), 6, "EXM-604")

    def test_restart_discards_an_unfinished_journal(self):
        self.unfinished()
        report = json.loads(self.assert_ok(
            self.pool.run("merge", "--yes", "-J", "--restart")).stdout)
        self.assertEqual(report["resumed_from"], 0)
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_restart_does_nothing_where_there_is_no_journal(self):
        report = json.loads(self.assert_ok(
            self.pool.run("merge", "--yes", "-J", "--restart")).stdout)
        self.assertEqual(report["state"], "done")

    def test_again_merges_once_more(self):
        self.assert_ok(self.pool.run("merge", "--yes"))
        self.assert_failed(self.pool.run("merge", "--yes"), 6, "EXM-604")
        self.assert_ok(self.pool.run("plan", "--again"))
        report = json.loads(self.assert_ok(self.pool.run("merge", "-y", "-J", "--again")).stdout)
        self.assertEqual(report["bytes_written"], 0)

    def test_again_does_nothing_where_nothing_is_done(self):
        self.assert_ok(self.pool.run("merge", "--yes", "--again"))
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())


class CopyOptionsTest(PoolTest):
    def merge(self, *arguments):
        pool = self.make_pool()
        report = json.loads(self.assert_ok(pool.run("merge", "--yes", "-J", *arguments)).stdout)
        self.assertEqual(pool.origin_bytes(), pool.merged())
        return report

    def test_compare_never_writes_everything_and_always_only_what_differs(self):
        never, always = self.merge("--compare=never"), self.merge("--compare=always")
        self.assertEqual(never["bytes_compared_equal"], 0)
        self.assertEqual(never["bytes_written"], never["copy_bytes"])
        self.assertGreater(always["bytes_compared_equal"], 0)
        self.assertEqual(always["bytes_compared_equal"] + always["bytes_written"],
                         always["copy_bytes"])
        self.merge("--compare=auto")

    def test_verify_is_reported(self):
        for how in ("none", "sample", "changed", "full"):
            self.assertEqual(self.merge("--verify=" + how)["verified"], how)
        self.assertEqual(self.merge()["verified"], "sample")

    def test_sizes_and_numbers_of_the_pipeline(self):
        self.merge("--io-size=4k", "--io-depth=1", "--buffer-size=64k", "--threads=1")
        self.merge("--io-size=2M", "--io-depth=16", "--buffer-size=2M", "--threads=8")
        self.merge("--buffer-size=100k")

    def test_the_rate_limit_limits(self):
        started = time.monotonic()
        report = self.merge("--rate-limit=4M")
        self.assertGreater(time.monotonic() - started, report["copy_bytes"] / (4 << 20) - 0.2)

    def test_the_checkpoint_interval_is_a_size(self):
        process = self.pool.start(*self.pool.command(
            "merge", "--yes", "--rate-limit=1M", "--checkpoint-interval=128k",
            "--buffer-size=64k"))
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.pool.wait_for_copying(process, seconds=2)  # by default after 5 s or 256 MiB

    def test_the_checkpoint_interval_is_a_time(self):
        process = self.pool.start(*self.pool.command(
            "merge", "--yes", "--rate-limit=1M", "--checkpoint-interval=1s", "--buffer-size=64k"))
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.pool.wait_for_copying(process, seconds=3)

    def test_verify_takes_the_pipeline_options(self):
        self.pool.run("merge", "--yes")
        started = time.monotonic()
        self.assert_ok(self.pool.run("verify", "--rate-limit=8M", "--io-size=64k", "--io-depth=2",
                                     "--buffer-size=128k", "--threads=2"))
        self.assertGreater(time.monotonic() - started, 0.5)


class OutputOptionsTest(PoolTest):
    def test_ranges_are_a_table_with_a_heading(self):
        plan = json.loads(self.pool.run("plan", "-J").stdout)
        lines = self.assert_ok(self.pool.run("plan", "--ranges")).stdout.splitlines()
        self.assertEqual(lines[0], "ORIGIN_BLOCK DATA_BLOCK BLOCKS")
        rows = [tuple(map(int, line.split())) for line in lines[1:]]
        self.assertEqual(len(rows), plan["runs"])
        self.assertEqual(sum(row[2] for row in rows), plan["copy_blocks"])
        self.assertEqual(rows, sorted(rows))
        bare = self.pool.run("plan", "--ranges", "--noheadings").stdout.splitlines()
        self.assertEqual(bare, lines[1:])

    def test_the_ranges_are_where_the_data_is(self):
        with open(self.pool.data, "rb") as file:
            data = file.read()
        merged, size = self.pool.merged(), 65536
        for line in self.pool.run("plan", "--ranges", "--noheadings").stdout.splitlines():
            origin, block, count = map(int, line.split())
            self.assertEqual(merged[origin * size:(origin + count) * size],
                             data[block * size:(block + count) * size])

    def test_refusals_are_told_after_ranges_too(self):
        pool = self.make_pool("thin-larger-64k")
        result = pool.run("plan", "--ranges")
        self.assert_failed(result, 4, "EXM-411")
        self.assertTrue(result.stdout.startswith("ORIGIN_BLOCK"))

    def test_ranges_into_a_full_disk_fail(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run([EXTMERGE, *self.pool.command("plan", "--ranges")],
                                    stdout=full, stderr=subprocess.PIPE, text=True,
                                    env=environment())
        self.assert_failed(result, 3, "EXM-305")

    def test_units_and_nosuffix(self):
        text = self.pool.run("plan", "--units=b").stdout
        self.assertIn("33554432 B", text)
        self.assertIn("65536 sectors", self.pool.run("plan", "--units=s").stdout)
        self.assertIn("32.00 MiB", self.pool.run("plan", "--units=m").stdout)
        self.assertIn("33.55 MB", self.pool.run("plan", "--units=M").stdout)
        bare = self.pool.run("plan", "--units=m", "--nosuffix").stdout
        self.assertIn("32.00\n", bare)
        self.assertNotIn("MiB", bare)
        self.assertEqual(json.loads(self.pool.run("plan", "-J", "--units=m", "--nosuffix").stdout),
                         json.loads(self.pool.run("plan", "-J").stdout))

    def test_a_program_that_has_the_origin_open_for_writing_is_named(self):
        with open("/proc/self/comm") as name:
            me = "%s (%d)" % (name.read().strip(), os.getpid())
        with open(self.pool.origin, "rb"):
            self.assertNotIn(me, self.pool.run("plan").stdout)
        with open(self.pool.origin, "r+b"):
            self.assertIn(me + " has the origin open for writing", self.pool.run("plan").stdout)
            self.assertIn(me, self.pool.run("merge", "--yes").stderr)

    def test_verbose_tells_more_and_quiet_less(self):
        plain = self.pool.run("merge", "--yes")
        self.assertIn("data past its end is merged too", plain.stderr)
        self.assertNotIn("opened", plain.stderr)
        verbose = self.pool.run("merge", "--yes", "--again", "-v")
        self.assertIn("opened", verbose.stderr)
        quiet = self.pool.run("merge", "--yes", "--again", "-q")
        self.assertEqual(quiet.stderr, "")
        self.assertIn("Merged thin 1", quiet.stdout)
        silent = self.pool.run("merge", "--yes", "--again", "-qq")
        self.assertEqual((silent.returncode, silent.stdout, silent.stderr), (0, "", ""))

    def test_quiet_never_hides_a_failure(self):
        self.assert_failed(run("resume", "-qqq", "/no/such/journal"), 6, "EXM-601")

    def test_the_log_file_has_time_and_level(self):
        log = self.pool.path("log")
        self.assert_ok(self.pool.run("merge", "--yes", "--log-file", log))
        self.assert_failed(self.pool.run("merge", "-qq", "--yes", "--log-file", log), 6, "EXM-604")
        with open(log, encoding="utf-8") as file:
            text = file.read()
        self.assertRegex(text, r"(?m)^\d{4}-\d\d-\d\dT[\d:]{8}[+-]\d\d:\d\d \[\d+\] info: ")
        self.assertRegex(text, r"(?m) error: EXM-604: ")
        self.assertNotIn("debug", text)

    def test_the_log_level_is_the_file_s(self):
        log = self.pool.path("log")
        result = self.pool.run("plan", "--log-file", log, "--log-level=debug")
        self.assertNotIn("opened", result.stderr)
        with open(log, encoding="utf-8") as file:
            self.assertIn("debug: opened", file.read())
        os.remove(log)
        self.pool.run("merge", "--yes", "--log-file", log, "--log-level=error")
        self.assertEqual(os.stat(log).st_size, 0)

    def test_a_log_file_is_none_of_the_files_that_are_worked_on(self):
        journal = self.unfinished()
        names = [self.pool.metadata, self.pool.data, self.pool.origin, journal, journal + ".lock"]
        before = {}
        for name in names:
            with open(name, "rb") as file:
                before[name] = file.read()
        os.link(self.pool.origin, self.pool.path("link"))
        for log in names + [self.pool.path("link")]:
            for words in (self.pool.command("plan"), self.pool.command("merge", "--yes"),
                          ["resume", journal], ["status", journal],
                          ["status", "--state-dir", self.pool.state]):
                result = run(*words, "--log-file", log, "--log-level=trace")
                self.assert_usage_error(result, "--log-file", log)
        for name, content in before.items():
            with open(name, "rb") as file:
                self.assertEqual(file.read(), content, name)

    def test_a_log_file_is_not_made_in_the_place_of_a_journal_or_origin(self):
        state = self.pool.path("journals")
        os.mkdir(state, 0o700)
        journal = os.path.join(state, "a.journal")
        for name in (journal, journal + ".new", journal + ".lock"):
            self.assert_usage_error(self.pool.run("plan", "-j", journal, "--log-file", name))
        self.assertEqual(os.listdir(state), [])
        os.remove(self.pool.origin)
        self.assert_usage_error(self.pool.run("plan", "--log-file", self.pool.origin))
        self.assertFalse(os.path.exists(self.pool.origin))

    def test_a_log_file_is_a_regular_file_or_a_terminal(self):
        fifo, link, log = (self.pool.path(name) for name in ("fifo", "link", "log"))
        os.mkfifo(fifo)
        with open(log, "wb"):
            os.symlink(log, link)
        for name in (fifo, link, self.pool.folder, "/dev/null"):
            self.assert_usage_error(self.pool.run("plan", "--log-file", name), name)
        self.assertEqual(os.stat(log).st_size, 0)
        master, terminal = os.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, terminal)
        self.assert_ok(self.pool.run("plan", "--log-file", os.ttyname(terminal),
                                     "--log-level=debug"))
        self.assertIn(b"debug: opened", os.read(master, 65536))

    def test_a_log_that_cannot_know_its_devices_is_not_begun(self):
        log = self.pool.path("log")
        self.assert_failed(run("resume", "/no/such/journal", "--log-file", log), 6, "EXM-601")
        self.assertFalse(os.path.exists(log))

    def test_a_log_file_that_cannot_be_written_is_a_failure(self):
        self.assert_failed(self.pool.run("plan", "--log-file=/no/such/folder/log"), 4, "EXM-401")


if __name__ == "__main__":
    unittest.main()
