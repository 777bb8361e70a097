# SPDX-License-Identifier: GPL-3.0-or-later
"""borg 2 backs snapshots up by maps of extmerge. The extracted bytes must be those that the kernel read from the thin.

The first archive is of the origin, and the next ones are of snapshots: their unmapped ranges, or what was not written since,
come from an earlier archive. borg cannot notice a wrong map. Only Debian unstable has borg 2 (borgbackup2)."""

import os
import shutil
import subprocess
import sys
import unittest

from pools import GoldenTest, Pool

# The default chunker, and one whose chunks are as long as the pool's blocks.
CASES = [("fastcdc,19,23,21,2", name) for name in ("equal-64k", "block-192k", "tail-64k", "thin-larger-64k", "thin-smaller-64k")]
CASES += [("fixed,65536", name) for name in ("equal-64k", "tail-64k")]


class BorgTest(GoldenTest):
    def borg(self, *words, folder=None):
        env = dict(os.environ, BORG_BASE_DIR=self.folder, BORG_PASSPHRASE="x", BORG_USERNAME="root", LC_ALL="C",
                   BORG_REPO=self.place("repository"))
        done = subprocess.run(["borg2", *words], cwd=folder or self.folder, env=env, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, f"borg2 {' '.join(words)}\n{done.stdout}{done.stderr}")
        return done.stdout

    def place(self, name):
        """A path for this pool and chunker."""
        return os.path.join(self.folder, f"{name}-{self.number}")

    def archive(self, name, image, *more):
        """Archives the image under its own name, and compares what borg extracts."""
        read, extracted = self.place("read"), self.place("extracted-" + name)
        os.makedirs(read, exist_ok=True)
        os.makedirs(extracted)
        shutil.copyfile(image, os.path.join(read, name))
        self.borg("create", "--chunker-params", self.chunker, *more, name, name, folder=read)
        self.borg("extract", name, folder=extracted)
        self.assert_equal_bytes(os.path.join(extracted, name), image)

    def map(self, pool, thin_id, origin, *more):
        path = os.path.join(self.folder, f"map{thin_id}")
        self.extmerge("plan", *pool.source(thin_id, origin), "--export", "borg", path, *more)
        return ["--map", path]

    def test_what_is_extracted_is_what_the_kernel_read(self):
        for self.number, (self.chunker, name) in enumerate(CASES):
            with self.subTest(pool=name, chunker=self.chunker):
                pool = Pool(name)
                self.borg("repo-create", "--encryption", "authenticated-sha256")
                self.archive("base", pool.origin)
                since_origin = self.map(pool, 1, pool.origin, "--since", "origin")
                self.archive("beside-the-origin", pool.expected(1), *since_origin, "--reuse-from", "base", "--reuse-path", "base")
                self.archive("alone", pool.expected(1), *self.map(pool, 1, pool.origin))
                if os.path.exists(pool.expected(2)) and pool.thin_size == pool.origin_size:
                    origin = self.copy_of_origin(pool)
                    journal = self.extmerge_json("merge", "--yes", *pool.source(1, origin))["journal"]
                    self.archive("later", pool.expected(2), *self.map(pool, 2, origin, "--since", journal),
                                 "--reuse-from", "alone", "--reuse-path", "alone")
                    os.remove(journal)


if __name__ == "__main__":
    if not shutil.which("borg2"):
        print("skipped: there is no borg2")
        sys.exit(77)
    unittest.main()
