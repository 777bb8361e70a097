// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/configuration.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/program_options.hpp>
#include <cerrno>
#include <cstdlib>
#include <sstream>

#include "cli/option_table.h"
#include "io/file_descriptor.h"
#include "io/text.h"

namespace extmerge {

namespace po = boost::program_options;

namespace {

constexpr const char* kConfiguration = "/etc/extmerge/extmerge.conf";
constexpr size_t kLargest = 1 << 20;

bool may_be_configured(const OptionRow& row) {
  if (row.is_flag() || row.argument_optional()) return false;
  const std::string name = row.name;
  // These are for a single merge or thin.
  if (name == "map" || name == "export" || name == "since") return false;
  return row.group == OptionGroup::kCopy || row.group == OptionGroup::kOutput ||
         name == "state-dir";
}

Error wrong(const std::string& file, const std::string& why) {
  std::vector<std::string> names;
  for (const OptionRow& row : option_table()) {
    if (may_be_configured(row)) names.push_back(row.name);
  }
  return Error(MessageId::kUsage, file + ": " + why,
               "it may hold NAME = VALUE of " + joined(names, ", "));
}

Error unusable(const std::string& file, const std::string& why) {
  return Error(MessageId::kUsage, "the configuration " + file + " cannot be used: " + why,
               "correct that, or name another file in EXTMERGE_CONFIG (empty: none)");
}

std::string read_all(const std::string& name, const FileDescriptor& file) {
  std::string text(kLargest + 1, '\0');
  size_t done = 0;
  for (;;) {
    const ssize_t count = ::read(file.get(), text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw unusable(name, errno_text(errno));
    if (count == 0) break;
    done += static_cast<size_t>(count);
    if (done > kLargest) throw unusable(name, "it is too long");
  }
  text.resize(done);
  return text;
}

// Whether the option, or another one with the same effect, is set already.
bool is_chosen(const Options& options, const std::string& name) {
  if (options.has(name)) return true;
  if (name == "state-dir") {
    const char* const chosen = std::getenv("EXTMERGE_STATE_DIR");
    return chosen && *chosen;
  }
  if (name == "progress") {
    return options.has("progress-json") || options.has("progress-frequency") ||
           options.batch_mode || options.verbosity < 0;
  }
  if (name == "progress-frequency") {
    return options.has("progress") || options.has("progress-json") || options.batch_mode;
  }
  if (name == "compare") return options.undo_log.has_value();
  if (name == "verify") return options.ends_use();
  if (name == "units") return options.ranges;
  return false;
}

}  // namespace

void apply_configuration(Options& options, std::istream& file, const std::string& name) {
  po::options_description known;
  for (const OptionRow& row : option_table()) {
    if (may_be_configured(row)) known.add_options()(row.name, po::value<std::string>());
  }
  std::vector<po::option> found;
  try {
    found = po::parse_config_file(file, known).options;
  } catch (const po::unknown_option& unknown) {
    throw wrong(name, "'" + unknown.get_option_name() + "' is no option for a file");
  } catch (const po::error& error) {
    throw wrong(name, error.what());
  }
  // Check the whole file, including options that this command does not take.
  Options checked;
  for (const po::option& option : found) {
    const OptionRow& row = *find_option(option.string_key);
    if (checked.has(row.name)) throw wrong(name, std::string(row.name) + " is given twice");
    checked.given.push_back(row.name);
    try {
      row.apply(checked, option.value.front());
    } catch (const Error& error) {
      throw Error(error.id(), name + ": " + error.what(), error.next());
    }
    if ((row.commands & bit(options.command)) && !is_chosen(options, row.name)) {
      row.apply(options, option.value.front());
    }
  }
  if (checked.log_level && !checked.log_file) throw wrong(name, "log-level needs a log-file");
}

std::string configuration_path() {
  const char* const chosen = std::getenv("EXTMERGE_CONFIG");
  return chosen ? chosen : kConfiguration;
}

void apply_configuration(Options& options) {
  const bool chosen = std::getenv("EXTMERGE_CONFIG") != nullptr;
  const std::string name = configuration_path();
  if (name.empty()) return;
  const FileDescriptor file(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file && errno == ENOENT && !chosen) return;
  if (!file) throw unusable(name, errno_text(errno));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw unusable(name, errno_text(errno));
  if (!S_ISREG(status.st_mode)) throw unusable(name, "it is no regular file");
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0 ||
      (status.st_uid != 0 && status.st_uid != ::geteuid()))
    throw unusable(name, "others may write to it");
  std::istringstream text(read_all(name, file));
  apply_configuration(options, text, name);
}

}  // namespace extmerge
