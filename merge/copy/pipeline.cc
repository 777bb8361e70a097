// SPDX-License-Identifier: GPL-3.0-or-later
//
// The stages of copy and comparison, and the pipeline of pieces through them.

#include "merge/copy/pipeline.h"

#include <string>

#include "merge/copy/checkpoint.h"
#include "merge/copy/compare.h"
#include "merge/copy/pieces.h"
#include "merge/copy/stages.h"

namespace extmerge {

namespace {

// Up to this length, more pieces with one transfer each replace a few pieces with many. So no
// kernel AIO context is made: a program that has used one takes 30 to 40 ms longer to end. This
// copy takes about as long.
constexpr Bytes kShort{64 << 20};
constexpr unsigned kPiecesOfShort = 8;
constexpr Bytes kPieceOfShort{128 << 10};

// Options that the user has set are kept, and those for fewer threads where the system has no more.
PipelineOptions fit_for(PipelineOptions options, Bytes length) {
  const PipelineOptions usual;
  const bool is_usual = options.threads == usual.threads && options.io_depth == usual.io_depth &&
                        options.buffer_size == usual.buffer_size;
  if (length > kShort || !is_usual) return options;
  try {
    check_threads(kPiecesOfShort);
  } catch (const Error&) {
    return options;  // these need fewer
  }
  options.io_depth = 1;
  options.threads = kPiecesOfShort;
  options.buffer_size = kPieceOfShort;
  return options;
}

Error stopped(const std::string& deed, Bytes position, const Progress& progress,
              const std::string& next) {
  return Error(MessageId::kStopped,
               "stopped as requested, " + std::to_string(position.value()) + " of " +
                   std::to_string(progress.total_bytes.load()) + " bytes " + deed,
               next);
}

// Brings every piece through `work` and then, in plan order, through `commit`. Returns the first
// failure in plan order. A piece behind a failed one may be complete, but this cannot be recorded:
// the next run copies it again.
template <typename Take, typename Work, typename Commit>
std::exception_ptr run_pieces(Pieces& pieces, const Take& take, const Work& work,
                              const Commit& commit) {
  std::exception_ptr failure;  // only the last stage uses it
  run_stages<Piece>(
      pieces.count(), take,
      [&](Piece& piece) {
        try {
          work(piece);
        } catch (...) {
          piece.failure = std::current_exception();
          pieces.end();
        }
      },
      [&](Piece& piece) {
        if (!failure) failure = piece.failure;
        if (!failure) commit(piece);
        pieces.give_back(piece);
      });
  return failure ? failure : pieces.failure();
}

class Copy {
 public:
  Copy(const CopyJob& job, const PipelineOptions& options, CheckpointSink& sink, Progress& progress,
       const std::stop_token& stop)
      : options_(fit_for(options, Bytes(progress.total_bytes.load()) - job.start.position)),
        progress_(progress),
        undo_log_(job.undo_log),
        pieces_(job, options_, undo_log_ || options.compare != CompareMode::kNever, stop),
        checkpoints_(job, options, sink, progress, [this] { pieces_.end(); }),
        governor_(Bytes(progress.total_bytes.load()) - job.start.position,
                  Bytes(pieces_.count() * options_.buffer_size.value())),
        reached_(job.start) {}

  JournalProgress run() {
    progress_.done_bytes = progress_.durable_bytes = reached_.position.value();
    const std::exception_ptr failure = run_pieces(
        pieces_, [this] { return take(); }, [this](Piece& piece) { work(piece); },
        [this](const Piece& piece) { commit(piece); });
    progress_.phase = Phase::kFlushing;
    checkpoints_.finish(reached_);
    if (failure) std::rethrow_exception(failure);
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
    piece.read(piece.compare);
    if (undo_log_) {
      piece.save_and_write_differences(*undo_log_);
    } else if (piece.compare) {
      piece.write_differences();
    } else {
      piece.write();
    }
  }

  void commit(const Piece& piece) {
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

  const PipelineOptions options_;
  Progress& progress_;
  UndoLog* const undo_log_;
  Pieces pieces_;
  Checkpoints checkpoints_;
  CompareGovernor governor_;
  JournalProgress reached_;  // complete in plan order; only commit() uses it
};

}  // namespace

JournalProgress copy_extents(const CopyJob& job, const PipelineOptions& options,
                             CheckpointSink& checkpoints, Progress& progress,
                             std::stop_token stop) {
  return Copy(job, options, checkpoints, progress, stop).run();
}

VerifyResult compare_extents(const CopyJob& job, const PipelineOptions& options, Progress& progress,
                             std::stop_token stop) {
  Pieces pieces(job, options, true, stop);
  const Bytes start = job.start.position;
  progress.done_bytes = start.value();
  VerifyResult result;
  const std::exception_ptr failure = run_pieces(
      pieces, [&] { return pieces.take(); },
      [](Piece& piece) {
        piece.read(true);
        piece.find_differences();
      },
      [&](const Piece& piece) {
        result.bytes_compared += piece.planned();
        result.bytes_different += piece.bytes_different();
        if (!result.first_difference) result.first_difference = piece.first_difference();
        progress.done_bytes = (start + result.bytes_compared).value();
      });
  if (failure) std::rethrow_exception(failure);
  if (pieces.stopped()) {
    throw stopped("compared", start + result.bytes_compared, progress,
                  "run the same command again; the comparison restarts from the beginning");
  }
  return result;
}

}  // namespace extmerge
