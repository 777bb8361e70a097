# SPDX-License-Identifier: GPL-3.0-or-later
"""plan --export on the pools that a kernel wrote. Each map must lead its program to the bytes that the kernel read from the
thin: GNU ddrescue and bmaptool copy with it, and the map for borg is checked byte by byte, as borg trusts it."""

import json
import os
import shutil
import subprocess
import unittest

from pools import LARGER_THAN_ORIGIN, NAMES, GoldenTest, Pool, each_thin


def borg_ranges(text):
    """(start, length, state) of each line, by the rules of borg's manual: sorted, contiguous, from 0."""
    ranges, expected = [], 0
    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        start, length, state = int(words[0]), int(words[1]), words[2]
        assert start == expected and length > 0, line
        ranges.append((start, length, state))
        expected = start + length
    return ranges


class ExportTest(GoldenTest):
    def export(self, pool, thin_id, form, *more, name="map"):
        path = os.path.join(self.folder, name)
        self.extmerge("plan", *pool.source(thin_id, pool.origin), "--export", form, path, *more)
        with open(path, encoding="utf-8") as file:
            return path, file.read()

    def read(self, path, start, length):
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(length).ljust(length, b"\0")

    def assert_trusted(self, pool, thin_id, ranges, same_as):
        self.assertEqual(ranges[-1][0] + ranges[-1][1], pool.thin_size)
        self.assertTrue(all(one[2] != two[2] for one, two in zip(ranges, ranges[1:])), ranges)
        for start, length, state in ranges:
            true = self.read(pool.expected(thin_id), start, length)
            if state == "zero":
                self.assertEqual(true.count(0), length, (pool.name, start))
            elif state == "same":
                self.assertEqual(true, self.read(same_as, start, length), (pool.name, start))

    def test_a_map_for_borg_of_everything(self):
        zeros = set()
        for pool, thin_id in each_thin():
            ranges = borg_ranges(self.export(pool, thin_id, "borg")[1])
            self.assert_trusted(pool, thin_id, ranges, None)
            self.assertNotIn("same", {state for _, _, state in ranges})
            # A range without a mapping has the origin's bytes, never zeros.
            for start, length, state in ranges:
                if state == "zero":
                    self.assertGreaterEqual(start, pool.origin_size)
                    zeros.add(pool.name)
        self.assertTrue(zeros)

    def test_a_map_for_borg_beside_an_archive_of_the_origin(self):
        for pool, thin_id in each_thin():
            ranges = borg_ranges(self.export(pool, thin_id, "borg", "--since", "origin")[1])
            self.assert_trusted(pool, thin_id, ranges, pool.origin)
            mapped = pool.mappings(thin_id)
            for start, length, state in ranges:
                first, last = start // pool.block_size, (start + length - 1) // pool.block_size
                inside = {block in mapped for block in range(first, last + 1)}
                self.assertEqual(inside, {state == "data"}, (pool.name, start, state))

    def test_a_map_of_what_changed_since_a_merge(self):
        """Thin 2 is a later snapshot of the thin that thin 1 is a snapshot of."""
        pool = Pool("equal-64k")
        origin = self.copy_of_origin(pool)
        merged = self.extmerge_json("merge", "--yes", *pool.source(1, origin))
        path = os.path.join(self.folder, "map")
        report = self.extmerge_json("plan", *pool.source(2, origin), "--export=borg", path, "--since", merged["journal"])
        with open(path, encoding="utf-8") as file:
            ranges = borg_ranges(file.read())
        self.assert_trusted(pool, 2, ranges, pool.expected(1))
        before, now = pool.mappings(1), pool.mappings(2)
        changed = sum(before.get(thin) != data for thin, data in now.items()) * pool.block_size
        self.assertGreater(changed, 0)
        self.assertEqual(sum(length for _, length, state in ranges if state == "data"), changed)
        self.assertEqual(report["data_bytes"], changed)
        self.assertEqual(report["same_bytes"], pool.thin_size - changed)

    def test_a_map_of_what_changed_since_a_copy(self):
        """The reader has the state that a copy recorded. A block that was discarded since shows the origin again."""
        kinds = set()
        for name in NAMES:
            pool = Pool(name)
            if not os.path.exists(pool.expected(2)) or name == "two-snaps-64k":
                continue
            origin = self.copy_of_origin(pool)
            for whole in ((), ("--whole",)):
                target = os.path.join(self.folder, "target")
                shutil.copyfile(origin, target)
                os.truncate(target, pool.thin_size)
                journal = self.extmerge_json("copy", "--yes", *pool.source(1, origin), *whole, "--restart", target)["journal"]
                path = os.path.join(self.folder, "map")
                for form in ("borg", "json", "ddrescue"):
                    self.extmerge("plan", *pool.source(2, origin), "--export", form, path + "." + form, "--since", journal)
                with open(path + ".borg", encoding="utf-8") as file:
                    self.assert_trusted(pool, 2, borg_ranges(file.read()), pool.expected(1))
                with open(path + ".json", encoding="utf-8") as file:
                    ranges = json.load(file)["ranges"]
                before, now = pool.mappings(1), pool.mappings(2)
                for one in ranges:
                    kinds.add(one["content"])
                    first = one["offset"] // pool.block_size
                    last = (one["offset"] + one["length"] - 1) // pool.block_size
                    for block in range(first, last + 1):
                        expected = ("same" if now.get(block) == before.get(block) else "data" if block in now else "unmapped")
                        found = "unmapped" if one["content"] in ("origin", "zero") else one["content"]
                        self.assertEqual(found, expected, (name, block))
                if shutil.which("ddrescue"):
                    subprocess.run(["ddrescue", "--quiet", "--domain-mapfile", path + ".ddrescue", pool.expected(2), target],
                                   check=True, stdin=subprocess.DEVNULL)
                    self.assert_equal_bytes(target, pool.expected(2))
                os.remove(journal)
        self.assertLessEqual({"same", "data"}, kinds)

        # The external origin is written to: what was not mapped may be something else now.
        journal = self.extmerge_json("copy", "--yes", *pool.source(1, origin), "--whole", target)["journal"]
        with open(origin, "r+b") as file:
            file.write(b"changed")
        os.utime(origin, (1, 1))
        self.extmerge("plan", *pool.source(2, origin), "--export=borg", path, "--since", journal, status=6)
        self.assertIn("EXM-618", self.last_stderr)
        self.assertIn("written to", self.last_stderr)

    def test_ddrescue_copies_what_the_origin_lacks(self):
        if not shutil.which("ddrescue"):
            self.skipTest("there is no ddrescue")
        for pool, thin_id in each_thin():
            domain, _ = self.export(pool, thin_id, "ddrescue", "--since=origin")
            target = os.path.join(self.folder, "target")
            shutil.copyfile(pool.origin, target)
            os.truncate(target, pool.thin_size)
            subprocess.run(["ddrescue", "--quiet", "--domain-mapfile", domain, pool.expected(thin_id), target],
                           check=True, stdin=subprocess.DEVNULL)
            self.assert_equal_bytes(target, pool.expected(thin_id))
            listed = subprocess.run(["ddrescuelog", "--block-size=512", "--list-blocks=+", domain],
                                    capture_output=True, text=True, check=True).stdout.split()
            mapped = [block for block in pool.mappings(thin_id) if block < pool.blocks_before(pool.thin_size)]
            self.assertLessEqual(len(listed) * 512 - max(0, pool.thin_size - pool.origin_size), len(mapped) * pool.block_size)

    def test_bmaptool_copies_what_the_origin_lacks(self):
        if not shutil.which("bmaptool"):
            self.skipTest("there is no bmaptool")
        for pool, thin_id in each_thin():
            for more in ((), ("--since=origin",)):
                block_map, _ = self.export(pool, thin_id, "bmap", *more)
                target = os.path.join(self.folder, "target")
                result = subprocess.run(["bmaptool", "--quiet", "copy", "--bmap", block_map, pool.expected(thin_id), target],
                                        check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
                self.assertEqual(result.returncode, 0, result.stderr)
                # bmaptool empties a regular file first. So what it left out is a hole, and the origin belongs there.
                left_out = json.loads(self.export(pool, thin_id, "json", *more, name="json")[1])["ranges"]
                left_out = [one for one in left_out if one["content"] == "same"]
                self.assertEqual(bool(left_out), bool(more))
                with open(target, "r+b") as file:
                    for one in left_out:
                        file.seek(one["offset"])
                        self.assertEqual(file.read(one["length"]).count(0), one["length"])
                        file.seek(one["offset"])
                        file.write(self.read(pool.origin, one["offset"], one["length"]))
                self.assert_equal_bytes(target, pool.expected(thin_id))

    def test_json_tells_where_each_range_comes_from(self):
        for pool, thin_id in each_thin():
            document = json.loads(self.export(pool, thin_id, "json")[1])
            self.assertEqual(document["size_bytes"], pool.thin_size)
            mapped, end = pool.mappings(thin_id), 0
            for one in document["ranges"]:
                self.assertEqual(one["offset"], end)
                end += one["length"]
                true = self.read(pool.expected(thin_id), one["offset"], one["length"])
                if one["content"] == "origin":
                    self.assertLessEqual(end, pool.origin_size)
                    self.assertEqual(true, self.read(pool.origin, one["offset"], one["length"]))
                elif one["content"] == "zero":
                    self.assertEqual(true.count(0), one["length"])
                else:
                    self.assertEqual(one["content"], "data")
                first, last = one["offset"] // pool.block_size, (end - 1) // pool.block_size
                inside = {block in mapped for block in range(first, last + 1)}
                self.assertEqual(inside, {one["content"] == "data"})
            self.assertEqual(end, pool.thin_size)


if __name__ == "__main__":
    assert set(LARGER_THAN_ORIGIN) <= set(NAMES)
    unittest.main()
