// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/command_line.h"

#include <algorithm>
#include <boost/program_options.hpp>
#include <utility>

#include "cli/help.h"
#include "cli/nearest.h"
#include "cli/option_table.h"
#include "io/nbd_device.h"
#include "io/text.h"

namespace extmerge {

namespace po = boost::program_options;

namespace {

[[noreturn]] void refuse(const std::string& happened, const std::string& next) {
  throw Error(MessageId::kUsage, happened, next);
}

std::string see_help(Command command) {
  return std::string("see extmerge ") + row_of(command).name + " --help";
}

// The names of a set of commands, by default of all.
std::vector<std::string> command_names(unsigned commands = ~0u) {
  std::vector<std::string> names;
  for (const CommandRow& row : command_table()) {
    if (commands & bit(row.command)) names.push_back(row.name);
  }
  return names;
}

const CommandRow& command_named(const std::string& name) {
  if (const CommandRow* row = find_command(name)) return *row;
  const std::string known = joined(command_names(), ", ");
  if (name.starts_with('-'))
    refuse("'" + name + "' stands before the command",
           "the command comes first, one of " + known + "; see extmerge --help");
  const auto near = nearest(name, command_names());
  refuse("unknown command '" + name + "'",
         near ? "did you mean '" + *near + "'?" : "it is one of " + known);
}

[[noreturn]] void refuse_unknown(Command command, const std::string& option) {
  std::vector<std::string> known;
  for (const OptionRow& row : option_table()) {
    if (row.commands & bit(command)) known.push_back(std::string("--") + row.name);
  }
  const std::string name = option.substr(0, option.find('='));
  const auto near = name.starts_with("--") ? nearest(name, known) : std::nullopt;
  refuse("unknown option '" + name + "'",
         near ? "did you mean '" + *near + "'?" : see_help(command));
}

// Boost parses the command line: it looks up names and attaches values. The parser knows every
// option of every command, to tell an option of another command from an unknown one.
std::vector<po::option> take_apart(Command command, const std::vector<std::string>& arguments) {
  po::options_description known;
  for (const OptionRow& row : option_table()) {
    const std::string names = row.letter ? std::string(row.name) + "," + row.letter : row.name;
    auto* value = row.is_flag() ? nullptr : po::value<std::string>();
    if (row.argument_optional()) value->implicit_value("");
    if (value)
      known.add_options()(names.c_str(), value);
    else
      known.add_options()(names.c_str(), "");
  }
  const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
  try {
    return po::command_line_parser(arguments).options(known).style(style).run().options;
  } catch (const po::unknown_option& unknown) {
    refuse_unknown(command, unknown.get_option_name());
  } catch (const po::error& error) {
    refuse(error.what(), see_help(command));
  }
}

// Boost takes --json in `--journal --json` for the value of --journal.
void check_value(const po::option& option, Command command) {
  if (option.original_tokens.size() < 2 || option.value.empty()) return;
  const std::string& value = option.value.front();
  if (value.size() > 1 && value.starts_with('-'))
    refuse("--" + option.string_key + " has no value: '" + value + "' looks like an option",
           "write --" + option.string_key + "=VALUE; " + see_help(command));
}

void apply(const po::option& option, const CommandRow& command, Options& options) {
  const OptionRow& row = *find_option(option.string_key);
  const std::string name = std::string("--") + row.name;
  if (!(row.commands & bit(command.command))) {
    refuse("extmerge " + std::string(command.name) + " has no option " + name,
           "it belongs to " + joined(command_names(row.commands), ", ") + "; " +
               see_help(command.command));
  }
  if (options.has(row.name) && !row.repeatable()) refuse(name + " is given twice", "give it once");
  check_value(option, command.command);
  options.given.push_back(row.name);
  row.apply(options, option.value.empty() ? "" : option.value.front());
}

struct Conflict {
  const char* one;
  const char* other;
  const char* why;
};

constexpr Conflict kConflicts[] = {
    {"metadata-snap", "live-root",
     "the mappings are read either from the snapshot or from the live tree"},
    {"journal", "state-dir", "FILE says where the journal is already"},
    {"json", "ranges", "the table has no form in JSON"},
    {"ranges", "units", "the table counts data blocks"},
    {"ranges", "nosuffix", "the table counts data blocks"},
    {"ranges", "map", "the table is all that is printed"},
    {"json", "noheadings", "JSON has no headings"},
    {"export", "ranges", "a map is of the whole thin, not of a merge"},
    {"export", "full", "--since tells what a map leaves out"},
    {"export", "since-last", "--since tells what a map leaves out"},
    {"export", "with", "a map is of one thin"},
    {"export", "undo-log", "nothing is merged"},
    {"export", "keep-siblings", "nothing is merged"},
    {"export", "allow-shared-origin", "nothing is merged"},
    {"export", "beyond-origin", "a map has everything that the thin shows"},
    {"export", "restart", "nothing is merged"},
    {"export", "again", "nothing is merged"},
    {"since", "full", "--since tells what is left out"},
    {"since", "since-last", "--since tells what is left out"},
    {"since", "restart", "--restart copies everything"},
    {"since", "again", "--again copies everything"},
    {"full", "since-last", "all blocks are taken, or the changed ones"},
    {"restart", "since-last", "--restart takes everything"},
    {"again", "since-last", "--again takes everything"},
    {"keep-siblings", "allow-shared-origin", "a sibling is kept as it is, or changes"},
    {"keep-siblings", "metadata-snap", "the copies need a new metadata snapshot"},
    {"finish", "allow-stale", "--finish removes only the state that was merged"},
    {"finish", "metadata-snap", "--finish removes only the state that was merged"},
    {"when-closed", "undo-log", "an undo log is of one round"},
    {"when-closed", "allow-stale", "only a state that is known to be the last one counts"},
    {"when-closed", "metadata-snap", "only a state that is known to be the last one counts"},
    {"progress", "progress-json", "they choose the same thing"},
    {"progress", "batch-mode", "batch mode shows no progress"},
    {"progress-json", "batch-mode", "batch mode shows no progress"},
    {"progress-frequency", "batch-mode", "batch mode shows no progress"},
};

void check_combinations(const Options& o) {
  for (const Conflict& pair : kConflicts) {
    if (o.has(pair.one) && o.has(pair.other))
      refuse(std::string("--") + pair.one + " and --" + pair.other +
                 " exclude each other: " + pair.why,
             "give one of the two");
  }
  if (o.command == Command::kPlan && o.has("noheadings") && !o.ranges)
    refuse("--noheadings without --ranges: plan has no other table",
           "leave it out, or add --ranges");
  if (o.command == Command::kStatus && (o.map || o.exported) && o.source.empty() && !o.journal)
    refuse(std::string("--") + (o.map ? "map" : "export") + " is for one merge, and none is named",
           "name its journal or VG/SNAP; extmerge status lists the known journals");
  if (o.command == Command::kStatus && o.exported && *o.exported != MapFormat::kDdrescue)
    refuse("status --export writes the progress of a merge, as a mapfile of GNU ddrescue only",
           "use --export ddrescue FILE; extmerge plan --export has the other formats");
  if (o.command == Command::kPlan && o.map && o.exported)
    refuse("--map and --export exclude each other: a picture is of a merge", "give one of the two");
  if (o.command == Command::kPlan && !o.since.empty() && !o.exported)
    refuse("--since is for a map", "add --export FORMAT FILE; a merge finds out by itself");
  if (o.command == Command::kCopy && o.since == "origin")
    refuse("--since=origin is for a map", "leave it out: a copy takes the thin's own data only");
  if (o.command == Command::kVerify && o.whole && !o.copies())
    refuse("--whole is for a target", "name the target after the source");
  if (!o.since.empty() && o.since != "origin" && !is_path(o.since))
    refuse("--since: '" + o.since + "' is neither origin nor the path of a journal",
           "a path begins with / or ./ ; extmerge status lists the known journals");
  const unsigned on_output = (o.json ? 1u : 0u) + (o.map == "-" ? 1u : 0u) +
                             (o.exported && o.export_path == "-" ? 1u : 0u);
  if (on_output > 1)
    refuse("only one of --json, --map - and --export FORMAT - can go to standard output",
           "name a file instead of -");
  if (o.progress_seconds && (o.progress == ProgressKind::kBar || o.progress == ProgressKind::kNone))
    refuse("--progress-frequency is for lines: a bar is drawn four times a second",
           "leave out --progress, or use --progress=line or json");
  if (o.log_level && !o.log_file)
    refuse("--log-level without --log-file", "add --log-file FILE; on the terminal use -v and -q");
  if (o.ends_use() && o.has("verify") && o.merge.verify < VerifyChoice::kChanged)
    refuse(std::string(o.finish ? "--finish removes the snapshot"
                                : "--when-closed takes the snapshot out of use") +
               ", so it verifies in full",
           "leave out --verify, or use --verify=changed where everything was verified earlier");
  if (o.when_closed && !o.ends_use())
    refuse("--when-closed without --finish: there is nothing to wait for", "add --finish");
  for (const char* name : {"until", "timeout"}) {
    if (o.has(name) && !o.when_closed)
      refuse(std::string("--") + name + " without --when-closed: nothing is waited for",
             o.copies() ? "add --when-closed" : "add --finish --when-closed");
  }
  if (o.command == Command::kVerify && o.merge.beyond_origin == BeyondOriginChoice::kExtend)
    refuse("--beyond-origin=extend is not for verify, which changes nothing", "use refuse or drop");
  if (o.undo_log && o.has("compare") && o.merge.pipeline.compare != CompareMode::kAlways)
    refuse("--undo-log saves what differs, so everything is compared",
           "leave out --compare, or --undo-log");
  if (o.merge.pipeline.io_size > o.merge.pipeline.buffer_size && o.has("io-size"))
    refuse("--io-size is larger than --buffer-size", "raise --buffer-size as well");
}

// Takes the target of a copy from the end of the arguments.
void take_target(Options& o, std::vector<std::string>& arguments) {
  const bool has_devices =
      o.has("metadata") && o.has("data") && o.has("thin-id") && o.has("origin");
  const size_t sources = has_devices ? 0 : 1;
  if (o.command == Command::kVerify) {
    if (arguments.size() <= sources) return;
    const std::string& last = arguments.back();
    if (has_devices && !is_path(last) && !is_nbd_uri(last)) return;  // a source too many
  }
  if (arguments.size() <= sources)
    refuse("the target is missing", "name it after the source; see extmerge copy --help");
  o.target = arguments.back();
  arguments.pop_back();
  if (!is_path(o.target) && !is_nbd_uri(o.target))
    refuse("the target '" + o.target + "' is neither a path nor the URI of an NBD export",
           "a path begins with / or ./ ; a URI begins with nbd://, nbds:// or nbd+unix://");
}

void check_source(Options& o, std::vector<std::string> arguments) {
  if (o.command == Command::kCopy || o.command == Command::kVerify) take_target(o, arguments);
  const std::string devices =
      "name VG/SNAP, /dev/mapper/THIN, or --metadata DEV --data DEV --thin-id N --origin DEV";
  if (arguments.size() > 1) refuse("'" + arguments[1] + "': one source at a time", devices);
  if (!arguments.empty()) {
    for (const char* name : {"metadata", "data", "thin-id", "origin", "thin-size", "live-root"}) {
      if (o.has(name))
        refuse("'" + arguments.front() + "' and --" + name + " exclude each other",
               "a named source finds its devices itself");
    }
    if (!is_path(arguments.front()) && arguments.front().find('/') == std::string::npos)
      refuse("'" + arguments.front() + "' is neither VG/SNAP nor a path", devices);
    o.source = arguments.front();
    return;
  }
  if (o.finish)
    refuse("--finish is for volumes of LVM (VG/SNAP)",
           "remove the thin by hand once the merge is done");
  if (o.copies() && o.when_closed)
    refuse("--when-closed is for volumes of LVM (VG/SNAP)",
           "take the thin out of use by hand, and copy it once more");
  if (o.has("with")) throw with_is_for_volumes();
  for (const char* name : {"metadata", "data", "thin-id", "origin"}) {
    if (!o.has(name)) refuse(std::string("--") + name + " is missing", devices);
  }
}

void check_journal_argument(Options& o, const std::vector<std::string>& arguments) {
  if (arguments.size() > 1)
    refuse("'" + arguments[1] + "': one journal at a time", see_help(o.command));
  if (arguments.empty()) {
    if (o.command == Command::kStatus) return;
    refuse("the journal is missing: extmerge " + std::string(row_of(o.command).name) +
               " is for one merge",
           "give the path of its journal; extmerge status lists the known journals");
  }
  const std::string& argument = arguments.front();
  if (!is_path(argument)) {
    if (argument.find('/') == std::string::npos)
      refuse("'" + argument + "' is neither VG/SNAP nor the path of a journal",
             "a path begins with / or ./ ; extmerge status lists the known journals");
    o.source = argument;
    return;
  }
  if (o.has("state-dir"))
    refuse("--state-dir and a journal exclude each other", "give one of the two");
  o.journal = argument;
}

std::string version_text() { return "extmerge " EXTMERGE_VERSION "\n"; }

Options text_only(std::string text) {
  Options options;
  options.text = std::move(text);
  return options;
}

// The text to print if no command is run.
std::optional<std::string> text_instead(const std::vector<std::string>& arguments) {
  const std::string& first = arguments.front();
  if (first == "--help" || first == "-h") return overview();
  if (first == "--version" || first == "-V") return version_text();
  if (first != "help") return {};
  if (arguments.size() > 2) refuse("help is for one command at a time", "see extmerge --help");
  if (arguments.size() == 1) return overview();
  return help_of(command_named(arguments[1]).command);
}

}  // namespace

bool asks_for_json(const std::vector<std::string>& arguments) {
  return std::any_of(arguments.begin(), arguments.end(),
                     [](const std::string& a) { return a == "-J" || a == "--json"; });
}

Options parse_command_line(const std::vector<std::string>& arguments,
                           const std::function<void(Options&)>& configure) {
  if (arguments.empty())
    refuse("the command is missing",
           "it is one of " + joined(command_names(), ", ") + "; see extmerge --help");
  if (const auto text = text_instead(arguments)) return text_only(*text);

  const CommandRow& command = command_named(arguments.front());
  Options options;
  options.command = command.command;
  std::vector<std::string> positional;
  bool awaits_file = false, lacks_file = false;
  for (const po::option& option :
       take_apart(command.command, {arguments.begin() + 1, arguments.end()})) {
    if (awaits_file && option.string_key.empty() && !option.value.front().empty()) {
      options.export_path = option.value.front();
      awaits_file = false;
      continue;
    }
    lacks_file |= awaits_file;
    awaits_file = false;
    if (option.string_key.empty()) {
      positional.insert(positional.end(), option.value.begin(), option.value.end());
      continue;
    }
    // An optional value must be part of the same word.
    const bool detached = option.original_tokens.size() > 1;
    if (find_option(option.string_key)->argument_optional() && detached) {
      positional.insert(positional.end(), option.value.begin(), option.value.end());
      po::option alone = option;
      alone.value.clear();
      apply(alone, command, options);
    } else {
      apply(option, command, options);
      awaits_file = find_option(option.string_key)->takes_file();
    }
  }
  if (options.has("help")) return text_only(help_of(command.command));
  if (options.has("version")) return text_only(version_text());
  if (awaits_file || lacks_file)
    refuse("--export has no FILE", "it is the next word: --export FORMAT FILE");

  if (options.is_of_begun_merge())
    check_journal_argument(options, positional);
  else
    check_source(options, positional);
  if (configure) configure(options);
  check_combinations(options);
  if (options.batch_mode) {
    options.yes = true;
    options.progress = ProgressKind::kNone;
  }
  return options;
}

}  // namespace extmerge
