# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that README and the pages of the manual print. Commands without LVM run here as printed. Commands with LVM
run in a kernel: tests/kernel/lvm_transcripts.sh. Each printed command runs somewhere."""

import os
import re
import sys
import unittest

from support import EXTMERGE, SOURCE, PoolTest

sys.path.insert(0, os.path.join(SOURCE, "tests/support"))
import transcripts  # pylint: disable=wrong-import-position

# README, and the pages from which the manual takes its commands.
PAGES = ("README.md", "docs/lvm.md", "docs/command-line.md", "docs/crash-safety.md", "docs/journal-format.md",
         "docs/messages.md", "docs/copy.md")
IN_A_KERNEL = ("README.md", "docs/lvm.md", "docs/copy.md")
COMMAND = re.compile(r"    (\$ |\./run |extmerge [a-z]|lv|dmsetup |systemctl )")


def page(name):
    return os.path.join(SOURCE, name)


class PagesTest(PoolTest):
    on_disk = True  # a journal in memory has a note of its own

    def test_what_is_run_among_images_does_what_is_printed(self):
        programs = self.pool.path("bin")
        os.mkdir(programs)
        os.symlink(EXTMERGE, os.path.join(programs, "extmerge"))
        ran = 0
        for name in PAGES:
            for kind, names, block, at in transcripts.blocks(page(name)):
                if kind != "images":
                    continue
                pool = self.make_pool(names[0])
                for image in ("metadata", "data", "origin"):
                    os.rename(pool.path(image), pool.path(image + ".img"))
                before = os.getcwd()
                os.chdir(pool.folder)
                self.addCleanup(os.chdir, before)
                for command, said in transcripts.commands(block):
                    shown, status = transcripts.run(
                        command, PATH=programs + ":" + os.environ["PATH"], EXTMERGE_STATE_DIR=pool.state,
                        EXTMERGE_CONFIG="")
                    ran += 1
                    self.assertEqual(status, 0, (name, at, command, shown))
                    if said is not None:
                        shown = shown.replace(pool.folder, "/srv/pool")
                        self.assertTrue(transcripts.is_what_was_said(shown, said), (name, at, command, shown))
                        # A plan has no random part.
                        self.assertEqual(shown.split("\n")[:-1], said, (name, at))
                os.chdir(before)
        self.assertGreater(ran, 4)

    def test_no_command_is_printed_that_nobody_runs(self):
        found = 0
        for name in PAGES:
            with open(page(name), encoding="utf-8") as file:
                lines = file.read().split("\n")
            run = {line for kind, _, block, _ in transcripts.blocks(page(name)) for line in block
                   if name in IN_A_KERNEL or kind in ("images", "fresh clone")}
            for line in lines:
                # The synopsis is no command.
                if COMMAND.match(line) and "[options]" not in line and "[COMMAND]" not in line:
                    found += 1
                    self.assertIn(line[4:], run, name)
        self.assertGreater(found, 40)

    def test_what_needs_a_kernel_has_a_test_there(self):
        with open(page("tests/kernel/CMakeLists.txt"), encoding="utf-8") as file:
            self.assertEqual(sorted(re.findall(r"add_lvm_test\(lvm_transcripts (.*)\)", file.read())), sorted(IN_A_KERNEL))

    def test_the_commands_of_a_fresh_clone_are_those_of_ci(self):
        with open(page(".ci/run"), encoding="utf-8") as file:
            ci = file.read()
        blocks = [block for kind, _, block, _ in transcripts.blocks(page("README.md")) if kind == "fresh clone"]
        self.assertEqual(len(blocks), 1)
        for line in blocks[0]:
            self.assertRegex(ci, r"(?m)^(exec )?%s$" % re.escape(line.split("#")[0].strip()))


if __name__ == "__main__":
    unittest.main()
