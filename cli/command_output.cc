// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/command_output.h"

#include <spdlog/spdlog.h>

#include "cli/confirm.h"
#include "cli/show/json.h"
#include "cli/show/output.h"
#include "io/text.h"

namespace extmerge {

DeviceNames names_of(const Source& source, const Job& job) {
  return {job.metadata_path, job.data_path, job.origin_path, source.thin_name(),
          source.is_named() ? source.origin_name() : ""};
}

DeviceNames names_before(const Source& source) {
  DeviceNames names{{}, {}, source.origin_name(), source.thin_name(), source.origin_name()};
  if (!names.origin.starts_with('/')) names.origin.insert(0, "/dev/");
  return names;
}

ProgressDisplay show_progress(const Progress& progress, const Options& options,
                              const DeviceNames& names, const Signals& signals,
                              TerminalLine& terminal) {
  const bool quiet = options.verbosity < 0 && options.progress == ProgressKind::kAuto;
  return {progress, [&signals] { return signals.lines_asked(); }, terminal,
          ProgressDisplay::Settings{quiet ? ProgressKind::kNone : options.progress,
                                    options.progress_seconds, options.sizes, names.origin}};
}

std::unique_ptr<OutputFile> map_file(const Options& options) {
  if (!options.map) return nullptr;
  return std::make_unique<OutputFile>("--map", *options.map, kPictureMark);
}

void draw_map(const Options& options, OutputFile& file, const Picture& picture) {
  file.write(options.map == "-" ? draw_for_terminal(picture, ink_of_standard_output())
                                : draw_svg(picture));
  file.publish();
}

void print_report(const Options& options, const std::string& text, const std::string& json) {
  if (options.json)
    print(json);
  else if (options.verbosity > -2)
    print(text);
  flush_output();
}

void print_merge_report(const Options& options, const MergeReport& report,
                        const DeviceNames& names) {
  try {
    print_report(options, merge_text(report, names, options.sizes),
                 options.json ? merge_json(report, names) : "");
  } catch (const Error& error) {
    throw Error(MessageId::kOutputFailed,
                std::string("the merge is complete, only its report is lost: ") + error.what(),
                "extmerge status " + shell_word(report.journal) + " shows the state of the merge");
  }
}

void print_status_report(const Options& options, const MergeStatus& status) {
  print_report(options, status_text(status, options.sizes, {}), status_json(status, {}));
}

void say(const std::string& notice) { spdlog::info("{}", printable(notice)); }

bool confirm(const Options& options, const PlanReport& report, const DeviceNames& names,
             ProgressDisplay& display, Signals& signals, TerminalLine& terminal) {
  if (options.yes) return true;
  display.pause();
  std::string text = plan_text(report, names, options.sizes);
  text.pop_back();
  terminal.write_line(text);
  const bool yes = ask(question(report, names, options.finish), signals.stop_token());
  display.go_on();
  return yes;
}

}  // namespace extmerge
