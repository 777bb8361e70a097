# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals, descriptors, a umask and limits that extmerge inherits.

Each command runs with each of them. The command ends with a documented exit status and never reports an internal
error. The same command without them then does its work.
"""

import os
import resource
import shutil
import signal
import subprocess
import unittest

from support import COMMANDS, EXTMERGE, PoolTest, environment, run

KIB = 1024
MIB = 1024 * KIB
SIZE_OF_TARGET = 32 * MIB
# The documented exit statuses without "internal error" and signals.
EXPECTED = set(range(10))


def ignoring(*numbers):
    return lambda: [signal.signal(number, signal.SIG_IGN) for number in numbers]


def blocking(numbers):
    return lambda: signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def closing(*descriptors):
    return lambda: [os.close(descriptor) for descriptor in descriptors]


def limiting(which, amount):
    return lambda: resource.setrlimit(which, (amount, amount))


SIGNALS = {
    "SIGCHLD, SIGXFSZ, SIGPIPE and SIGUSR1 ignored": ignoring(signal.SIGCHLD, signal.SIGXFSZ, signal.SIGPIPE,
                                                              signal.SIGUSR1),
    "SIGINT, SIGTERM and SIGHUP ignored": ignoring(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
    "all signals blocked": blocking(signal.valid_signals()),
}
DESCRIPTORS = {"%s closed" % (closed,): closing(*closed)
               for closed in ((0,), (1,), (2,), (0, 1, 2))}
UMASKS = {"umask %o" % mask: lambda mask=mask: os.umask(mask) for mask in (0, 0o777)}
LIMITS = {
    **{"%d open files" % most: limiting(resource.RLIMIT_NOFILE, most) for most in (5, 8, 10, 12, 16)},
    **{"files of %d bytes" % most: limiting(resource.RLIMIT_FSIZE, most)
       for most in (0, 512, 64 * KIB, 20 * MIB)},
    **{"%d MiB of memory" % most: limiting(resource.RLIMIT_AS, most * MIB) for most in (64, 128, 256)},
    "no locked memory": limiting(resource.RLIMIT_MEMLOCK, 0),
}


class Inheriting(PoolTest):
    def scene(self, command):
        """A fresh pool in which `command` has something to do, and its words."""
        pool = self.make_pool()
        undo_log = ["--undo-log", pool.path("undo")] if command != "abort" else []
        if command in ("plan", "verify"):
            return pool, pool.command(command)
        if command == "copy":
            self.target = pool.path("target")
            with open(self.target, "wb") as file:
                file.truncate(SIZE_OF_TARGET)
            return pool, pool.command("copy", "--yes", "--whole", f"--thin-size={SIZE_OF_TARGET}", *undo_log, self.target)
        if command == "merge":
            return pool, pool.command("merge", "--yes", *undo_log)
        # The limit stops the merge in its middle, so the test need not wait.
        result = pool.run("merge", "--yes", "--threads=1", "--checkpoint-interval=64k", "--buffer-size=64k", *undo_log,
                          preexec_fn=limiting(resource.RLIMIT_FSIZE, 16 * MIB))
        self.assertEqual((result.returncode, pool.status()["state"]), (7, "copying"), result.stderr)
        self.assertGreater(pool.status()["durable_bytes"], 0)
        return pool, [command, pool.journal(), *(["--yes"] if command == "undo" else [])]

    def assert_done(self, pool, command):
        if command in ("merge", "resume"):
            self.assertEqual(pool.origin_bytes(), pool.merged())
            self.assertEqual(pool.status()["state"], "done")
        elif command == "copy":
            self.assertTrue(pool.untouched())
            with open(self.target, "rb") as file:
                copied = file.read()
            self.assertEqual(copied[:len(pool.merged())], pool.merged()[:SIZE_OF_TARGET])
        elif command == "abort":
            self.assertIsNone(pool.journal())
        elif command != "status":
            self.assertTrue(pool.untouched())

    def ends_right(self, command, pool, words):
        """The command succeeds without the limit. The failed run may have done the work already."""
        done_before = {"merge": "EXM-604", "copy": "EXM-604", "resume": "EXM-611", "abort": "EXM-601"}
        result = run(*words)
        if result.returncode == 6:
            self.assertIn(done_before.get(command, "nothing"), result.stderr)
        else:
            self.assertEqual(result.returncode, 8 if command == "verify" else 0, result.stderr)
        self.assert_done(pool, command)

    def try_each(self, inheritances, check):
        """Tries all inheritances in turn. After a failure the next run continues from there."""
        for command in COMMANDS:
            pool, words = self.scene(command)
            for name, inherit in inheritances.items():
                with self.subTest(command=command, inherited=name):
                    result = run(*words, preexec_fn=inherit, restore_signals=False)
                    self.assertIn(result.returncode, EXPECTED, result.stderr)
                    self.assertNotIn("EXM-001", result.stdout + result.stderr)
                    check(command, name, result)
                    only_the_report_is_lost = result.returncode == 3 and "1" in name and "closed" in name
                    if result.returncode == 0 or only_the_report_is_lost:
                        self.assert_done(pool, command)
                        if command not in ("plan", "verify", "status"):
                            pool, words = self.scene(command)
            self.ends_right(command, pool, words)


class InheritanceTest(Inheriting):
    def assert_as_ever(self, command, _, result):
        self.assertEqual(result.returncode, 8 if command == "verify" else 0, result.stderr)

    def test_signals_that_are_ignored_or_blocked_change_nothing(self):
        self.try_each(SIGNALS, self.assert_as_ever)

    def test_a_umask_takes_no_file_of_ours_from_us(self):
        self.try_each(UMASKS, self.assert_as_ever)

    def test_closed_descriptors_are_not_given_to_files(self):
        def check(command, name, result):
            if "1" in name:  # a report that cannot be written is a failure
                self.assertEqual(result.returncode, 3, result.stderr)
            else:
                self.assert_as_ever(command, name, result)
        self.try_each(DESCRIPTORS, check)

    def test_limits_end_in_an_error_with_a_cure(self):
        def check(_, name, result):
            if result.returncode in (0, 8):
                return
            if "files of" in name:
                self.assertIn("ulimit -f", result.stderr)
            else:
                self.assertEqual(result.returncode, 3, result.stderr)
        self.try_each(LIMITS, check)


class ThreadsTest(Inheriting):
    """A limit on threads holds for a user that is not root and has no other process."""

    def give(self, pool, user):
        for where, folders, files in os.walk(pool.folder):
            for name in [".", *folders, *files]:
                os.chown(os.path.join(where, name), user, user)

    def run_as(self, pool, user, threads, words):
        program = pool.path("extmerge")

        def become():
            resource.setrlimit(resource.RLIMIT_NPROC, (threads, threads))
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
        return subprocess.run([program, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                              check=False, env=environment(), preexec_fn=become, cwd=pool.folder)

    def test_no_thread_to_be_had_is_no_bug(self):
        if os.geteuid() != 0:
            self.skipTest("only root has a user to itself")
        user = 1000000000 + os.getpid()
        for command in ("plan", "merge", "verify", "resume", "undo", "status"):
            pool, words = self.scene(command)
            shutil.copy(EXTMERGE, pool.path("extmerge"))
            for threads in (1, 2, 3, 4, 5, 6, 10):
                with self.subTest(command=command, threads=threads):
                    self.give(pool, user)
                    result = self.run_as(pool, user, threads, words)
                    self.give(pool, 0)
                    is_done = result.returncode == (8 if command == "verify" else 0)
                    if not is_done:
                        self.assert_failed(result, 3, "EXM-309")
                        self.assertIn("ulimit -u", result.stderr)
                    self.assertTrue(is_done or threads < 10)
                    self.assertTrue(command == "status" or threads > 1 or not is_done)
                    if is_done and command not in ("plan", "verify", "status"):
                        break
            self.assert_done(pool, command)


if __name__ == "__main__":
    unittest.main()
