# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/extmerge-1.schema.json, checked by Debian's python3-jsonschema. Every document that the
program prints is valid. A document with a missing member or a member of a wrong kind is not."""

import copy
import json
import os
import subprocess
import unittest

from support import SOURCE, PoolTest, run

PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's packages
VALIDATE = """
import json, sys, jsonschema
schema, cases = json.load(open(sys.argv[1])), json.load(sys.stdin)
jsonschema.Draft202012Validator.check_schema(schema)
whole = jsonschema.Draft202012Validator(schema)
for kind, document in cases:
    one = jsonschema.Draft202012Validator({**schema, "anyOf": [{"$ref": "#/$defs/" + kind}]})
    print(int(one.is_valid(document)), int(whole.is_valid(document)))
"""


def has_validator():
    return subprocess.run([PYTHON, "-c", "import jsonschema"], capture_output=True,
                          check=False).returncode == 0


@unittest.skipUnless(has_validator(), "there is no python3-jsonschema")
class SchemaTest(PoolTest):
    def setUp(self):
        super().setUp()
        with open(os.path.join(SOURCE, "docs/extmerge-1.schema.json"), encoding="utf-8") as file:
            self.schema = json.load(file)

    def validate(self, cases):
        result = subprocess.run([PYTHON, "-c", VALIDATE, os.path.join(SOURCE, "docs/extmerge-1.schema.json")],
                                input=json.dumps(cases), capture_output=True, text=True, check=True)
        return [tuple(map(int, line.split())) for line in result.stdout.split("\n") if line]

    def documents(self):
        """One document of every kind, and more of the kinds with several forms."""
        pool, log = self.pool, self.pool.path("undo")
        got = lambda *words: json.loads(run(*words).stdout)
        yield "failure", got("resume", "--json", "/nonexistent")
        yield "plan", got(*pool.command("plan", "--json"))
        yield "plan", got(*pool.command("plan", "--json", "--thin-size=32M", "--undo-log", log))
        yield "plan", got(*pool.command("plan", "--json", "--map", pool.path("map.svg")))
        yield "map", got(*pool.command("plan", "--json", "--thin-size=32M", "--export=borg", pool.path("borg.map")))
        larger = self.make_pool("thin-larger-64k")
        refused = got(*larger.command("plan", "--json"))
        self.assertTrue(refused["refusals"])
        yield "plan", refused
        yield "verify", got("verify", "--json", *pool.source)
        journal = self.unfinished(None, "--undo-log", log)
        yield "plan", got(*pool.command("plan", "--json"))
        yield "status", got("status", "--json", journal)
        yield "merge", got("resume", "--json", journal)
        yield "status", got("status", "--json", journal)
        yield "verify", got("verify", "--json", *pool.source)
        with open(os.path.join(pool.state, "broken.journal"), "wb") as file:
            file.write(bytes(100))
        os.chmod(file.name, 0o600)
        listed = got("status", "--json", "--state-dir", pool.state)
        self.assertEqual(len(listed["merges"]), 2)
        yield "statuses", listed
        os.remove(file.name)
        yield "undo", got("undo", "--yes", "--json", journal)
        yield "undo", got("undo", "--yes", "--json", journal)
        yield "status", got("status", "--json", journal)
        os.remove(journal)
        os.remove(log)
        yield "abort", got("abort", "--json", self.unfinished())

        yield from self.of_a_volume(got)

    def of_a_volume(self, got):
        """The status of a merge by name, with a record beside the journal: all members on, then all off."""
        pool = self.make_pool()
        journal = self.unfinished(pool)
        for number, on in enumerate((True, False)):
            record = {"schema": "extmerge-changes/1", "vg": "vg", "thin": "snap", "thin_uuid": "a", "origin": "origin",
                      "origin_uuid": "b", "freeze": "extmerge_01234567" if on else "",
                      "freeze_id": 7 if on else None, "merged_id": None, "freeze_transaction": 3,
                      "pool": "vg-pool-tpool", "pool_uuid": "c", "held": "", "boot": ""}
            if on:
                record["given_up"] = [{"name": "mon", "uuid": "d", "was_marked": False, "skipped_activation": True}]
            record.update({name: on for name in (
                "holding", "origin_marked", "origin_was_active", "origin_skipped_activation", "origin_activated",
                "thin_kept_inactive", "thin_was_active", "pool_was_active", "removing", "waiting")})
            with open(journal + ".lvm", "w", encoding="utf-8") as file:
                json.dump(record, file)
            os.chmod(file.name, 0o600)
            for name in (["vg/snap", "--state-dir", pool.state], [journal]):
                document = got("status", "--json", *name)
                self.assertEqual((document["source"], document["removing"], document["waiting"]), ("vg/snap", on, on), document)
                self.assertEqual(document["given_up"], ["vg/mon"] if on else [], document)
                yield "volume_status", document
            # The record exists, but no journal yet.
            alone = pool.path("alone%d" % number)
            os.mkdir(alone, 0o700)
            os.rename(file.name, os.path.join(alone, os.path.basename(file.name)))
            document = got("status", "--json", "vg/snap", "--state-dir", alone)
            self.assertIsNone(document["state"])
            yield "volume_status", document

    def test_every_document_keeps_to_it(self):
        cases = list(self.documents())
        self.assertEqual({kind for kind, _ in cases},
                         {each["$ref"].split("/")[-1] for each in self.schema["anyOf"]})
        for (kind, document), valid in zip(cases, self.validate(cases), strict=True):
            self.assertEqual(valid, (1, 1), (kind, document))

    def test_one_without_a_member_or_with_another_kind_does_not(self):
        cases = []
        for kind, document in self.documents():
            for member in document:
                lacking = copy.deepcopy(document)
                del lacking[member]
                cases.append((kind, lacking))
                other = copy.deepcopy(document)
                other[member] = {"no": "such thing"}
                cases.append((kind, other))
        self.assertGreater(len(cases), 300)
        for (kind, document), (valid, _) in zip(cases, self.validate(cases), strict=True):
            self.assertEqual(valid, 0, (kind, document))


if __name__ == "__main__":
    unittest.main()
