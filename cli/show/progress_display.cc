// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/show/progress_display.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "cli/show/service_manager.h"
#include "io/threads.h"

namespace extmerge {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr milliseconds kLook{250};
constexpr milliseconds kLinePeriod{30000};
constexpr milliseconds kJsonPeriod{500};
constexpr milliseconds kStatusPeriod{1000};

double share(uint64_t part, uint64_t whole) {
  return whole == 0 ? 1.0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string clock_text(milliseconds time) {
  const auto seconds = static_cast<unsigned long long>(time.count() / 1000);
  std::array<char, 40> text{};
  if (seconds >= 3600)
    std::snprintf(text.data(), text.size(), "%llu:%02llu:%02llu", seconds / 3600, seconds / 60 % 60,
                  seconds % 60);
  else
    std::snprintf(text.data(), text.size(), "%llu:%02llu", seconds / 60, seconds % 60);
  return text.data();
}

bool has_durable(Phase phase) { return phase == Phase::kCopying || phase == Phase::kUndoing; }

const char* phase_text(Phase phase) {
  switch (phase) {
    case Phase::kPlanning:
      return "reading metadata";
    case Phase::kCopyingUp:
      return "copying up";
    case Phase::kCopying:
      return "copying";
    case Phase::kUndoing:
      return "undoing";
    case Phase::kFlushing:
      return "flushing";
    case Phase::kVerifying:
      return "comparing";
    case Phase::kWaiting:
      return "waiting";
    case Phase::kPuttingBack:
      return "putting back";
    case Phase::kFinished:
      break;  // look() keeps the phase before
  }
  return "";
}

// The texts behind the bar, from the longest to the shortest useful one.
std::vector<std::string> tails(const ProgressView& view, const SizeFormat& sizes) {
  if (view.phase == Phase::kPlanning) {
    const std::string mappings = std::to_string(view.mappings_read) + " mappings";
    if (view.thins == 0) return {mappings, ""};
    const std::string thins =
        std::to_string(view.thins_read) + " of " + std::to_string(view.thins) + " other thins";
    return {mappings + ", " + thins, thins, ""};
  }
  const auto left = view.left();
  std::array<char, 16> number{};
  std::snprintf(number.data(), number.size(), "%.1f%%", 100.0 * share(view.done, view.total));
  const std::string percent = number.data();
  const std::string done =
      "  " + format_size(Bytes(view.done), sizes) + " / " + format_size(Bytes(view.total), sizes);
  const std::string rate = "  " + format_size(Bytes(view.bytes_per_second()), sizes) + "/s";
  const std::string eta = "  ETA " + (left ? clock_text(*left) : "unknown");
  const std::string durable =
      has_durable(view.phase) ? "  durable " + format_size(Bytes(view.durable), sizes) : "";
  return {percent + done + rate + eta + durable, percent + done + rate + eta, percent + rate + eta,
          percent + eta, percent};
}

// [####++------]: durable, done, to do.
std::string cells(const ProgressView& view, size_t width) {
  const auto part = [&](uint64_t bytes) {
    const double cut = std::clamp(share(bytes, view.total), 0.0, 1.0);
    return static_cast<size_t>(cut * static_cast<double>(width));
  };
  const size_t done = part(view.done);
  const size_t sure = has_durable(view.phase) ? std::min(part(view.durable), done) : done;
  return "[" + std::string(sure, '#') + std::string(done - sure, '+') +
         std::string(width - done, '-') + "]";
}

}  // namespace

uint64_t ProgressView::bytes_per_second() const {
  if (elapsed.count() <= 0 || done <= start) return 0;
  return static_cast<uint64_t>(static_cast<double>(done - start) * 1000.0 /
                               static_cast<double>(elapsed.count()));
}

std::optional<milliseconds> ProgressView::left() const {
  if (done >= total) return milliseconds(0);
  const uint64_t rate = bytes_per_second();
  if (rate == 0) return {};
  return milliseconds(
      static_cast<int64_t>(static_cast<double>(total - done) * 1000.0 / static_cast<double>(rate)));
}

std::string progress_line(const ProgressView& view, const SizeFormat& sizes) {
  if (counts_nothing(view.phase)) return phase_text(view.phase);
  return std::string(phase_text(view.phase)) + "  " + tails(view, sizes).front();
}

// On a narrow terminal only the bar shows durable bytes; then numbers are left out, then the bar. A
// number is never cut.
std::string progress_bar(const ProgressView& view, const SizeFormat& sizes, unsigned width) {
  constexpr size_t kLeast = 10, kMost = 60;
  const std::string name = phase_text(view.phase);
  if (counts_nothing(view.phase)) return name.size() <= width ? name : "";
  const std::vector<std::string> all = tails(view, sizes);
  for (const std::string& tail : all) {
    const size_t used = name.size() + tail.size() + 4;  // spaces and brackets
    if (view.phase == Phase::kPlanning || used + kLeast > width) continue;
    return name + " " + cells(view, std::min<size_t>(width - used, kMost)) + " " + tail;
  }
  for (const std::string& tail : all) {
    const std::string line = name + "  " + tail;
    if (line.size() <= width) return line;
  }
  return all.back().size() <= width ? all.back() : "";
}

std::string progress_json(const ProgressView& view, const std::string& device) {
  nlohmann::ordered_json object;
  object["device"] = device;
  object["phase"] = phase_text(view.named.value_or(view.phase));
  object["device_bytes"] = std::to_string(view.done);
  object["device_size"] = std::to_string(view.total);
  object["speed"] = std::to_string(view.bytes_per_second());
  object["eta_ms"] = std::to_string(view.left().value_or(milliseconds(0)).count());
  object["time_ms"] = std::to_string(view.elapsed.count());
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

ProgressDisplay::ProgressDisplay(const Progress& progress, LinesAsked lines_asked,
                                 TerminalLine& terminal, Settings settings)
    : progress_(progress),
      lines_asked_(std::move(lines_asked)),
      terminal_(terminal),
      settings_(std::move(settings)),
      phase_started_(steady_clock::now()),
      shown_(phase_started_) {
  if (settings_.kind == ProgressKind::kAuto) {
    // A period in seconds selects lines, as in cryptsetup.
    const bool bar = terminal_.is_terminal() && !settings_.seconds;
    settings_.kind = bar ? ProgressKind::kBar : ProgressKind::kLine;
  }
  period_ = settings_.kind == ProgressKind::kBar    ? kLook
            : settings_.kind == ProgressKind::kJson ? kJsonPeriod
                                                    : kLinePeriod;
  if (settings_.seconds) period_ = std::chrono::seconds(*settings_.seconds);
  thread_ = start_thread<std::thread>([this] { run(); });
}

ProgressDisplay::~ProgressDisplay() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void ProgressDisplay::pause() {
  const std::lock_guard lock(mutex_);
  paused_ = true;
  terminal_.end_bar();
}

void ProgressDisplay::go_on() {
  const std::lock_guard lock(mutex_);
  paused_ = false;
}

void ProgressDisplay::run() {
  unsigned lines_shown = lines_asked_();
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, kLook, [this] { return ending_; })) {
    if (paused_) continue;
    const ProgressView view = look();
    tell_service_manager(view);
    if (const unsigned asked = lines_asked_(); asked != lines_shown) {
      lines_shown = asked;
      terminal_.write_line(progress_line(view, settings_.sizes));
    }
    // Round to the nearest look: half a look early is fine.
    if (steady_clock::now() - shown_ + kLook / 2 < period_) continue;
    show(view);
  }
  const ProgressView last = look();
  tell_service_manager(last);
  show_last(last);
}

// A service is ready once the copy or the undo works on the origin.
void ProgressDisplay::tell_service_manager(const ProgressView& view) {
  const auto now = steady_clock::now();
  const bool is_ready = has_durable(view.phase);
  if (is_ready && !told_ready_) notify_service_manager("READY=1");
  told_ready_ = told_ready_ || is_ready;
  if (now - told_ < kStatusPeriod && !ending_) return;
  told_ = now;
  notify_service_manager("STATUS=" + progress_line(view, settings_.sizes));
}

// The clock of a phase starts when the phase is first seen. Bytes done before then do not count for
// the rate.
ProgressView ProgressDisplay::look() {
  ProgressView view;
  view.phase = progress_.phase;
  view.mappings_read = progress_.mappings_read;
  view.thins = progress_.thins;
  view.thins_read = progress_.thins_read;
  view.total = progress_.total_bytes;
  view.done = progress_.done_bytes;
  view.durable = progress_.durable_bytes;
  const auto now = steady_clock::now();
  const bool puts_back = counts_nothing(view.phase);
  if (puts_back && !ending_ && settings_.kind != ProgressKind::kJson) {
    if (!counted_) counted_ = view_of_phase(view, now);
    return view;
  }
  const bool counts = !puts_back && view.phase != Phase::kFinished;
  if (counts) counted_.reset();
  if (counted_) {
    ProgressView last = *counted_;
    if (puts_back) last.named = progress_.phase;
    return last;
  }
  if (counts && view.phase != phase_) {
    phase_ = view.phase;
    phase_started_ = now;
    done_then_ = view.done;
  }
  const Phase named = view.phase;
  view = view_of_phase(view, now);
  if (!puts_back) return view;
  counted_ = view;
  view.named = named;
  return view;
}

ProgressView ProgressDisplay::view_of_phase(ProgressView view,
                                            std::chrono::steady_clock::time_point now) const {
  view.start = done_then_;
  view.phase = phase_;  // the end of the last phase stays visible
  view.elapsed = std::chrono::duration_cast<milliseconds>(now - phase_started_);
  return view;
}

void ProgressDisplay::show(const ProgressView& view) {
  const bool has_bytes = view.phase != Phase::kPlanning && !counts_nothing(view.phase);
  switch (settings_.kind) {
    case ProgressKind::kBar:
      terminal_.draw(progress_bar(view, settings_.sizes, terminal_.width() - 1));
      break;
    case ProgressKind::kJson:
      if (!has_bytes) return;
      terminal_.write_line(progress_json(view, settings_.device));
      break;
    case ProgressKind::kAuto:
    case ProgressKind::kLine:
      terminal_.write_line(progress_line(view, settings_.sizes));
      break;
    case ProgressKind::kNone:
      return;
  }
  shown_ = steady_clock::now();
  shown_any_ = true;
}

// JSON always ends with the final numbers. A bar or lines end with them only if something was
// shown.
void ProgressDisplay::show_last(const ProgressView& view) {
  if (shown_any_ || settings_.kind == ProgressKind::kJson) show(view);
  terminal_.end_bar();
}

}  // namespace extmerge
