// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/command_output.h"

#include <spdlog/spdlog.h>

#include "cli/show/output.h"
#include "cli/source/open_source.h"
#include "io/text.h"

namespace extmerge {

std::unique_ptr<Source> open_held_source(const Options& options) {
  if (!options.source.empty()) ignore_closed_pipes();
  return open_source(options);
}

void release_source(std::unique_ptr<Source>& source) {
  const bool is_named = source->is_named();
  source.reset();
  if (is_named) heed_closed_pipes();
}

DeviceNames names_of(const Source& source, const Job& job) {
  if (job.copy)
    return {job.metadata_path, job.data_path,      job.copy->origin_path,
            job.origin_path,   source.thin_name(), {}};
  return {job.metadata_path,  job.data_path,
          job.origin_path,    {},
          source.thin_name(), source.is_named() ? source.origin_name() : ""};
}

DeviceNames names_before(const Source& source) {
  DeviceNames names{{}, {}, source.origin_name(), {}, source.thin_name(), source.origin_name()};
  if (!names.origin.starts_with('/')) names.origin.insert(0, "/dev/");
  return names;
}

ProgressDisplay show_progress(const Progress& progress, const Options& options,
                              const DeviceNames& names, const Signals& signals,
                              TerminalLine& terminal) {
  const bool quiet = options.verbosity < 0 && options.progress == ProgressKind::kAuto;
  return {progress, [&signals] { return signals.lines_asked(); }, terminal,
          ProgressDisplay::Settings{quiet ? ProgressKind::kNone : options.progress,
                                    options.progress_seconds, options.sizes,
                                    names.target.empty() ? names.origin : names.target}};
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

void say(const std::string& notice) { spdlog::info("{}", printable(notice)); }

}  // namespace extmerge
