// SPDX-License-Identifier: GPL-3.0-or-later
//
// All options: name, commands that accept it, help text and effect. Parser and help both use this
// table, so they always list the same options.

#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/options.h"

namespace extmerge {

// A set of commands has one bit for each.
constexpr unsigned bit(Command command) { return 1u << static_cast<unsigned>(command); }

enum class OptionGroup { kSource, kPlan, kJournal, kCopy, kOutput };

struct OptionRow {
  OptionGroup group;
  const char* name;      // without the dashes
  char letter;           // 0: none
  const char* argument;  // as --help shows it; null: a flag; "[...]": may be left out; "... FILE":
                         // the next word is part of it
  unsigned commands;     // that accept it
  const char* text;      // one line of --help
  void (*apply)(Options& options, const std::string& value);

  bool is_flag() const { return argument == nullptr; }
  bool argument_optional() const { return argument != nullptr && argument[0] == '['; }
  bool takes_file() const {
    return argument != nullptr && std::string(argument).ends_with(" FILE");
  }
  // Only -v and -q may be repeated.
  bool repeatable() const { return letter == 'v' || letter == 'q'; }
};

std::span<const OptionRow> option_table();
// Finds an option by its long name; null if there is none.
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
