// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/help.h"

#include <algorithm>

#include "cli/option_table.h"

namespace extmerge {

namespace {

constexpr size_t kTextColumn = 36;

const char* heading(OptionGroup group) {
  switch (group) {
    case OptionGroup::kSource:
      return "Source:";
    case OptionGroup::kPlan:
      return "Whether to start:";
    case OptionGroup::kJournal:
    case OptionGroup::kCopy:
      return "Journal and work:";
    case OptionGroup::kOutput:
      return "Output:";
  }
  return "";
}

std::string option_line(const OptionRow& row) {
  std::string line = row.letter ? std::string("  -") + row.letter + ", " : "      ";
  line += std::string("--") + row.name;
  if (!row.is_flag()) line += (row.argument_optional() ? "" : " ") + std::string(row.argument);
  line.resize(std::max(line.size() + 1, kTextColumn), ' ');
  return line + row.text + "\n";
}

}  // namespace

std::string overview() {
  std::string text =
      "extmerge merges a dm-thin snapshot back into its external origin, or copies it.\n\n"
      "Usage: extmerge COMMAND [options] [SOURCE [TARGET]|JOURNAL]\n\n";
  for (const CommandRow& row : command_table()) {
    std::string line = std::string("  ") + row.name;
    line.resize(10, ' ');
    text += line + row.text + "\n";
  }
  return text +
         "\n"
         "SOURCE   VG/SNAP, or /dev/mapper/THIN, or (DEV: a block device or an image)\n"
         "         --metadata DEV --data DEV --thin-id N --origin DEV\n"
         "TARGET   a block device or an image, with a leading / or ./; or an NBD URI\n"
         "JOURNAL  a path, with a leading / or ./\n\n"
         "Begin with:  extmerge plan VG/SNAP\n\n"
         "extmerge COMMAND --help lists the options of a command.\n"
         "Exit status: 0 done, 1 usage, 2 permission, 3 resources, 4 unfit device,\n"
         "5 in use, 6 journal, 7 I/O error or stopped (resume it), 8 different,\n"
         "9 damaged metadata, 10 internal error, 11 volume group missing (attach it).\n";
}

std::string help_of(Command command) {
  const CommandRow& row = row_of(command);
  std::string text = std::string("Usage: extmerge ") + row.name + " [options] " + row.argument +
                     "\n" + row.text + "\n";
  std::string last_heading;
  for (const OptionRow& option : option_table()) {
    if (!(option.commands & bit(command))) continue;
    if (heading(option.group) != last_heading) text += std::string(heading(option.group)) + "\n";
    last_heading = heading(option.group);
    text += option_line(option);
  }
  return text;
}

}  // namespace extmerge
