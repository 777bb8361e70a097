// SPDX-License-Identifier: GPL-3.0-or-later
//
// plan --export: a map of the thin's contents for programs that copy or back it up themselves.

#include <spdlog/spdlog.h>

#include "cli/command_output.h"
#include "cli/commands.h"
#include "cli/show/content_map.h"
#include "cli/show/json.h"
#include "cli/source/places.h"
#include "io/text.h"

namespace extmerge {

namespace {

std::string base_name(const Options& options, const Journal* journal) {
  if (!journal) return options.since.empty() ? "" : "the origin";
  return "the " + journal->record().deed() + " in " + printable(journal->path());
}

}  // namespace

std::vector<Error> export_map(const Options& options, Signals& signals, TerminalLine& terminal) {
  const MapFormat format = *options.exported;
  OutputFile file("--export", options.export_path, mark_of(format));
  std::unique_ptr<Source> source = open_held_source(options);
  source->check_still();
  Job job = source->verify_job();
  const DeviceNames names = names_of(*source, job);
  Progress progress;
  ContentsReport report;
  {
    const ProgressDisplay display = show_progress(progress, options, names, signals, terminal);
    const bool has_journal = !options.since.empty() && options.since != "origin";
    const auto journal =
        has_journal ? existing_journal(options.since, signals.stop_token()) : nullptr;
    const ContentsBase base{options.since == "origin", journal.get()};
    Merger merger(std::move(job), options.merge, progress, signals.stop_token());
    report = merger.list_contents(base, [&](const ContentsReport& found) {
      return begin_content_map(format, found, base_name(options, journal.get()), file);
    });
    end_content_map(format, file);
  }
  source->check_still();
  release_source(source);
  file.publish();
  for (const std::string& note : report.notes) spdlog::warn("{}", printable(note));
  // A map on standard output replaces the report.
  if (options.export_path != "-")
    print_report(options, contents_text(report, names, options.export_path, options.sizes),
                 contents_json(report, names, options.export_path));
  return {};
}

}  // namespace extmerge
