// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/show/picture.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

#include "cli/show/terminal_line.h"
#include "cli/source/merge_status.h"
#include "io/text.h"
#include "merge/journal/pieces.h"

namespace extmerge {

namespace {

// A kind of byte and its colours, which colour-blind people can distinguish.
struct Layer {
  const char* label;
  const char* colour;   // in SVG
  int terminal_colour;  // 0 to 7, 60 to 67 for the bright ones
  char character;
};

// Layers that need attention come first.
constexpr std::array<Layer, 4> kPlanLayers = {{
    {"past the origin's end", "#aa4499", 5, '>'},
    {"different", "#d55e00", 1, '#'},
    {"not compared", "#56b4e9", 6, '?'},
    {"equal already", "#009e73", 2, '='},
}};
constexpr std::array<Layer, 2> kJournalLayers = {{
    {"still to be copied", "#d55e00", 1, '#'},
    {"durable", "#0072b2", 4, '+'},
}};
constexpr Layer kNotMapped = {"not mapped: the origin's own", "#e8e8e8", 60, '.'};
constexpr Layer kPastTheEnd = {"", "", 0, ' '};
constexpr const char* kPaper = "#ffffff";
constexpr const char* kTextColour = "#222222";

std::span<const Layer> layers_of(const Picture& picture) {
  return picture.of_journal ? std::span<const Layer>(kJournalLayers) : kPlanLayers;
}

// Bytes of each layer.
std::vector<uint64_t> amounts_of(const Picture& picture, const OriginMap::Cell& cell) {
  const uint64_t planned = cell[OriginMap::kPlanned];
  if (picture.of_journal) {
    const uint64_t durable = cell[OriginMap::kDurable];
    return {planned - durable, durable};
  }
  const PlannedShares shares = shares_of(cell);
  return {cell[OriginMap::kBeyond], shares.different.value(), shares.unknown.value(),
          shares.equal.value()};
}

std::vector<uint64_t> amounts_of(const Picture& picture, const OriginMap& map) {
  std::vector<uint64_t> sums(layers_of(picture).size());
  for (const OriginMap::Cell& cell : map.cells()) {
    const std::vector<uint64_t> amounts = amounts_of(picture, cell);
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += amounts[i];
  }
  return sums;
}

size_t cell_count(const Picture& picture, const OriginMap& map) {
  const uint64_t size = map.cell_length().value();
  const uint64_t cells = picture.end.value() / size + (picture.end.value() % size != 0);
  return std::max<size_t>({cells, map.cells().size(), 1});
}

// The map up to the picture's end, in at most `most_cells` cells.
OriginMap map_for(const Picture& picture, size_t most_cells) {
  OriginMap map = picture.map;
  while (cell_count(picture, map) > most_cells) map.coarsen();
  return map;
}

// The start of a row, in a short form: bytes could be wider than the margin.
std::string row_label(Bytes offset) { return format_size(offset); }

std::string amount_text(const Picture& picture, uint64_t bytes) {
  return format_size(Bytes(bytes), picture.sizes);
}

// --- SVG

std::string xml(std::string_view text) {
  std::string escaped;
  for (const char c : printable(text)) {
    escaped += c == '&'   ? "&amp;"
               : c == '<' ? "&lt;"
               : c == '>' ? "&gt;"
               : c == '"' ? "&quot;"
                          : std::string(1, c);
  }
  return escaped;
}

std::string number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.5g", value);
  return text.data();
}

std::string rectangle(double x, double y, double width, double height, const char* colour) {
  return "<rect x=\"" + number(x) + "\" y=\"" + number(y) + "\" width=\"" + number(width) +
         "\" height=\"" + number(height) + "\" fill=\"" + colour + "\"/>";
}

std::string text_at(double x, double y, const std::string& text, const char* more = "") {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\"" + more + ">" + xml(text) +
         "</text>\n";
}

constexpr size_t kColumns = 128;
constexpr double kMargin = 16, kLabelWidth = 84, kCellWidth = 7, kRowHeight = 20, kRowDistance = 25;
constexpr double kTitleLine = 34, kFirstLegendLine = 62, kLegendDistance = 20;

// The columns of one cell, from below. The background shows unmapped bytes.
std::string svg_cell(const Picture& picture, const OriginMap& map, size_t index, double x,
                     double y) {
  const auto amounts = amounts_of(picture, map.cells()[index]);
  const auto layers = layers_of(picture);
  std::vector<double> heights;
  double sum = 0;
  for (const uint64_t amount : amounts) {
    const double share =
        static_cast<double>(amount) / static_cast<double>(map.cell_length().value());
    // Draw at least one unit, so that even a small share is visible.
    heights.push_back(amount == 0 ? 0 : std::max(share * kRowHeight, 1.0));
    sum += heights.back();
  }
  if (sum > kRowHeight) *std::max_element(heights.begin(), heights.end()) -= sum - kRowHeight;
  std::string shapes, words;
  double bottom = y + kRowHeight;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (amounts[i] == 0) continue;
    bottom -= heights[i];
    shapes += rectangle(x, bottom, kCellWidth, heights[i], layers[i].colour);
    words += ", " + amount_text(picture, amounts[i]) + " " + layers[i].label;
  }
  if (shapes.empty()) return "";
  const Bytes offset(index * map.cell_length().value());
  return "<g><title>" + xml("from " + amount_text(picture, offset.value()) + words) + "</title>" +
         shapes + "</g>\n";
}

std::string svg_legend(const Picture& picture, double& y) {
  const auto layers = layers_of(picture);
  const auto sums = amounts_of(picture, picture.map);
  std::string text;
  const auto entry = [&](const char* colour, const std::string& words) {
    text += rectangle(kMargin, y - 11, 14, 14, colour) + text_at(kMargin + 22, y, words);
    y += kLegendDistance;
  };
  for (size_t i = 0; i < layers.size(); ++i) {
    if (sums[i] > 0) entry(layers[i].colour, amount_text(picture, sums[i]) + " " + layers[i].label);
  }
  entry(kNotMapped.colour, kNotMapped.label);
  return text;
}

// --- terminal

// The picture fits an old terminal and leaves some lines for the report.
constexpr size_t kTerminalColumns = 64;
constexpr size_t kTerminalRows = 32;

const Layer& layer_of(const Picture& picture, const OriginMap& map, size_t index) {
  const Layer& nothing =
      index * map.cell_length().value() < picture.origin_end.value() ? kNotMapped : kPastTheEnd;
  if (index >= map.cells().size()) return nothing;
  const auto amounts = amounts_of(picture, map.cells()[index]);
  for (size_t i = 0; i < amounts.size(); ++i) {
    if (amounts[i] > 0) return layers_of(picture)[i];
  }
  return nothing;
}

std::string foreground(const Layer& layer) {
  return "\033[" + std::to_string(30 + layer.terminal_colour) + "m";
}
std::string background(const Layer& layer) {
  return "\033[" + std::to_string(40 + layer.terminal_colour) + "m";
}
constexpr const char* kPlainAgain = "\033[0m";

// Two cells in one character. Past the origin's end the terminal's background shows.
std::string halves(const Layer& upper, const Layer& lower) {
  const bool has_upper = &upper != &kPastTheEnd, has_lower = &lower != &kPastTheEnd;
  if (has_upper && has_lower) return foreground(upper) + background(lower) + "▀" + kPlainAgain;
  if (has_upper) return foreground(upper) + "▀" + kPlainAgain;
  if (has_lower) return foreground(lower) + "▄" + kPlainAgain;
  return " ";
}

bool is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* const value = std::getenv(name);
    if (!value || !*value) continue;
    std::string locale = value;
    std::transform(locale.begin(), locale.end(), locale.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return locale.ends_with("utf-8") || locale.ends_with("utf8");
  }
  return false;
}

}  // namespace

Picture picture_of(const PlanReport& report, const DeviceNames& names, const SizeFormat& sizes) {
  const std::string thin =
      names.thin_name.empty() ? "thin " + std::to_string(value(report.thin_id)) : names.thin_name;
  const std::string& origin = names.origin_name.empty() ? names.origin : names.origin_name;
  return {"Merge of " + thin + " into " + origin + ": the blocks to copy",
          report.origin_bytes,
          std::max(report.origin_bytes, report.limits.thin_end.value_or(Bytes(0))),
          false,
          *report.map,
          sizes};
}

Picture picture_of(Journal& journal, const SizeFormat& sizes) {
  const MergeRecord& record = journal.record();
  const Bytes end = origin_end_of(journal);
  return {"Merge of thin " + std::to_string(value(record.thin_id)) + " into " + record.origin.path +
              ": " + state_text(journal.state()),
          end,
          end,
          true,
          map_of(journal),
          sizes};
}

std::string draw_svg(const Picture& picture) {
  const OriginMap map = map_for(picture, OriginMap::kMostCells);
  const size_t cells = cell_count(picture, map);
  const size_t rows = (cells + kColumns - 1) / kColumns;
  double y = kFirstLegendLine;
  const std::string legend = svg_legend(picture, y);
  std::string facts = "origin of " + amount_text(picture, picture.origin_end.value()) + ", " +
                      amount_text(picture, map.cell_length().value()) + " a column";
  if (!picture.of_journal) facts += "; compared: " + compared_text(picture.map, picture.sizes);
  const double top = y + kLegendDistance;
  const double left = kMargin + kLabelWidth;
  const double width = left + kColumns * kCellWidth + kMargin;
  const double height = top + static_cast<double>(rows) * kRowDistance + kMargin;

  std::string svg =
      std::string(kPictureMark) + " -->\n" + "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" +
      number(width) + "\" height=\"" + number(height) + "\" viewBox=\"0 0 " + number(width) + " " +
      number(height) + "\" font-family=\"DejaVu Sans, sans-serif\" font-size=\"12\" fill=\"" +
      kTextColour + "\">\n";
  svg += "<title>" + xml(picture.title) + "</title>\n";
  svg += rectangle(0, 0, width, height, kPaper) + "\n";
  svg += text_at(kMargin, kTitleLine, picture.title, " font-size=\"16\" font-weight=\"bold\"");
  svg += legend;
  svg += text_at(kMargin, y + 4, facts);
  const double cell_length = static_cast<double>(map.cell_length().value());
  for (size_t row = 0; row < rows; ++row) {
    const double row_y = top + static_cast<double>(row) * kRowDistance;
    const size_t first = row * kColumns;
    const size_t here = std::min(kColumns, cells - first);
    svg += text_at(left - 8, row_y + 14, row_label(Bytes(first * map.cell_length().value())),
                   " text-anchor=\"end\" font-size=\"11\"");
    // The background ends at the origin's end.
    const double origin_cells =
        static_cast<double>(picture.origin_end.value()) / cell_length - static_cast<double>(first);
    const double behind = std::clamp(origin_cells, 0.0, static_cast<double>(here));
    if (behind > 0)
      svg += rectangle(left, row_y, behind * kCellWidth, kRowHeight, kNotMapped.colour) + "\n";
    for (size_t i = first; i < first + here && i < map.cells().size(); ++i)
      svg += svg_cell(picture, map, i, left + static_cast<double>(i - first) * kCellWidth, row_y);
  }
  return svg + "</svg>\n";
}

std::string draw_for_terminal(const Picture& picture, Ink ink) {
  const OriginMap map = map_for(picture, kTerminalColumns * kTerminalRows);
  const size_t cells = cell_count(picture, map);
  const bool colours = ink == Ink::kColours;
  const size_t a_line = colours ? 2 * kTerminalColumns : kTerminalColumns;
  constexpr size_t kLabel = 10;
  std::string text;
  for (size_t first = 0; first < cells; first += a_line) {
    std::string label = row_label(Bytes(first * map.cell_length().value()));
    label.insert(0, kLabel - std::min(kLabel, label.size()), ' ');
    text += label + " ";
    for (size_t i = first; i < std::min(cells, first + kTerminalColumns); ++i) {
      const Layer& upper = layer_of(picture, map, i);
      if (colours) {
        const size_t below = i + kTerminalColumns;
        text += halves(upper, below < cells ? layer_of(picture, map, below) : kPastTheEnd);
      } else {
        text += upper.character;
      }
    }
    text += "\n";
  }
  const auto sums = amounts_of(picture, picture.map);
  const auto layers = layers_of(picture);
  const auto entry = [&](const Layer& layer, const std::string& words) {
    text += std::string(kLabel + 1, ' ');
    text += colours ? foreground(layer) + "█" + kPlainAgain : std::string(1, layer.character);
    text += " " + words + "\n";
  };
  for (size_t i = 0; i < layers.size(); ++i) {
    if (sums[i] > 0) entry(layers[i], amount_text(picture, sums[i]) + " " + layers[i].label);
  }
  entry(kNotMapped, kNotMapped.label);
  text += std::string(kLabel + 1, ' ') + amount_text(picture, map.cell_length().value()) +
          (colours ? " a half character" : " a character") + "\n";
  return text;
}

Ink ink_of_standard_output() {
  return TerminalLine(STDOUT_FILENO).has_colours() && is_utf8() ? Ink::kColours : Ink::kCharacters;
}

}  // namespace extmerge
