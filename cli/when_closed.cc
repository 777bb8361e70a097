// SPDX-License-Identifier: GPL-3.0-or-later
//
// The destination is claimed from the first round to the end, so nobody else writes it. The
// comparison of everything while the volume is in use, and that of the last round, together prove
// all of it.

#include "cli/when_closed.h"

#include <chrono>
#include <cstdio>
#include <optional>
#include <thread>

#include "cli/command_output.h"
#include "io/text.h"

namespace extmerge {

namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLook{100};
constexpr std::chrono::seconds kCheck{1};

class Finish {
 public:
  Finish(const Options& options, Source& source, Progress& progress, Signals& signals)
      : options_(options),
        source_(source),
        progress_(progress),
        signals_(signals),
        in_use_(options) {
    in_use_.finish = in_use_.when_closed = false;
  }

  MergeReport run(const ConfirmPlan& confirmation, std::string& outcome) {
    source_.keep_claim();
    // A first round with nothing to merge does not ask; the comparison does then.
    bool is_asked = false;
    const ConfirmPlan ask_once = [&](const PlanReport& plan, const DeviceNames& names) {
      check_until(plan);
      if (!is_asked) is_asked = confirmation(plan, names);
      return is_asked;
    };
    merge_in_rounds(ask_once);
    compare_everything(ask_once);
    Options last = options_;
    take_what_changed(last);
    if (!last.has("verify")) {
      last.merge.verify = VerifyChoice::kChanged;
      last.given.push_back("verify");
    }
    for (;;) {
      wait_until_closed();
      const auto closed = steady_clock::now();
      if (!source_.close()) continue;
      try {
        const MergeReport report =
            Round(last, source_, progress_, signals_)
                .merge([](const PlanReport&, const DeviceNames&) { return true; });
        refuse_end_after_stop(options_, source_, signals_);
        outcome = source_.finish() + "; it was out of use for " + seconds_since_text(closed);
        return report;
      } catch (const Error& error) {
        const bool is_of_use = error.id() == MessageId::kThinOpen ||
                               error.id() == MessageId::kThinNotStill ||
                               error.id() == MessageId::kStale;
        if (!is_of_use || !source_.is_open()) throw;
        say(error.what());
        // Until the volume closes again, the origin may have been shown.
        last.merge.verify = VerifyChoice::kFull;
      }
    }
  }

 private:
  std::string deed() const { return options_.copies() ? "copy" : "merge"; }

  // The rounds after the first one.
  static void take_what_changed(Options& options) {
    options.merge.round = RoundChoice::kAsKnown;
    options.merge.restart = options.merge.again = false;
    options.since.clear();
  }

  void check_until(const PlanReport& plan) const {
    const uint64_t block = plan.limits.block_size.bytes().value();
    if (options_.until.value() >= block) return;
    throw Error(MessageId::kUsage,
                "--until is smaller than a block of the pool (" + std::to_string(block) + " bytes)",
                "use at least the size of a block");
  }

  // Until a round is small, or no longer smaller than the one before.
  void merge_in_rounds(const ConfirmPlan& ask_once) {
    Bytes before(UINT64_MAX);
    for (unsigned number = 1;; ++number) {
      const MergeReport report = Round(in_use_, source_, progress_, signals_).merge(ask_once);
      const Bytes merged = report.plan.nothing_new ? Bytes(0) : report.plan.summary.copy_bytes;
      say("round " + std::to_string(number) + ": " + format_size(merged, options_.sizes) +
          (report.plan.base ? " changed since the last " + deed() : ""));
      take_what_changed(in_use_);
      if (merged < options_.until || merged >= before) return;
      before = merged;
    }
  }

  void compare_everything(const ConfirmPlan& ask_once) {
    Options compared = in_use_;
    compared.merge.verify = VerifyChoice::kFull;
    compared.merge.last_round = true;  // also if nothing has changed
    Round(compared, source_, progress_, signals_).merge(ask_once);
  }

  // Asks the kernel only: LVM would be busy all the time.
  void wait_until_closed() {
    if (!source_.is_open()) return;
    auto checked = steady_clock::now();
    waits_since_ = waits_since_.value_or(checked);
    source_.set_waiting(true);
    progress_.phase = Phase::kWaiting;
    const std::string done = options_.copies() ? "copied" : "merged";
    say(source_.thin_name() + " may be closed now: everything is " + done +
        " and compared up to here");
    while (source_.is_open()) {
      const auto now = steady_clock::now();
      if (options_.timeout && now - *waits_since_ >= *options_.timeout) {
        throw Error(
            MessageId::kThinOpen, source_.thin_name() + " is still open",
            "close it (findmnt, fuser -v), then run the same command again: everything is " + done +
                " up to here");
      }
      refuse_end_after_stop(options_, source_, signals_);
      if (now - checked >= kCheck) {
        source_.check_claim();
        checked = now;
      }
      std::this_thread::sleep_for(kLook);
    }
    source_.set_waiting(false);
  }

  static std::string seconds_since_text(steady_clock::time_point start) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f seconds", seconds_since(start));
    return text;
  }

  const Options& options_;
  Source& source_;
  Progress& progress_;
  Signals& signals_;
  Options in_use_;
  std::optional<steady_clock::time_point> waits_since_;  // the first wait; --timeout is for all
};

}  // namespace

MergeReport finish_when_closed(const Options& options, Source& source, Progress& progress,
                               Signals& signals, const ConfirmPlan& confirmation,
                               std::string& outcome) {
  return Finish(options, source, progress, signals).run(confirmation, outcome);
}

}  // namespace extmerge
