// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/command_output.h"
#include "cli/commands.h"
#include "cli/show/ddrescue_map.h"
#include "cli/show/json.h"
#include "cli/show/picture.h"
#include "cli/source/merge_status.h"
#include "cli/source/places.h"
#include "cli/source/recorded.h"
#include "io/posix_directory.h"
#include "io/text.h"

namespace extmerge {

namespace {

std::vector<MergeStatus> all_statuses(const Options& options) {
  try {
    return read_all(*open_directory(state_directory(options), false));
  } catch (const Error& error) {
    // The state directory may be missing before the first merge, but not if the user named it.
    if (error.id() != MessageId::kNotFound || options.has("state-dir")) throw;
    return {};
  }
}

std::optional<SystemChanges> changes_beside(const std::string& journal) {
  const JournalPath path = open_journal_path(journal);
  if (!path.directory) return {};
  return read_changes(*path.directory, path.name);
}

void print_status(const Options& options, const std::string& path,
                  const std::optional<SystemChanges>& changes) {
  const std::unique_ptr<OutputFile> map = map_file(options);
  std::unique_ptr<OutputFile> exported;
  if (options.exported)
    exported = std::make_unique<OutputFile>("--export", options.export_path, kMapfileMark);
  const WholeJournal whole = read_whole(path, map || exported);
  const auto draw = [&] { draw_map(options, *map, picture_of(*whole.journal, options.sizes)); };
  // Write files first: if one fails, no report stands before the JSON of the error.
  if (map && options.map != "-") draw();
  if (exported) {
    write_mapfile(*whole.journal, *exported);
    exported->publish();
  }
  // A mapfile on standard output replaces the report.
  if (!exported || options.export_path != "-")
    print_report(
        options,
        status_text(whole.status, options.sizes, changes) + (changes ? changes_text(*changes) : ""),
        status_json(whole.status, changes));
  if (options.map == "-") draw();
}

std::vector<Error> status_of_volume(const Options& options) {
  const auto found = find_recorded(options, options.source);
  if (!found)
    throw Error(MessageId::kNoJournal, "no merge of " + options.source + " is known",
                "extmerge status lists the known merges");
  const auto journal = read_journal(found->place);
  if (!journal && (options.map || options.exported))
    throw Error(
        MessageId::kNoJournal, "no merge of " + options.source + " has begun",
        "draw what a merge would copy: extmerge plan --map FILE " + shell_word(options.source));
  if (!journal) {
    print_report(
        options,
        "No merge of " + printable(options.source) + " has begun\n" + changes_text(found->changes),
        changes_json(found->changes));
    return {};
  }
  print_status(options, found->place.path, found->changes);
  return {};
}

}  // namespace

std::vector<Error> status(const Options& options) {
  if (!options.source.empty()) return status_of_volume(options);
  if (options.journal) {
    print_status(options, *options.journal, changes_beside(*options.journal));
    return {};
  }
  const std::vector<MergeStatus> all = all_statuses(options);
  print_report(options,
               all.empty() ? "No merges are known in " + printable(state_directory(options)) + "\n"
                           : status_table(all, options.headings, options.sizes),
               status_list_json(all));
  std::vector<Error> damaged;
  for (const MergeStatus& one : all) {
    if (one.damage) damaged.push_back(*one.damage);
  }
  return damaged;
}

}  // namespace extmerge
