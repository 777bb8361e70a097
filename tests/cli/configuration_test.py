# SPDX-License-Identifier: GPL-3.0-or-later
"""extmerge.conf: its options, and that the command line and the environment override it."""

import json
import os
import re
import unittest

from support import SOURCE, PoolTest, environment, run, run_as_another


class ConfigurationTest(PoolTest):
    def configure(self, text, mode=0o644):
        path = self.pool.path("extmerge.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return environment(EXTMERGE_CONFIG=path)

    def merge(self, text, *options):
        result = self.pool.run("merge", "--yes", "--json", *options, env=self.configure(text))
        return json.loads(self.assert_ok(result).stdout)

    def test_without_one_all_is_as_ever(self):
        self.assertEqual(self.merge("# nothing\n\n")["verified"], "sample")

    def test_it_chooses_and_the_command_line_comes_first(self):
        self.assertEqual(self.merge("verify = full\ncompare=never\n")["verified"], "full")
        report = self.merge("verify = full\n", "--again", "--verify=none")
        self.assertEqual(report["verified"], "none")

    def test_the_environment_comes_first_too(self):
        in_file, in_environment = self.pool.path("file"), self.pool.path("environment")
        env = self.configure(f"state-dir = {in_file}\n")
        source = self.pool.source
        self.assert_ok(run("merge", "--yes", *source, env=env))
        self.assertEqual(len([n for n in os.listdir(in_file) if n.endswith(".journal")]), 1)
        env["EXTMERGE_STATE_DIR"] = in_environment
        self.assert_ok(run("merge", "--yes", "--again", *source, env=env))
        self.assertEqual(len([n for n in os.listdir(in_environment) if n.endswith(".journal")]), 1)
        by_option = self.pool.path("option")
        self.assert_ok(run("merge", "--yes", "--again", *source, "--state-dir", by_option, env=env))
        self.assertTrue(os.path.isdir(by_option))

    def test_what_a_command_does_not_take_is_left_alone(self):
        env = self.configure("units = b\nverify = full\nthreads = 2\nprogress = none\n")
        self.assertIn("33554432", self.assert_ok(self.pool.run("plan", env=env)).stdout)
        self.assert_ok(self.pool.run("plan", "--ranges", env=env))
        self.assertIn("32.0 MiB", self.assert_ok(self.pool.run("plan", "--units=h", env=env)).stdout)
        self.assert_ok(run("status", "--state-dir", self.pool.folder, env=env))

    def test_what_excludes_an_option_excludes_its_default(self):
        self.merge("compare = never\nprogress = line\n", "--undo-log", self.pool.path("undo"),
                   "--progress-json")

    def test_the_command_line_is_checked_together_with_it(self):
        log = self.pool.path("log")
        for text, options in (("buffer-size = 8M\n", ["--io-size=4M"]),
                              (f"log-file = {log}\n", ["--log-level=debug"]),
                              ("progress = none\n", ["--progress-frequency=1"]),
                              ("progress = line\nprogress-frequency = 3\n", ["--progress=bar"])):
            self.merge(text, "--again", *options)
        self.assertGreater(os.path.getsize(log), 0)
        result = self.pool.run("merge", "--yes", "--again", "-q", "--rate-limit=3M",
                               env=self.configure("progress = line\nprogress-frequency = 1\n"))
        self.assertEqual(self.assert_ok(result).stderr, "")

    def test_a_state_directory_that_is_not_made_yet_is_no_failure(self):
        env = self.configure("state-dir = " + self.pool.path("later") + "\n")
        self.assertIn("No merges are known", self.assert_ok(run("status", env=env)).stdout)

    def test_it_can_neither_confirm_nor_lift_a_refusal_nor_name_what_is_merged(self):
        for name in ("yes", "batch-mode", "allow-stale", "allow-shared-origin", "again", "restart",
                     "allow-removed-snapshot", "allow-container", "origin", "thin-id", "journal", "undo-log",
                     "beyond-origin", "finish", "live-root", "nonsense", "json"):
            env = self.configure(f"{name} = yes\n")
            result = self.pool.run("merge", "--yes", env=env)
            self.assertEqual(result.returncode, 1, name)
            self.assertIn(f"'{name}' is no option for a file", result.stderr)
            self.assertIn("compare, verify", result.stderr)
        self.assertTrue(self.pool.untouched())

    def test_the_page_has_every_name_that_may_be_there(self):
        with open(os.path.join(SOURCE, "docs/command-line.md"), encoding="utf-8") as page:
            names = re.search(r"NAME is a long option without its dashes: (.*?)\. It can", page.read(), re.DOTALL)
        result = self.pool.run("plan", env=self.configure("nonsense = 1\n"))
        known = re.search(r"NAME = VALUE of (.*)", result.stderr).group(1).split(", ")
        self.assertEqual(set(re.findall(r"`([\w-]+)`", names.group(1))), set(known))
        self.assertGreater(len(known), 10)

    def test_the_one_that_is_installed_changes_nothing_until_it_is_edited(self):
        with open(os.path.join(SOURCE, "cli/packaging/extmerge.conf"), encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(self.merge(text)["verified"], "sample")
        edited = re.sub(r"(?m)^# (\S+ = )", r"\1", text).replace("/var/log/extmerge", self.pool.folder)
        self.assertGreater(edited.count("\n") - text.count("\n# "), 0)
        self.assertEqual(self.merge(edited, "--again")["verified"], "full")

    def test_what_is_wrong_in_it_is_told_to_every_command(self):
        for text, words in (("compare = sometimes\n", "--compare: 'sometimes' is none of its values"),
                            ("threads = 0\n", "--threads"),
                            ("threads = 2\nthreads = 3\n", "threads is given twice"),
                            ("log-level = debug\n", "log-level needs a log-file"),
                            ("what is this\n", "what is this")):
            result = run("status", "--state-dir", self.pool.state, env=self.configure(text))
            self.assert_usage_error(result, words, "extmerge.conf")

    def test_one_that_others_may_write_to_is_refused(self):
        result = self.pool.run("plan", env=self.configure("threads = 2\n", 0o666))
        self.assert_usage_error(result, "others may write to it")
        if os.geteuid() == 0:
            env = self.configure("threads = 2\n")
            os.chown(env["EXTMERGE_CONFIG"], 65534, -1)
            self.assert_usage_error(self.pool.run("plan", env=env), "others may write to it")

    def test_one_that_was_named_must_be_there(self):
        env = environment(EXTMERGE_CONFIG=self.pool.path("missing"))
        self.assert_usage_error(self.pool.run("plan", env=env), "missing", "No such file")
        env["EXTMERGE_CONFIG"] = self.pool.folder
        self.assert_usage_error(self.pool.run("plan", env=env), "no regular file")
        os.mkfifo(self.pool.path("fifo"))
        env["EXTMERGE_CONFIG"] = self.pool.path("fifo")
        self.assert_usage_error(self.pool.run("plan", env=env), "no regular file")

    def test_a_log_file_that_is_not_for_everybody_stops_nobody(self):
        log = self.pool.path("log")
        with open(log, "w", encoding="utf-8"):
            pass
        os.chmod(log, 0o600)
        os.chmod(self.pool.folder, 0o755)
        env = self.configure(f"log-file = {log}\n")
        words = ["--state-dir", "/nonexistent"]
        self.assert_failed(run("status", *words, env=env), 4, "EXM-401")
        logged = os.path.getsize(log)
        self.assertGreater(logged, 0)
        if os.geteuid() != 0:
            self.skipTest("not root, so there is nobody else")
        result = run_as_another("status", *words, env=env)
        self.assert_failed(result, 4, "EXM-401")
        self.assertRegex(result.stderr, "(?m)^extmerge: nothing is logged: .*" + log)
        self.assertNotIn("nothing is logged", run_as_another("status", "-q", *words, env=env).stderr)
        self.assertEqual(os.path.getsize(log), logged)
        # A log file named on the command line must be open to this user.
        self.assert_failed(run_as_another("status", *words, "--log-file", log, env=env), 2, "EXM-201")

    def test_help_needs_none(self):
        env = environment(EXTMERGE_CONFIG=self.pool.path("missing"))
        self.assert_ok(run("merge", "--help", env=env))


if __name__ == "__main__":
    unittest.main()
