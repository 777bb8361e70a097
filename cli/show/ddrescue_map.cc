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
    std::array<char, 64> line{};
    std::snprintf(line.data(), line.size(), "0x%08llX  0x%08llX  %c\n",
                  static_cast<unsigned long long>(start_.value()),
                  static_cast<unsigned long long>((end_ - start_).value()), finished_ ? '+' : '?');
    file_.write(line.data());
    start_ = end_;
  }

 private:
  OutputFile& file_;
  Bytes start_, end_;
  bool finished_ = true;
};

}  // namespace

void write_mapfile(Journal& journal, OutputFile& file) {
  const Bytes origin_end = origin_end_of(journal);
  // ddrescue would continue here: the first unfinished byte.
  const Bytes position = durable_position(journal);
  const Bytes first = position < journal.record().copy_bytes
                          ? std::min(journal.extent_at(position).origin_offset, origin_end)
                          : origin_end;
  std::array<char, 64> current{};
  std::snprintf(current.data(), current.size(), "0x%08llX     %c               1\n",
                static_cast<unsigned long long>(first.value()), first == origin_end ? '+' : '?');
  file.write(std::string(kMapfileMark) + " " EXTMERGE_VERSION "\n");
  file.write("# current_pos  current_status  current_pass\n");
  file.write(current.data());
  file.write("#      pos        size  status\n");
  Lines lines(file);
  for_each_piece(journal, [&](const Extent& extent, bool durable) {
    lines.add(std::min(extent.origin_offset, origin_end), true);
    lines.add(std::min(extent.origin_offset + extent.length, origin_end), durable);
  });
  lines.add(origin_end, true);
  lines.flush();
}

}  // namespace extmerge
