// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/ddrescue_map.h"

#include <array>
#include <cstdio>

#include "merge/origin_map.h"

namespace extmerge {

namespace {

// One line, with the pieces of one status that follow each other made one.
class Lines {
 public:
  explicit Lines(OutputFile& file) : file_(file) {}

  // Without a gap to the one before.
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
  Bytes end() const { return end_; }

 private:
  OutputFile& file_;
  Bytes start_, end_;
  bool finished_ = true;
};

}  // namespace

void write_mapfile(Journal& journal, OutputFile& file) {
  // Where ddrescue would go on: what is not finished begins there.
  Bytes first = journal.record().origin_size_after;
  for_each_piece(journal, [&](const Extent& extent, bool durable) {
    if (!durable) first = std::min(first, extent.origin_offset);
  });
  std::array<char, 64> current{};
  std::snprintf(current.data(), current.size(), "0x%08llX     %c               1\n",
                static_cast<unsigned long long>(first.value()),
                first == journal.record().origin_size_after ? '+' : '?');
  file.write(std::string(kMapfileMark) + " " EXTMERGE_VERSION "\n");
  file.write("# current_pos  current_status  current_pass\n");
  file.write(current.data());
  file.write("#      pos        size  status\n");
  Lines lines(file);
  for_each_piece(journal, [&](const Extent& extent, bool durable) {
    lines.add(extent.origin_offset, true);
    lines.add(extent.origin_offset + extent.length, durable);
  });
  lines.add(journal.record().origin_size_after, true);
  lines.flush();
}

}  // namespace extmerge
