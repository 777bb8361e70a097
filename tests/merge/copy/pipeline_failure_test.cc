// SPDX-License-Identifier: GPL-3.0-or-later
//
// The copy with faults: each operation in turn fails, is cut short or loses power. The error must
// be right. The recorded position must be true, even if all unflushed writes are lost. A copy that
// resumes there must end with the right origin.

#include <gtest/gtest.h>

#include <cerrno>

#include "tests/merge/copy/pipeline_fixture.h"
#include "tests/support/merge_scene.h"
#include "tests/support/stride.h"

namespace extmerge {
namespace {

using Kind = OperationKind;

constexpr Survivors kAllSurvivors[] = {Survivors::kNone, Survivors::kAll, Survivors::kPrefix,
                                       Survivors::kRandom};

CopyShape small_shape() {
  CopyShape shape = scattered_shape(9, 8);
  shape.percent_equal = 30;
  return shape;
}

PipelineOptions options_for(CompareMode mode) {
  PipelineOptions options = small_pieces(mode, 3);
  options.checkpoint_bytes = Bytes(96 << 10);
  return options;
}

// After a power cut, checks that the recorded position is true and that a copy from there ends with
// the right origin.
void expect_truth_and_a_good_end(CopyScene& scene, Survivors survivors, uint64_t seed,
                                 const PipelineOptions& options) {
  scene.world().restart(survivors, seed);
  const uint64_t position = scene.recorded().value_or(0);
  EXPECT_EQ(scene.untruth(scene.origin().contents(), position), "");
  EXPECT_EQ(scene.complaints(), "");
  scene.copy(options, {Bytes(position), {}});
  EXPECT_EQ(first_difference(scene.origin().durable_contents(), scene.expected()), "");
  EXPECT_EQ(scene.recorded(), scene.planned());
}

uint64_t operations_of_one_copy(CompareMode mode) {
  CopyScene scene(small_shape());
  scene.copy(options_for(mode));
  return scene.world().operations();
}

// The error of an operation that fails permanently.
MessageId id_for(const Operation& operation) {
  switch (operation.kind) {
    case Kind::kRead:
      return MessageId::kReadFailed;
    case Kind::kWrite:
      return MessageId::kWriteFailed;
    case Kind::kFlush:
      return MessageId::kFlushFailed;
    default:
      return MessageId::kJournalIo;
  }
}

// After a failed flush there must be no other flush and no record.
void expect_silence_after_a_failed_flush(CopyScene& scene, uint64_t index) {
  const std::vector<Operation> history = scene.world().history();
  if (index >= history.size() || history[index].kind != Kind::kFlush) return;
  for (uint64_t i = index + 1; i < history.size(); ++i) {
    EXPECT_TRUE(history[i].kind == Kind::kRead || history[i].kind == Kind::kWrite)
        << "operation " << i << " on " << history[i].object;
  }
}

void fail_each_operation(CompareMode mode, const Fault& fault) {
  const PipelineOptions options = options_for(mode);
  const uint64_t operations = operations_of_one_copy(mode);
  ASSERT_GT(operations, 20u);
  for (uint64_t i = 0; i < operations; i += kShortStride) {
    SCOPED_TRACE("operation " + std::to_string(i));
    CopyScene scene(small_shape());
    scene.watch_records();
    scene.world().fail_at(i, fault);
    const std::optional<MessageId> id = scene.try_copy(options);
    const std::vector<Operation> history = scene.world().history();
    // The number of flushes and records depends on the threads' timing.
    if (i < history.size()) {
      EXPECT_EQ(id, id_for(history[i]));
    } else {
      EXPECT_EQ(id, std::nullopt);
    }
    expect_silence_after_a_failed_flush(scene, i);
    expect_truth_and_a_good_end(scene, Survivors::kNone, i, options);
  }
}

TEST(PipelineFailure, EveryOperationCanFailWithEio) {
  fail_each_operation(CompareMode::kNever, {Fault::Kind::kError, EIO, false});
  fail_each_operation(CompareMode::kAlways, {Fault::Kind::kError, EIO, false});
}

TEST(PipelineFailure, EveryOperationCanFailForEver) {
  fail_each_operation(CompareMode::kAuto, {Fault::Kind::kError, EIO, true});
}

TEST(PipelineFailure, AWriteCanFindNoSpaceOrAReadOnlyTable) {
  const PipelineOptions options = options_for(CompareMode::kNever);
  for (const int error_number : {ENOSPC, EPERM}) {
    unsigned failed = 0;
    for (std::optional<MessageId> id = MessageId::kWriteFailed; id; ++failed) {
      CopyScene scene(small_shape());
      unsigned writes = 0;
      scene.world().on_operation([&](const Operation& o) {
        if (o.kind == Kind::kWrite && writes++ == failed)
          scene.world().fail_at(scene.world().operations(),
                                {Fault::Kind::kError, error_number, true});
      });
      id = scene.try_copy(options);
      EXPECT_EQ(id, writes > failed ? std::optional(MessageId::kWriteFailed) : std::nullopt);
      scene.world().on_operation({});
      expect_truth_and_a_good_end(scene, Survivors::kNone, failed, options);
    }
    EXPECT_GT(failed, 5u);
  }
}

TEST(PipelineFailure, AShortTransferIsFinishedUnlessItStaysShort) {
  for (const bool for_ever : {false, true}) {
    const uint64_t operations = operations_of_one_copy(CompareMode::kAlways);
    for (uint64_t i = 0; i < operations; i += kShortStride) {
      SCOPED_TRACE("operation " + std::to_string(i));
      CopyScene scene(small_shape());
      scene.watch_records();
      scene.world().fail_at(i, {Fault::Kind::kShort, ENOSPC, for_ever});
      const auto id = scene.try_copy(options_for(CompareMode::kAlways));
      const std::vector<Operation> history = scene.world().history();
      if (i >= history.size()) continue;
      const bool transfer = history[i].kind == Kind::kRead || history[i].kind == Kind::kWrite;
      if (transfer && !for_ever) {
        EXPECT_EQ(id, std::nullopt);
        EXPECT_EQ(first_difference(scene.origin().durable_contents(), scene.expected()), "");
      } else if (transfer) {
        EXPECT_EQ(id, id_for(history[i]));
      }
      expect_truth_and_a_good_end(scene, Survivors::kNone, i, options_for(CompareMode::kAlways));
    }
  }
}

TEST(PipelineFailure, ThePowerCanGoAtEveryOperation) {
  for (const CompareMode mode : {CompareMode::kNever, CompareMode::kAlways}) {
    const uint64_t operations = operations_of_one_copy(mode);
    for (uint64_t i = 0; i < operations; i += kShortStride) {
      SCOPED_TRACE("operation " + std::to_string(i));
      CopyScene scene(small_shape());
      scene.watch_records();
      scene.world().cut_power_at(i);
      const auto id = scene.try_copy(options_for(mode));
      EXPECT_EQ(id.has_value(), scene.world().power_is_cut());
      expect_truth_and_a_good_end(scene, kAllSurvivors[i / kShortStride % 4], i, options_for(mode));
    }
  }
}

TEST(PipelineFailure, PiecesBeforeTheFailedOneAreRecordedAndThoseBehindItAreNot) {
  // One block a piece; piece 5 fails, whatever the threads do.
  CopyShape shape;
  shape.runs = {make_run(0, 0, 12)};
  shape.origin_size = 12 * 65536;
  for (const unsigned threads : {1u, 4u}) {
    for (const Kind kind : {Kind::kRead, Kind::kWrite}) {
      CopyScene scene(shape);
      scene.world().on_operation([&](const Operation& o) {
        if (o.kind == kind && o.offset == Bytes(5 * 65536))
          scene.world().fail_at(scene.world().operations(), {});
      });
      PipelineOptions options = small_pieces(CompareMode::kNever, threads);
      options.buffer_size = Bytes(65536);
      options.checkpoint_bytes = Bytes(1 << 30);
      EXPECT_EQ(scene.try_copy(options),
                kind == Kind::kRead ? MessageId::kReadFailed : MessageId::kWriteFailed);
      EXPECT_EQ(scene.recorded(), 5u * 65536);
      EXPECT_EQ(scene.progress().done_bytes, 5u * 65536);
      EXPECT_EQ(scene.progress().durable_bytes, 5u * 65536);
      // The failure ends taking: only the pieces in flight follow.
      for (const Operation& o : scene.world().history()) {
        if (o.object == "data") {
          EXPECT_LE(o.offset.value(), (5 + threads) * 65536);
        }
      }
    }
  }
}

TEST(PipelineFailure, AnErrorNamesTheDeviceAndThePlace) {
  CopyShape shape;
  shape.runs = {make_run(0, 3, 1)};
  shape.origin_size = 65536;
  CopyScene scene(shape);
  scene.world().fail_at(0, {});
  try {
    scene.copy(small_pieces());
    FAIL();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("data at byte 196608"), std::string::npos) << text;
  }
}

TEST(PipelineFailure, AFailedFlushIsFinalAlsoIfSomethingElseFailsToo) {
  CopyShape shape;
  shape.runs = {make_run(0, 0, 12)};
  shape.origin_size = 12 * 65536;
  CopyScene scene(shape);
  scene.world().on_operation([&](const Operation& o) {
    const bool bad_read = o.kind == Kind::kRead && o.offset == Bytes(5 * 65536);
    if (bad_read || o.kind == Kind::kFlush) scene.world().fail_at(scene.world().operations(), {});
  });
  PipelineOptions options = small_pieces();
  options.checkpoint_bytes = Bytes(1 << 30);
  EXPECT_EQ(scene.try_copy(options), MessageId::kFlushFailed);
  EXPECT_EQ(scene.recorded(), std::nullopt);
}

TEST(PipelineFailure, WhatTheSinkThrowsArrivesAndNothingIsRecordedAfterIt) {
  CopyScene scene(small_shape());
  scene.on_record([](const JournalProgress& progress) {
    if (progress.position > Bytes(500000)) throw Error(MessageId::kNoSpace, "full", "make room");
  });
  EXPECT_EQ(scene.try_copy(options_for(CompareMode::kNever)), MessageId::kNoSpace);
  EXPECT_LE(scene.recorded(), 500000u);
  const size_t tried = scene.records().size();
  EXPECT_GT(scene.records().back().position, Bytes(500000));
  EXPECT_GE(tried, 2u);
  for (size_t i = 0; i + 1 < tried; ++i) {
    EXPECT_LE(scene.records()[i].position, Bytes(500000));
  }
}

class BrokenRuns : public RunSource {
 public:
  bool next(Run& run) override {
    if (at_ == 5) throw Error(MessageId::kDamagedJournal, "a page is damaged", "merge again");
    run = make_run(at_, at_, 1);
    ++at_;
    return true;
  }

 private:
  uint64_t at_ = 0;
};

TEST(PipelineFailure, APlanThatBreaksOffIsRecordedAsFarAsItWasCopied) {
  CopyShape shape;
  shape.origin_size = 20 * 65536;
  CopyScene scene(shape);
  BrokenRuns runs;
  ExtentSource extents(runs, {DataBlockSize(Bytes(65536)), Bytes(shape.origin_size), {}});
  LastRecord sink;
  Progress progress;
  PipelineOptions options = small_pieces();
  options.buffer_size = Bytes(65536);
  EXPECT_EQ(
      refusal([&] {
        copy_extents({scene.data(), scene.origin(), extents, {}}, options, sink, progress, {});
      }),
      MessageId::kDamagedJournal);
  EXPECT_EQ(sink.position, Bytes(5 * 65536));
}

}  // namespace
}  // namespace extmerge
