# SPDX-License-Identifier: GPL-3.0-or-later
"""Standard streams that are full, closed or gone, and names that are not plain text."""

import json
import os
import signal
import subprocess
import tempfile
import unittest

from support import EXTMERGE, PoolTest, environment, run


def run_into(stdout, *arguments, **options):
    return subprocess.run([EXTMERGE, *arguments], stdin=subprocess.DEVNULL, stdout=stdout,
                          stderr=subprocess.PIPE, text=True, timeout=120, env=environment(),
                          **options)


def run_into_closed_pipe(*arguments):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return run_into(writer, *arguments)
    finally:
        os.close(writer)


def closing(*descriptors):
    def close():
        for descriptor in descriptors:
            os.close(descriptor)
    return close


class StandardStreamsTest(PoolTest):
    def assert_merged(self, pool):
        self.assertEqual(pool.origin_bytes(), pool.merged())
        self.assertEqual(pool.status()["state"], "done")

    def assert_only_the_report_is_lost(self, result, pool):
        self.assert_failed(result, 3, "EXM-305")
        self.assertEqual(result.stderr.count("EXM-"), 1, result.stderr)
        self.assertIn("the merge is complete", result.stderr)
        self.assertIn("extmerge status " + pool.journal(), result.stderr)
        self.assertNotIn("again", result.stderr[result.stderr.index("EXM-305"):])
        self.assert_merged(pool)

    def test_a_merge_is_complete_although_its_report_is_lost(self):
        for form in ([], ["--json"]):
            with open("/dev/full", "wb") as full:
                pool = self.make_pool()
                result = run_into(full, *pool.command("merge", "--yes", *form))
                self.assert_only_the_report_is_lost(result, pool)
            pool = self.make_pool()
            self.assert_only_the_report_is_lost(
                run_into_closed_pipe(*pool.command("merge", "--yes", *form)), pool)
            pool = self.make_pool()
            result = run_into(None, *pool.command("merge", "--yes", *form),
                              preexec_fn=closing(1))
            self.assert_only_the_report_is_lost(result, pool)

    def test_so_is_a_resumed_one(self):
        journal = self.unfinished()
        with open("/dev/full", "wb") as full:
            self.assert_only_the_report_is_lost(run_into(full, "resume", journal), self.pool)

    def test_no_report_lands_in_a_journal_where_streams_are_closed(self):
        for closed in ((1, 2), (0, 1, 2), (0,)):
            pool = self.make_pool()
            result = subprocess.run([EXTMERGE, *pool.command("merge", "--yes", "-vv")],
                                    preexec_fn=closing(*closed), env=environment(), timeout=120,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.assertEqual(result.returncode, 3 if 1 in closed else 0)
            self.assert_merged(pool)
            self.assertEqual(os.stat(pool.journal() + ".lock").st_size, 0)

    def test_what_changes_nothing_ends_quietly_with_its_reader(self):
        self.assert_ok(self.pool.run("merge", "--yes"))
        for words in (["status", "--state-dir", self.pool.state], ["status", self.pool.journal()],
                      self.pool.command("plan", "--again", "-q"),
                      self.pool.command("plan", "--again", "--ranges", "-q"),
                      ["verify", *self.pool.source, "-q"], ["--help"]):
            result = run_into_closed_pipe(*words)
            self.assertEqual((result.returncode, result.stderr), (-signal.SIGPIPE, ""), words)


class NamesTest(PoolTest):
    def test_a_working_directory_that_is_gone_is_named(self):
        for words in (["plan", "--metadata", "m", "--data", "d", "--thin-id", "1",
                       "--origin", "o"], ["status", "./a"], ["resume", "./a"]):
            gone = tempfile.mkdtemp(prefix="extmerge-test-")

            def go_there():
                os.chdir(gone)
                os.rmdir(gone)
            result = run(*words, preexec_fn=go_there)
            self.assert_failed(result, 4, "EXM-401")
            self.assertIn("working directory", result.stderr)

    def test_control_characters_in_names_do_not_reach_the_terminal(self):
        odd = self.pool.path("a\x1b[2Jb\nc")
        os.rename(self.pool.origin, odd)
        self.pool.origin = odd
        result = self.assert_ok(self.pool.run("merge", "--yes", "-vv"))
        self.assertNotIn("\x1b", result.stdout + result.stderr)
        self.assertIn("a\\x1b[2Jb\\x0ac", result.stdout)
        self.assertIn("a\\x1b[2Jb", result.stderr)
        for words in (["status", "--state-dir", self.pool.state], ["status", self.pool.journal()],
                      ["plan", "--metadata", odd + "x", *self.pool.source[2:]]):
            result = run(*words)
            self.assertNotIn("\x1b", result.stdout + result.stderr)
            self.assertIn("a\\x1b[2Jb\\x0ac", result.stdout + result.stderr)
        self.assertEqual(self.pool.status()["origin"], odd)

    def test_a_command_that_is_suggested_can_be_pasted(self):
        self.pool.state = self.pool.path("a state's directory")
        journal = self.unfinished()
        text = run("status", journal).stdout
        command = text[text.index("extmerge resume ") + len("extmerge "):].splitlines()[0]
        result = subprocess.run('"$EXTMERGE" ' + command, shell=True, capture_output=True,
                                text=True, env=environment(EXTMERGE=EXTMERGE), timeout=120)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads(run("status", "-J", journal).stdout)["state"], "done")


if __name__ == "__main__":
    unittest.main()
