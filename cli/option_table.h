// SPDX-License-Identifier: GPL-3.0-or-later
//
// Every option once: its name, who accepts it, what --help says of it and what
// it sets. The parser and the help are both made from this table, so neither
// can know an option that the other does not.

#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/options.h"

namespace extmerge {

// Sets of commands.
constexpr unsigned bit(Command command) { return 1u << static_cast<unsigned>(command); }

enum class OptionGroup { kSource, kPlan, kJournal, kCopy, kOutput };

struct OptionRow {
  OptionGroup group;
  const char* name;      // without the dashes
  char letter;           // 0: none
  const char* argument;  // as --help shows it; null: a flag; "[...]": may be left out; "... FILE":
                         // the next word is part of it
  unsigned commands;     // who accepts it
  const char* text;      // one line of --help
  void (*apply)(Options& options, const std::string& value);

  bool is_flag() const { return argument == nullptr; }
  bool argument_optional() const { return argument != nullptr && argument[0] == '['; }
  bool takes_file() const {
    return argument != nullptr && std::string(argument).ends_with(" FILE");
  }
  // -v and -q; everything else may be given once.
  bool repeatable() const { return letter == 'v' || letter == 'q'; }
};

std::span<const OptionRow> option_table();
// Null if there is none of that long name.
const OptionRow* find_option(const std::string& name);

struct CommandRow {
  Command command;
  const char* name;
  const char* argument;  // as --help shows it
  const char* text;
};

std::span<const CommandRow> command_table();
const CommandRow* find_command(const std::string& name);
const CommandRow& row_of(Command command);

}  // namespace extmerge
