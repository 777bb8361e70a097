// SPDX-License-Identifier: GPL-3.0-or-later
//
// The command line's options.

#pragma once

#include <spdlog/common.h>

#include <optional>
#include <string>
#include <vector>

#include "cli/show/map_format.h"
#include "cli/show/progress_display.h"
#include "cli/show/size.h"
#include "cli/source/request.h"

namespace extmerge {

// `text` is printed instead of running a command: --help, --version, help.
struct Options : Request {
  std::optional<std::string> text;

  bool yes = false;  // --yes, --batch-mode
  bool batch_mode = false;

  // Output
  bool json = false;
  bool ranges = false;
  std::optional<std::string> map;     // path of an SVG; - is the terminal
  std::optional<MapFormat> exported;  // --export: write a map to
  std::string export_path;            // - is standard output
  bool headings = true;
  SizeFormat sizes;
  ProgressKind progress = ProgressKind::kAuto;
  std::optional<unsigned> progress_seconds;
  int verbosity = 0;  // -v adds one, -q takes one away
  std::optional<std::string> log_file;
  std::optional<spdlog::level::level_enum> log_level;
};

}  // namespace extmerge
