# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals: extmerge stops within two seconds, records, says how to continue, and dies by the signal."""

import os
import signal
import subprocess
import time
import unittest

from support import EXTMERGE, PoolTest, environment, run

SLOW = ["--rate-limit=1M", "--checkpoint-interval=128k", "--buffer-size=64k"]


class SignalTest(PoolTest):
    def start_slow(self, *arguments):
        process = self.pool.start(*self.pool.command("merge", "--yes", *SLOW, *arguments))
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.pool.wait_for_copying(process)
        return process

    def stop(self, process, number):
        started = time.monotonic()
        process.send_signal(number)
        _, stderr = process.communicate(timeout=10)
        self.assertLess(time.monotonic() - started, 2)
        self.assertEqual(process.returncode, -number)
        return stderr

    def test_each_stops_a_merge_that_can_be_resumed(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number):
                self.pool = self.make_pool()
                process = self.start_slow()
                before = self.pool.status()["durable_bytes"]
                stderr = self.stop(process, number)
                self.assertIn("EXM-704", stderr)
                self.assertIn("extmerge resume " + self.pool.journal(), stderr)
                status = self.pool.status()
                self.assertEqual((status["state"], status["running"]), ("copying", False))
                self.assertGreaterEqual(status["durable_bytes"], before)
                self.assert_ok(run("resume", self.pool.journal()))
                self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_the_advice_can_be_followed_word_by_word(self):
        stderr = self.stop(self.start_slow(), signal.SIGTERM)
        command = stderr[stderr.index("extmerge resume "):].split()[1:3]
        self.assert_ok(run(*command, cwd="/"))
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_a_resume_can_be_stopped_too(self):
        journal = self.unfinished()
        before = self.pool.status()["durable_bytes"]
        process = self.pool.start("resume", journal, *SLOW)
        self.pool.wait_for_copying(process, before)
        self.assertIn("EXM-704", self.stop(process, signal.SIGINT))
        self.assert_ok(run("resume", journal))
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_a_verify_can_be_stopped(self):
        process = self.pool.start("verify", *self.pool.source, "--rate-limit=64k",
                                  "--buffer-size=64k")
        time.sleep(0.5)
        self.assertIn("EXM-704", self.stop(process, signal.SIGINT))

    def test_a_second_one_ends_it_at_once_and_safely(self):
        for gap in (0, 0.002, 0.01):
            self.pool = self.make_pool()
            process = self.start_slow()
            process.send_signal(signal.SIGTERM)
            time.sleep(gap)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=10)
            self.assertIn(process.returncode, (-signal.SIGTERM, -signal.SIGINT))
            self.assert_ok(run("resume", self.pool.journal()))
            self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_after_a_second_one_the_cursor_is_on_a_new_line(self):
        master, terminal = os.openpty()
        self.addCleanup(os.close, master)
        process = subprocess.Popen(
            [EXTMERGE, *self.pool.command("merge", "--yes", *SLOW, "--progress=bar")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=terminal,
            start_new_session=True, env=environment(TERM="xterm"))
        os.close(terminal)
        self.pool.wait_for_copying(process)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        self.assertLess(process.wait(timeout=10), 0)
        shown = b""
        try:
            while True:
                shown += os.read(master, 65536)
        except OSError:  # all has been read
            pass
        self.assertTrue(shown.endswith(b"\r\n"), shown[-100:])

    def test_what_was_ignored_stays_ignored(self):
        def ignore():
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        process = self.pool.start(*self.pool.command("merge", "--yes", "--rate-limit=8M"),
                                  preexec_fn=ignore)
        time.sleep(0.3)
        process.send_signal(signal.SIGHUP)
        _, stderr = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 0, stderr)
        self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_usr1_prints_a_line_and_changes_nothing(self):
        process = self.start_slow("--progress=none")
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.6)
        stderr = self.stop(process, signal.SIGTERM)
        self.assertRegex(stderr, r"(?m)^copying  \d+\.\d%  .* / 6\.8 MiB  .*/s  ETA .*  durable ")

    def test_usr1_does_not_kill_a_plan(self):
        for delay in (0, 0.005, 0.01, 0.02):
            process = subprocess.Popen([EXTMERGE, *self.pool.command("plan")],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       env=environment())
            # The signal must not come before the program has a handler for it.
            while process.poll() is None and not self.takes_usr1(process.pid):
                pass
            time.sleep(delay)
            process.send_signal(signal.SIGUSR1)
            process.communicate(timeout=10)
            self.assertEqual(process.returncode, 0)

    @staticmethod
    def takes_usr1(pid):
        try:
            with open("/proc/%d/status" % pid, encoding="ascii") as file:
                for line in file:
                    if line.startswith("SigBlk:"):
                        return bool(int(line.split()[1], 16) & 1 << (signal.SIGUSR1 - 1))
        except OSError:
            pass
        return False

    def test_the_lock_keeps_a_second_merge_out(self):
        process = self.start_slow()
        self.assert_failed(self.pool.run("merge", "--yes"), 5, "EXM-505")
        self.assertEqual(run("resume", self.pool.journal()).returncode, 5)
        self.stop(process, signal.SIGTERM)


if __name__ == "__main__":
    unittest.main()
