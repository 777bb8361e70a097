# SPDX-License-Identifier: GPL-3.0-or-later
"""The same tests on block devices: loop devices over the images.

The tests are skipped (exit status 77) if no loop device can be made. Each test removes its
loop device at its end, and touches no other one.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
import unittest

from pools import EXTMERGE, LARGER_THAN_ORIGIN, SECTOR, GoldenTest, Pool, each_pool


def losetup(*arguments):
    return subprocess.run(["losetup", *arguments], capture_output=True, text=True, check=False)


class LoopDevice(GoldenTest):
    def loop(self, path, *options):
        made = losetup("--find", "--show", *options, path)
        self.assertEqual(made.returncode, 0, made.stderr)
        device = made.stdout.strip()
        self.addCleanup(losetup, "--detach", device)
        return device

    def source(self, pool, thin_id, origin):
        return pool.source(thin_id, origin, self.loop(pool.metadata, "--read-only"),
                           self.loop(pool.data, "--read-only"))

    def run_each(self, names, thin_ids, *options):
        for pool, thin_id in each_pool(names, thin_ids):
            with self.subTest(pool=pool.name, thin_id=thin_id):
                origin = self.copy_of_origin(pool)
                device = self.loop(origin)
                self.extmerge("merge", "--yes", "--again", *options,
                              *self.source(pool, thin_id, device))
                self.assert_equal_bytes(device, origin, 0, pool.origin_size)
                self.assert_merged(pool, thin_id, origin)
                self.doCleanups()
                self.setUp()

    def test_the_origin_becomes_what_the_kernel_read(self):
        names = [pool.name for pool, _ in each_pool(thin_ids=(1,))
                 if pool.name not in LARGER_THAN_ORIGIN]
        self.run_each(names, (1, 2))

    def test_dropping_what_lies_past_the_end_merges_the_rest(self):
        self.run_each(LARGER_THAN_ORIGIN, (1, 2), "--beyond-origin=drop")

    def test_a_device_with_sectors_of_4096_bytes_is_merged_as_well(self):
        pool = Pool("block-192k")
        origin = self.copy_of_origin(pool)
        device = self.loop(origin, "--sector-size", "4096")
        self.extmerge("merge", "--yes", *self.source(pool, 1, device))
        self.assert_merged(pool, 1, origin)

    def test_a_thin_that_ends_inside_a_sector_of_4096_bytes_is_refused(self):
        pool = Pool("block-192k")
        origin = self.copy_of_origin(pool)
        source = self.source(pool, 1, self.loop(origin, "--sector-size", "4096"))
        size = source.index("--thin-size") + 1
        # The thin ends inside the last mapped block, and the last write would end there, too.
        block = max(pool.mappings(1)) * pool.block_size
        for end in (block + SECTOR, block + 4096 + 7 * SECTOR):
            source[size] = f"{end}b"
            self.assert_refused("EXM-407", "plan", *source)
            self.assert_refused("EXM-407", "verify", *source)
            self.assert_refused("EXM-407", "merge", "--yes", *source)
            self.assert_equal_bytes(origin, pool.origin)
        self.assertEqual(os.listdir(self.state_dir), [])

        end = block + 4096
        source[size] = f"{end}b"
        self.extmerge("merge", "--yes", *source)
        self.assert_equal_bytes(origin, pool.expected(1), 0, end)
        self.assert_equal_bytes(origin, pool.origin, end)

    def test_an_image_and_a_loop_device_over_it_are_one_origin_for_the_next_merge(self):
        pool = Pool("equal-64k")

        def on(device, action, origin, *options):
            """Calls `action` on the image, or on a loop device that exists only during the call."""
            if not device:
                return action(*options, *pool.source(1, origin))
            made = losetup("--find", "--show", origin)
            self.assertEqual(made.returncode, 0, made.stderr)
            try:
                return action(*options, *pool.source(1, made.stdout.strip()))
            finally:
                losetup("--detach", made.stdout.strip())

        def plan(*arguments):
            # This is another plan, so its journal is not done yet.
            arguments = list(arguments)
            arguments[arguments.index("--thin-size") + 1] = f"{pool.thin_size - SECTOR}b"
            self.extmerge("plan", *arguments)

        def refuse(*arguments):
            with self.assertRaisesRegex(AssertionError, "(?s)EXM-414.*compare the two"):
                plan(*arguments)

        for merged_on_device in (False, True):
            with self.subTest(merged_on_device=merged_on_device):
                origin = self.copy_of_origin(pool)
                on(merged_on_device, self.extmerge, origin, "merge", "--yes", "--again")
                for device in (False, True):
                    on(device, plan, origin)
                # The sample sees no change, but the image's modification time does.
                os.utime(origin, ns=(0, os.stat(origin).st_mtime_ns + 1_000_000_000))
                for device in (False, True):
                    on(device, refuse, origin)

    def test_a_device_cannot_be_extended(self):
        pool = Pool("thin-larger-64k")
        origin = self.copy_of_origin(pool)
        source = self.source(pool, 1, self.loop(origin))
        self.assert_refused("EXM-412", "merge", "--yes", "--beyond-origin=extend", *source)
        self.assert_equal_bytes(origin, pool.origin)

    def test_a_read_only_device_is_refused(self):
        pool = Pool("equal-64k")
        origin = self.copy_of_origin(pool)
        source = self.source(pool, 1, self.loop(origin, "--read-only"))
        self.assert_refused("EXM-403", "merge", "--yes", *source)
        self.assert_equal_bytes(origin, pool.origin)

    def test_an_image_that_is_in_use_as_a_loop_device_is_refused(self):
        pool = Pool("equal-64k")
        origin = self.copy_of_origin(pool)
        self.loop(origin)
        self.extmerge("merge", "--yes", *pool.source(1, origin), status=5)
        self.assert_equal_bytes(origin, pool.origin)

    def test_an_origin_that_comes_into_use_is_noticed_however_few_files_may_be_open(self):
        for limit in (1024, 8, 9, 10):
            with self.subTest(limit=limit):
                pool = Pool("equal-64k")
                origin = self.copy_of_origin(pool)
                merge = subprocess.Popen(
                    [EXTMERGE, "merge", "--yes", "--again", "--restart", "--rate-limit=4M",
                     "--checkpoint-interval=64k", "--buffer-size=64k", *pool.source(1, origin)],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    env=self.environment(), preexec_fn=lambda: resource.setrlimit(
                        resource.RLIMIT_NOFILE, (limit, limit)))
                time.sleep(0.5)
                if merge.poll() is None:
                    self.loop(origin)
                    self.assertNotEqual(merge.wait(timeout=60), 0, "said to be done")
                else:
                    self.assertNotEqual(merge.returncode, 0)
                self.doCleanups()
                self.setUp()

    def test_an_origin_that_lies_on_the_pools_data_is_refused(self):
        pool = Pool("equal-64k")
        data = os.path.join(self.folder, "data.img")
        subprocess.run(["cp", "--sparse=always", pool.data, data], check=True)
        origin = self.loop(data, "--offset", "1M", "--sizelimit", "32M")
        source = pool.source(1, origin, data=self.loop(data))
        self.extmerge("merge", "--yes", *source, status=4)
        self.assert_equal_bytes(data, pool.data)


def skip_unless_loop_devices_can_be_made():
    with tempfile.NamedTemporaryFile(dir=os.environ["EXTMERGE_SCRATCH"]) as file:
        file.truncate(1 << 20)
        made = losetup("--find", "--show", file.name)
        if made.returncode != 0:
            print("skipped: no loop device can be made here:", made.stderr.strip())
            sys.exit(77)
        losetup("--detach", made.stdout.strip())


if __name__ == "__main__":
    skip_unless_loop_devices_can_be_made()
    unittest.main()
