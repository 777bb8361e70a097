# SPDX-License-Identifier: GPL-3.0-or-later
"""The question before a merge: extmerge asks it on a terminal, never elsewhere."""

import os
import pty
import select
import signal
import subprocess
import time
import unittest

from support import EXTMERGE, PoolTest, environment


class OnTerminal:
    """extmerge with a terminal as stdin and stderr."""

    def __init__(self, *arguments, **changes):
        self.master, terminal = pty.openpty()
        self.process = subprocess.Popen([EXTMERGE, *arguments], stdin=terminal, stderr=terminal,
                                        stdout=subprocess.PIPE, start_new_session=True,
                                        env=environment(TERM="xterm", **changes))
        os.close(terminal)
        self.shown = ""

    def read_until(self, text, seconds=10):
        end = time.monotonic() + seconds
        while text not in self.shown and time.monotonic() < end:
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self.master, 4096).decode()
                except OSError:  # the other end is closed
                    break
        return text in self.shown

    def answer(self, text):
        os.write(self.master, text.encode())

    def finish(self, seconds=20):
        self.read_until("\0", seconds=0.1)
        stdout = self.process.communicate(timeout=seconds)[0].decode()
        self.read_until("\0", seconds=0.2)
        os.close(self.master)
        return self.process.returncode, stdout


class ConfirmTest(PoolTest):
    def merge(self, *arguments, **changes):
        return OnTerminal(*self.pool.command("merge", "--progress=none", *arguments), **changes)

    def test_it_asks_with_size_blocks_thin_and_origin(self):
        merge = self.merge()
        question = "Merge 6.8 MiB (109 blocks) of thin 1 into %s? [y/N]" % self.pool.origin
        self.assertTrue(merge.read_until(question), merge.shown)
        self.assertIn("to be copied", merge.shown)
        merge.answer("n\n")
        self.assertEqual(merge.finish(), (1, ""))
        self.assertIn("EXM-102", merge.shown)
        self.assertTrue(self.pool.untouched())
        self.assertIsNone(self.pool.journal())

    def test_yes_starts_the_merge(self):
        for answer in ("y\n", "Y\n", "yes\n", "y \n", "yes\t \n"):
            self.pool = self.make_pool()
            merge = self.merge()
            self.assertTrue(merge.read_until("[y/N]"))
            merge.answer(answer)
            status, stdout = merge.finish()
            self.assertEqual(status, 0, merge.shown)
            self.assertIn("Merged thin 1", stdout)
            self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_anything_else_is_no(self):
        for answer in ("\n", "yy\n", "no\n", "ja\n", " y\n", "\x04"):
            merge = self.merge()
            self.assertTrue(merge.read_until("[y/N]"))
            merge.answer(answer)
            self.assertEqual(merge.finish()[0], 1)
            self.assertTrue(self.pool.untouched())

    def test_what_was_typed_before_the_question_is_no_answer(self):
        master, terminal = pty.openpty()
        self.addCleanup(os.close, master)
        os.write(master, b"y\n")
        with subprocess.Popen([EXTMERGE, *self.pool.command("merge", "--progress=none")],
                              stdin=terminal, stderr=terminal, stdout=subprocess.PIPE,
                              start_new_session=True, env=environment(TERM="xterm")) as process:
            os.close(terminal)
            shown = b""
            while b"[y/N]" not in shown:
                shown += os.read(master, 4096)
            self.assertEqual(select.select([process.stdout], [], [], 1)[0], [])
            self.assertIsNone(process.poll())
            os.write(master, b"n\n")
            self.assertEqual(process.wait(timeout=10), 1)
        self.assertTrue(self.pool.untouched())

    def test_without_a_terminal_it_does_nothing(self):
        for stdin in (subprocess.DEVNULL, subprocess.PIPE):
            process = subprocess.Popen([EXTMERGE, *self.pool.command("merge")], stdin=stdin,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                       env=environment())
            stdout, stderr = process.communicate("y\n" if stdin == subprocess.PIPE else None)
            self.assertEqual((process.returncode, stdout), (1, ""))
            self.assertIn("EXM-102", stderr)
            self.assertIn("--yes", stderr)
        self.assertTrue(self.pool.untouched())
        self.assertFalse(os.path.exists(self.pool.state))

    def test_yes_and_batch_mode_do_not_ask(self):
        for flag in ("--yes", "-y", "--batch-mode"):
            self.pool = self.make_pool()
            merge = OnTerminal(*self.pool.command("merge", flag))
            status, _ = merge.finish()
            self.assertEqual(status, 0, merge.shown)
            self.assertNotIn("[y/N]", merge.shown)
            self.assertEqual(self.pool.origin_bytes(), self.pool.merged())

    def test_neither_environment_nor_input_can_say_yes_in_advance(self):
        merge = self.merge(EXTMERGE_YES="1", EXTMERGE_OPTIONS="--yes")
        self.assertTrue(merge.read_until("[y/N]"))
        merge.answer("n\n")
        self.assertEqual(merge.finish()[0], 1)

    def test_resume_does_not_ask(self):
        journal = self.unfinished()
        resume = OnTerminal("resume", journal)
        status, _ = resume.finish()
        self.assertEqual(status, 0, resume.shown)
        self.assertNotIn("[y/N]", resume.shown)

    def test_a_signal_ends_the_question(self):
        merge = self.merge()
        self.assertTrue(merge.read_until("[y/N]"))
        started = time.monotonic()
        merge.process.send_signal(signal.SIGINT)
        self.assertEqual(merge.finish()[0], -signal.SIGINT)
        self.assertLess(time.monotonic() - started, 2)
        self.assertTrue(self.pool.untouched())
        self.assertIsNone(self.pool.journal())

    def test_refusals_come_before_the_question(self):
        self.pool = self.make_pool("thin-larger-64k")
        merge = self.merge()
        self.assertEqual(merge.finish()[0], 4)
        self.assertNotIn("[y/N]", merge.shown)

    def test_no_progress_is_drawn_over_the_question(self):
        merge = OnTerminal(*self.pool.command("merge", "--progress=bar"))
        self.assertTrue(merge.read_until("[y/N] "))
        shown = merge.shown
        time.sleep(1)
        merge.read_until("\0", seconds=0.1)
        self.assertEqual(merge.shown, shown)
        merge.answer("y\n")
        self.assertEqual(merge.finish()[0], 0)


if __name__ == "__main__":
    unittest.main()
