# SPDX-License-Identifier: GPL-3.0-or-later
"""Do the tests see? Plants one bug at a time and runs the tests of its folder.

    ./run soak [NAME...]

Each bug is one replacement in one source of a copy of the tree. Only the library's own test
programs are built and run, with a sixteenth of the power cuts and faults. A bug is killed if a
test fails. A bug has survived if no test fails, or if the text to replace is missing. The
script ends with 1 if any bug survived.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = {"merge": ["tests/merge/merge_test", "tests/merge/crash_test"],
            "io": ["tests/io/io_test"],
            "persistent-data": ["tests/persistent-data/persistent_data_test"]}
SECONDS = 300  # for a program that a bug makes wait

# name, source, old text, new text
BUGS = [
    ("no flush before progress", "merge/copy/checkpoint.cc",
     "  flush_fully(origin_,", "  static_cast<void>("),
    ("a failed flush is tried again", "merge/copy/checkpoint.cc",
     "  flush_fully(origin_,", "  if (origin_.flush() != 0) flush_fully(origin_,"),
    ("progress before completion", "merge/copy/pipeline.cc",
     "    if (piece) piece->compare = should_compare();",
     "    if (piece) piece->compare = should_compare();\n"
     "    if (piece) checkpoints_.reached({reached_.position + piece->planned(), {}});"),
    ("a failed piece is counted", "merge/copy/pipeline.cc",
     "        if (!failure) commit(piece);", "        commit(piece);"),
    ("DONE before the last checkpoint", "merge/copy/pipeline.cc",
     "    checkpoints_.finish(reached_);\n", ""),
    ("the last block's length is not cut", "merge/copy/piece.cc",
     "on_origin_.push_back({extent->origin_offset, used, length, extent->data_offset >= kZerosAt});",
     "on_origin_.push_back({extent->origin_offset, used, round_up(length, shape_.unit), false});"),
    ("joined without looking at the memory", "merge/copy/piece.cc",
     "    if (next.offset == last.offset + Bytes(last.length) &&\n"
     "        next.memory == last.memory + last.length && next.zeros == last.zeros) {",
     "    if (next.offset == last.offset + Bytes(last.length) && next.zeros == last.zeros) {"),
    ("a difference is searched in the wrong place", "io/compare.cc",
     "if (std::memcmp(a.data() + begin, b.data() + begin, end - begin) == 0) continue;",
     "if (std::memcmp(a.data() + begin, b.data() + begin, (end - begin) / 2) == 0) continue;"),
    ("a short write is taken for a whole one", "io/transfer.cc",
     "    const bool complete = request.result == static_cast<int64_t>(request.memory.size());",
     "    const bool complete = request.result > 0;"),
    ("EINTR is for ever", "io/transfer.cc",
     "return passing && ++unfinished.fruitless < kPatience ? 0 : error_number;",
     "return passing ? 0 : error_number;"),
    ("a write's error is a read's end", "io/transfer.cc",
     "if (transferred == 0) return rest.direction == Direction::kRead ? ENODATA : ENOSPC;",
     "if (transferred == 0) return 0;"),
    ("BLKROGET is ignored", "io/file_device.cc",
     "if (wants_writing(mode) && read_only != 0) {", "if (false && read_only != 0) {"),
    ("no clip at the plan's end", "merge/plan/run.h",
     "std::min(limits.block_size.offset(run.thin + run.blocks), limits.end)",
     "limits.block_size.offset(run.thin + run.blocks)"),
    ("no clip at the thin's end", "merge/planning.cc",
     "*job.thin_size : std::min(end, *job.thin_size);",
     "*job.thin_size : end;"),
    ("runs are joined across a gap of the data", "merge/plan/run.h",
     "next.data != data + blocks ||", ""),
    ("what is not mapped is zeros", "merge/content_device.cc",
     "    if (request.offset < kZerosAt && request.offset - kUnmappedAt < origin_end_) {", "    if (false) {"),
    ("a discarded block stays on the target", "merge/copies.cc",
     "      runs = base->all_runs();\n", ""),
    ("a round does not record what it leaves out", "merge/plan/copy_runs.cc",
     "    piece.content = RunContent::kHeld;\n    return true;", "    continue;"),
    ("a copy that is not done is taken for a state", "merge/copies.cc",
     "is_done ? CopyRuns::Base::kState : CopyRuns::Base::kWritten", "CopyRuns::Base::kState"),
    ("a position on a new export is believed", "io/identity.cc",
     "      identity.starts_with(\"nbd:\")) {", "      false) {"),
    ("a copy of a part mends a target that was written to", "merge/journal/choice.cc",
     "  if (wishes.again && writes_all) return {};", "  if (wishes.again || (wishes.again && writes_all)) return {};"),
    ("a journal of a merge is one of a copy", "merge/journal/choice.cc",
     "  if (record.is_copy() != wanted.is_copy()) {", "  if (false) {"),
    ("the target may be the origin", "merge/target.cc",
     "  if (job.copy->is_below_target || ", "  if (true || "),
    ("a foreign origin's journal is accepted", "merge/journal/choice.cc",
     "if (!is_same_identity(record.origin.identity, wanted.origin.identity)) {", "if (false) {"),
    ("another pool's journal is accepted", "merge/journal/choice.cc",
     "  if (!same_pool(begun, wanted) || begun.thin_id != wanted.thin_id) {",
     "  if (begun.thin_id != wanted.thin_id) {"),
    ("an id used again is the same thin", "merge/journal/choice.cc",
     "  return a.thin_id == b.thin_id && a.creation_time == b.creation_time &&\n"
     "         a.transaction_id == b.transaction_id;",
     "  return a.thin_id == b.thin_id;"),
    ("an old plan is finished unasked", "merge/journal/choice.cc",
     "  if (!may_go_on_with(begun, wanted) && !(wishes.must_resume && wishes.allow_stale)) {",
     "  if (false) {"),
    ("a round's time is off by one", "merge/plan/run.h",
     "    if (time >= since) return true;", "    if (time > since) return true;"),
    ("the last merge's end is ignored", "merge/plan/run.h",
     "    return held_end < end && thin.value() >= held_end.value() / block_size.bytes().value();",
     "    return false;"),
    ("the freeze's id is taken for the thin's", "merge/planning.cc",
     "  return ThinIdentity{thin->id, thin->creation_time, thin->transaction_id};",
     "  const ThinDevice& own = state.device();\n"
     "  return ThinIdentity{own.id, own.creation_time, own.transaction_id};"),
    ("another thin is the same", "merge/journal/base.cc",
     "  if (*merged.frozen_from == thin) return {};", "  if (true) return {};"),
    ("an undone merge is a base", "merge/journal/base.cc",
     "  if (facts.last->state() == JournalState::kDone) return {};\n", "  return {};\n"),
    ("a thin merged without a freeze is a base", "merge/journal/base.cc",
     "      merged.newest_time >= merged.creation_time)", "      false)"),
    ("a restored pool is not noticed", "merge/journal/base.cc",
     "  if (facts.thin->snapshotted_time >= time) return {};", "  if (time >= 0) return {};"),
    ("old mappings are not compared with the last plan", "merge/journal/base.cc",
     "  if (is_held) return;", "  if (true) return;"),
    ("a round counts as compared in full", "merge/verify.cc",
     "    return std::min({own, base->verified, goes_on ? Verified::kSample : Verified::kEverything});",
     "    return own;"),
    ("places of earlier rounds are forgotten", "merge/begin.cc",
     "    if (last) wanted.old_places = places_to_keep(*last, origin);\n", ""),
    ("the sibling rule is inverted", "merge/plan/siblings.cc",
     "if (!theirs.find(ours.key())) ++harmed;", "if (theirs.find(ours.key())) ++harmed;"),
    ("siblings are not counted again", "merge/verify.cc",
     "  for (const Sibling& sibling : siblings) refuse_newly_harmed(sibling, *now, journal);\n", ""),
    ("the source is not looked at again", "merge/merge.cc",
     "    refuse_changes_meanwhile(state, *journal, wanted, report.plan);\n", ""),
    ("a difference is not taken back", "merge/verify.cc",
     "  journal.record_progress(nothing);\n", ""),
    ("nothing is verified", "merge/merge.cc",
     "    const Verified verified = verify_merged(*journal, state, *origin, everything.get(),\n"
     "                                            report.plan.resumable_from.has_value());\n",
     "    const Verified verified = Verified::kEverything;\n"),
    ("progress is not synced", "merge/journal/journal.cc",
     "  write_slot(next);\n  file_->sync();\n  if (highest", "  write_slot(next);\n  if (highest"),
    ("higher claims are left in the slots", "merge/journal/journal.cc",
     "  if (highest_claim_ > progress.position) {", "  if (false) {"),
    ("the newer header is overwritten", "merge/journal/journal.cc",
     "const size_t copy = 1 - newest_copy_;", "const size_t copy = newest_copy_;"),
    ("a journal's end is not synced", "merge/journal/journal.cc",
     "encode_header(next));\n  file_->sync();\n  newest", "encode_header(next));\n  newest"),
    ("the plan is not checked when opened", "merge/journal/journal.cc",
     "  journal->pages().check_all(header.record.runs, header.record.digest, stop);\n", ""),
    ("a node's checksum is not looked at", "persistent-data/node.cc",
     "  if (header.csum.get() != checksum)\n", "  if (false)\n"),
    ("a node's own number is not looked at", "persistent-data/node.cc",
     "  if (header.blocknr.get() != expected.location.value())\n", "  if (false)\n"),
    ("values are behind the keys in use", "persistent-data/node.cc",
     "sizeof(le64) * header.max_entries.get();", "sizeof(le64) * header.nr_entries.get();"),
    ("keys out of order", "persistent-data/node.cc",
     "    if (node.key(i) <= node.key(i - 1))\n", "    if (false)\n"),
    ("a cycle is walked", "persistent-data/btree.cc",
     "    if (!visited_.insert(place->location))\n",
     "    visited_.insert(place->location);\n    if (false)\n"),
    ("an undo record after the write", "merge/copy/piece.cc",
     "  log.save(end, overwrites_);\n  write_places(dirty_);",
     "  write_places(dirty_);\n  log.save(end, overwrites_);"),
    ("an undo record is not synced", "merge/undo/log.cc",
     "  if (!parts.empty()) wait_until_durable();\n", ""),
    ("what was saved is saved again", "merge/undo/log.cc",
     "    if (record.position > position) log->remember(record);\n", ""),
    ("the log's unsynced end is believed", "merge/undo/log.cc",
     "  log->file_->drop_cache();\n", ""),
    ("another run's page cache is believed", "merge/journal/journal.cc",
     "    file->sync();\n    file->drop_cache();\n    directory.sync();\n", ""),
    ("appending tears what was synced", "merge/undo/log_format.h",
     "kUndoRecordAlignment = 4096;", "kUndoRecordAlignment = 1;"),
    ("damage of the log is its end", "merge/undo/log.cc",
     "  if (at_ < durable_)\n", "  if (false)\n"),
    ("progress says nothing of the log", "merge/merge.cc",
     "    if (undo_log_) recorded.undo_log_bytes = undo_log_->durable_bytes();\n", ""),
    ("newer bytes are undone", "merge/undo/work.cc",
     "    if (is_as_left) continue;\n", "    continue;\n"),
    ("undone before it is flushed", "merge/undo/work.cc",
     "  flush_fully(origin_,", "  static_cast<void>("),
    ("what was added stays", "merge/undo/work.cc",
     "  if (origin_.size() > end) origin_.resize(end);\n", ""),
    ("the way back is lost by --restart", "merge/journal/choice.cc",
     "if (begun.undo_log.empty() || !wishes.undo_log_exists) return {};", "return {};"),
    ("the only copy is destroyed", "merge/undo.cc",
     "  if (gone && !overrides.allow_removed_snapshot) {", "  if (false) {"),
    ("a sibling's own block is copied over", "merge/copy/copy_up.cc",
     "      if (!receiver.mapped.find(block)) needed_by_.push_back(&receiver);",
     "      needed_by_.push_back(&receiver);"),
    ("the last copies are left out", "merge/copy/copy_up.cc",
     "  void finish() {\n    end_batch();\n", "  void finish() {\n"),
    ("the copies are not flushed", "merge/copy/copy_up.cc",
     "      flush_fully(receiver.device,", "      static_cast<void>(receiver), static_cast<void>("),
    ("a failed copy is no failure", "merge/copy/copy_up.cc",
     "    if (failure) throw *failure;\n", ""),
    ("the origin changes during the copies unseen", "merge/copy/copy_up.cc",
     "    if (job_.watch) job_.watch();\n", ""),
    ("siblings are read before they are claimed", "merge/keep_siblings.cc",
     "open_siblings(\"\", own);\n  job_.custody->release_mappings();\n"
     "  job_.custody->reserve_mappings();\n",
     "open_siblings(\"\", own);\n"),
    ("the siblings stay claimed", "merge/keep_siblings.cc",
     "  job_.custody->close_siblings();\n", ""),
    ("the copy of a range is not compared", "merge/copy/range.cc",
     "if (std::ranges::equal(source.read(at, size), target.read(at, size))) return true;",
     "return true;"),
    ("a range is not flushed", "merge/copy/range.cc",
     "  flush_fully(to.device,", "  static_cast<void>("),
    ("zeros of a range are never written", "merge/copy/range.cc",
     "if (!all_zero(bytes) || !all_zero(target.read(at, size)))", "if (!all_zero(bytes))"),
    ("a map takes what is not mapped for zeros", "merge/plan/contents.cc",
     "    add(std::min(end, limits_.origin_end), Content::kOrigin);\n", ""),
    ("a map knows no end of the origin", "merge/plan/contents.cc",
     "    add(std::min(end, limits_.origin_end), Content::kOrigin);",
     "    add(end, Content::kOrigin);"),
    ("a map's base reaches past its end", "merge/plan/contents.cc",
     "    add(std::min({end, limits_.origin_end, limits_.unmapped_held_end}), Content::kSame);",
     "    if (limits_.unmapped_held_end > Bytes(0)) add(end, Content::kSame);"),
    ("a map does not look whether the origin was written to", "merge/list_contents.cc",
     "  } else if (!is_as_merged(journal, *origin)) {", "  } else if (false) {"),
    ("a map's base may be unfinished", "merge/list_contents.cc",
     "  if (journal.state() == JournalState::kCopying) {", "  if (false) {"),
    ("a map's base may be of another thin", "merge/list_contents.cc",
     "    const auto left_out = held && first ? [&](const Mapping& mapping) { held->check(mapping); }",
     "    const auto left_out = held && false ? [&](const Mapping& mapping) { held->check(mapping); }"),
    ("blocks of another pool's size are not cut at the plan's end", "merge/plan/runs.cc",
     "    const Extent extent = to_extent(planned, limits_);\n    const uint64_t end = size_.blocks_holding(extent.origin_offset + extent.length);",
     "    const Extent extent = to_extent(planned, limits_);\n"
     "    const uint64_t end = size_.blocks_holding(limits_.block_size.offset(planned.thin + planned.blocks));"),
    ("every thin of another pool is known", "merge/preflight.cc",
     "  return user != users.end() && std::ranges::any_of(facts.siblings,",
     "  return user == users.end() || std::ranges::any_of(facts.siblings,"),
    ("requests of a short queue are lost", "io/thread_queue.cc",
     "  work();\n  threads_.clear();", "  threads_.clear();"),
]


def build(folder, program):
    return subprocess.run(["cmake", "--build", folder, "--target", pathlib.Path(program).name],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def passes(folder, program):
    """Runs all tests of the program, even those that need a loop device or wait for seconds."""
    command = ["timeout", str(SECONDS), folder / program, "--gtest_brief=1", "--gtest_fail_fast"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)


def first_failed(ran):
    for line in ran.stdout.splitlines():
        if line.startswith("[  FAILED  ]"):
            return line.split("]", 1)[1].split(" (")[0].split(", where")[0].strip()
    return "%s: it %s" % (pathlib.Path(ran.args[2]).name,
                          "did not end" if ran.returncode == 124 else "crashed")


def try_out(folder, programs):
    """The outcome of the planted bug."""
    for program in programs:
        built = build(folder, program)
        if built.returncode != 0:
            return "SURVIVED: it does not compile\n" + built.stdout
        ran = passes(folder, program)
        if ran.returncode != 0:
            return "killed by " + first_failed(ran)
    return "SURVIVED"


def main():
    bugs = [bug for bug in BUGS if not sys.argv[1:] or bug[0] in sys.argv[1:]]
    with tempfile.TemporaryDirectory(prefix="extmerge-mutants.") as scratch:
        tree, folder = pathlib.Path(scratch) / "tree", pathlib.Path(scratch) / "build"
        shutil.copytree(TREE, tree, ignore=shutil.ignore_patterns("build*", ".git"))
        subprocess.run(["cmake", "-S", tree, "-B", folder, "-G", "Ninja",
                        "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DEXTMERGE_FEWER_CUTS=ON"],
                       check=True,
                       stdout=subprocess.DEVNULL)
        programs = sorted({p for bug in bugs for p in PROGRAMS[bug[1].split("/")[0]]})
        for program in programs:
            built = build(folder, program)
            if built.returncode != 0:
                sys.exit(built.stdout)
            whole = passes(folder, program)
            if whole.returncode != 0:
                sys.exit("without any bug %s fails:\n%s" % (program, whole.stdout))
        survived = 0
        for name, source, old, new in bugs:
            began = time.monotonic()
            path = tree / source
            text = path.read_text()
            if text.count(old) != 1:
                outcome = "SURVIVED: its place is there %d times" % text.count(old)
            else:
                path.write_text(text.replace(old, new))
                outcome = try_out(folder, PROGRAMS[source.split("/")[0]])
                path.write_text(text)
            survived += outcome.startswith("SURVIVED")
            print("%-48s %-32s %4.0f s  %s" % (name, source, time.monotonic() - began, outcome),
                  flush=True)
        print("%d bugs planted, %d killed, %d survived" % (len(bugs), len(bugs) - survived,
                                                           survived))
        return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
