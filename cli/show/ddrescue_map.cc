// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/show/ddrescue_map.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "merge/journal/pieces.h"

namespace extmerge {

namespace {

// Joins neighbouring pieces of one status into one line.
class Lines {
 public:
  explicit Lines(OutputFile& file) : file_(file) {}

  // Pieces follow each other without gaps.
  void add(Bytes end, bool finished) {
    if (end == end_) return;
    if (finished != finished_) flush();
    finished_ = finished;
    end_ = end;
  }
  void flush() {
    if (end_ == start_) return;
    file_.write(mapfile_line(start_, end_ - start_, finished_));
    start_ = end_;
  }

 private:
  OutputFile& file_;
  Bytes start_, end_;
  bool finished_ = true;
};

}  // namespace

std::string mapfile_heading(Bytes current, bool finished) {
  std::array<char, 64> line{};
  std::snprintf(line.data(), line.size(), "0x%08llX     %c               1\n",
                static_cast<unsigned long long>(current.value()), finished ? '+' : '?');
  return std::string(kMapfileMark) +
         " " EXTMERGE_VERSION "\n# current_pos  current_status  current_pass\n" + line.data() +
         "#      pos        size  status\n";
}

std::string mapfile_line(Bytes start, Bytes length, bool finished) {
  std::array<char, 64> line{};
  std::snprintf(line.data(), line.size(), "0x%08llX  0x%08llX  %c\n",
                static_cast<unsigned long long>(start.value()),
                static_cast<unsigned long long>(length.value()), finished ? '+' : '?');
  return line.data();
}

void write_mapfile(Journal& journal, OutputFile& file) {
  const Bytes origin_end = origin_end_of(journal);
  // ddrescue would continue here: the first unfinished byte.
  const Bytes position = durable_position(journal);
  const Bytes first = position < journal.record().copy_bytes
                          ? std::min(journal.extent_at(position).origin_offset, origin_end)
                          : origin_end;
  file.write(mapfile_heading(first, first == origin_end));
  Lines lines(file);
  for_each_piece(journal, [&](const Extent& extent, bool durable) {
    lines.add(std::min(extent.origin_offset, origin_end), true);
    lines.add(std::min(extent.origin_offset + extent.length, origin_end), durable);
  });
  lines.add(origin_end, true);
  lines.flush();
}

}  // namespace extmerge
