// SPDX-License-Identifier: GPL-3.0-or-later
//
// The stages of copy and comparison, and the pipeline of pieces through them.

#include "merge/copy/pipeline.h"

#include <algorithm>
#include <string>

#include "merge/copy/checkpoint.h"
#include "merge/copy/compare.h"
#include "merge/copy/pieces.h"
#include "merge/copy/stages.h"

namespace extmerge {

namespace {

Error stopped(const std::string& deed, Bytes position, const Progress& progress,
              const std::string& next) {
  return Error(MessageId::kStopped,
               "stopped as requested, " + std::to_string(position.value()) + " of " +
                   std::to_string(progress.total_bytes.load()) + " bytes " + deed,
               next);
}

class Copy {
 public:
  Copy(const CopyJob& job, const PipelineOptions& options, CheckpointSink& sink, Progress& progress,
       const std::stop_token& stop)
      : options_(options),
        progress_(progress),
        undo_log_(job.undo_log),
        pieces_(job, options, undo_log_ || options.compare != CompareMode::kNever, stop),
        checkpoints_(job, options, sink, progress, [this] { pieces_.end(); }),
        governor_(Bytes(progress.total_bytes.load()) - job.start.position,
                  Bytes(pieces_.count() * options.buffer_size.value())),
        reached_(job.start) {}

  JournalProgress run() {
    progress_.done_bytes = progress_.durable_bytes = reached_.position.value();
    run_stages<Piece>(
        pieces_.count(), [this] { return take(); }, [this](Piece& piece) { work(piece); },
        [this](Piece& piece) { commit(piece); });
    checkpoints_.finish(reached_);
    if (failure_) std::rethrow_exception(failure_);
    if (pieces_.failure()) std::rethrow_exception(pieces_.failure());
    if (pieces_.stopped()) {
      throw stopped("copied and recorded", reached_.position, progress_,
                    "run the same command again to continue from there");
    }
    return reached_;
  }

 private:
  Piece* take() {
    Piece* const piece = pieces_.take();
    if (piece) piece->compare = should_compare();
    return piece;
  }

  bool should_compare() {
    if (undo_log_) return true;
    if (options_.compare == CompareMode::kAuto) return governor_.should_compare();
    return options_.compare == CompareMode::kAlways;
  }

  void work(Piece& piece) {
    try {
      piece.read(piece.compare);
      if (undo_log_) {
        piece.save_and_write_differences(*undo_log_);
      } else if (piece.compare) {
        piece.write_differences();
      } else {
        piece.write();
      }
    } catch (...) {
      piece.failure = std::current_exception();
      pieces_.end();
    }
  }

  // A piece behind a failed one may be complete, but this cannot be recorded. The next run copies
  // it again.
  void commit(Piece& piece) {
    if (!failure_) failure_ = piece.failure;
    if (!failure_) {
      reached_.position += piece.planned();
      CopyCounters& counters = reached_.counters;
      counters.bytes_read += piece.planned();
      counters.bytes_written += piece.bytes_written();
      counters.bytes_compared_equal += piece.planned() - piece.bytes_written();
      governor_.committed(
          {piece.compare, piece.planned(), piece.bytes_written(), CompareGovernor::Clock::now()});
      progress_.done_bytes = reached_.position.value();
      checkpoints_.reached(reached_);
    }
    pieces_.give_back(piece);
  }

  const PipelineOptions& options_;
  Progress& progress_;
  UndoLog* const undo_log_;
  Pieces pieces_;
  Checkpoints checkpoints_;
  CompareGovernor governor_;
  JournalProgress reached_;     // complete in plan order; only commit() uses it
  std::exception_ptr failure_;  // of the first failed piece in plan order; only commit() uses it
};

class Comparison {
 public:
  Comparison(const CopyJob& job, const PipelineOptions& options, Progress& progress,
             const std::stop_token& stop)
      : progress_(progress), pieces_(job, options, true, stop), start_(job.start.position) {}

  VerifyResult run() {
    progress_.done_bytes = start_.value();
    run_stages<Piece>(
        pieces_.count(), [this] { return pieces_.take(); }, [this](Piece& piece) { work(piece); },
        [this](Piece& piece) { commit(piece); });
    if (failure_) std::rethrow_exception(failure_);
    if (pieces_.failure()) std::rethrow_exception(pieces_.failure());
    if (pieces_.stopped()) {
      throw stopped("compared", start_ + result_.bytes_compared, progress_,
                    "run the same command again; the comparison restarts from the beginning");
    }
    return result_;
  }

 private:
  void work(Piece& piece) {
    try {
      piece.read(true);
      piece.find_differences();
    } catch (...) {
      piece.failure = std::current_exception();
      pieces_.end();
    }
  }

  void commit(Piece& piece) {
    if (!failure_) failure_ = piece.failure;
    if (!failure_) {
      result_.bytes_compared += piece.planned();
      result_.bytes_different += piece.bytes_different();
      if (!result_.first_difference) result_.first_difference = piece.first_difference();
      progress_.done_bytes = (start_ + result_.bytes_compared).value();
    }
    pieces_.give_back(piece);
  }

  Progress& progress_;
  Pieces pieces_;
  const Bytes start_;
  VerifyResult result_;
  std::exception_ptr failure_;
};

}  // namespace

JournalProgress copy_extents(const CopyJob& job, const PipelineOptions& options,
                             CheckpointSink& checkpoints, Progress& progress,
                             std::stop_token stop) {
  return Copy(job, options, checkpoints, progress, stop).run();
}

VerifyResult compare_extents(const CopyJob& job, const PipelineOptions& options, Progress& progress,
                             std::stop_token stop) {
  return Comparison(job, options, progress, stop).run();
}

}  // namespace extmerge
