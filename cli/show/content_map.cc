// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/show/content_map.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/show/ddrescue_map.h"

namespace extmerge {

namespace {

constexpr char kBorgMark[] = "# Input map of borg. Created by extmerge";
constexpr char kBmapMark[] = "<?xml version=\"1.0\" ?>\n<!-- Block map. Created by extmerge";
constexpr char kJsonMark[] = "{\"schema\": \"extmerge/1\",\n \"map\": \"contents\"";

std::string number(Bytes bytes) { return std::to_string(bytes.value()); }

// The kinds that a format tells apart: neighbours of one kind are one range.
Content kind_of(Content content, MapFormat format) {
  switch (format) {
    case MapFormat::kJson:
      return content;
    case MapFormat::kBorg:  // knows no origin: it reads the device
      return content == Content::kOrigin ? Content::kPoolData : content;
    default:
      return content == Content::kSame ? content : Content::kPoolData;
  }
}

using Write = std::function<void(const ContentRange&)>;

// Joins neighbours of one kind. The ranges end at `end`.
ContentListener joining(MapFormat format, Bytes end, const Write& write) {
  return [=, joined = ContentRange()](const ContentRange& range) mutable {
    const Content kind = kind_of(range.content, format);
    if (kind != joined.content) {
      if (joined.length > Bytes(0)) write(joined);
      joined = {range.offset, Bytes(0), kind};
    }
    joined.length += range.length;
    if (range.offset + range.length == end) write(joined);
  };
}

// The largest block, up to 4 KiB, that divides every end of a range but the last.
Bytes bmap_block(const ContentLimits& limits) {
  Bytes block = alignment_of(limits.mapped.block_size.bytes());
  for (const Bytes end : {limits.origin_end, limits.unmapped_held_end}) {
    if (end < limits.mapped.end) block = std::min(block, alignment_of(end));
  }
  return block;
}

uint64_t blocks_up_to(Bytes end, Bytes block) {
  return (end.value() + block.value() - 1) / block.value();
}

std::string bmap_heading(const ContentsReport& report, const std::string& since) {
  const Bytes size = report.limits.mapped.end, block = bmap_block(report.limits);
  // Only the thin's last block may be in part, and is counted once.
  const uint64_t all = blocks_up_to(size, block);
  const uint64_t same = report.of(Content::kSame).value() / block.value() +
                        (report.ends_the_same && size.value() % block.value() != 0 ? 1 : 0);
  return std::string(kBmapMark) + " " EXTMERGE_VERSION +
         (since.empty() ? "" : ". Only what changed since " + since) +
         " -->\n<bmap version=\"1.2\">\n" + "    <ImageSize> " + number(size) +
         " </ImageSize>\n    <BlockSize> " + number(block) + " </BlockSize>\n    <BlocksCount> " +
         std::to_string(all) + " </BlocksCount>\n    <MappedBlocksCount> " +
         std::to_string(all - same) + " </MappedBlocksCount>\n    <BlockMap>\n";
}

std::string bmap_line(const ContentRange& range, Bytes block) {
  const uint64_t first = range.offset.value() / block.value();
  const uint64_t last = blocks_up_to(range.offset + range.length, block) - 1;
  return "        <Range> " + std::to_string(first) +
         (last == first ? "" : "-" + std::to_string(last)) + " </Range>\n";
}

std::string json_heading(const ContentsReport& report, const std::string& since) {
  return std::string(kJsonMark) + ",\n \"size_bytes\": " + number(report.limits.mapped.end) +
         ",\n \"since\": " +
         (since.empty() ? "null"
                        : nlohmann::json(since).dump(-1, ' ', false,
                                                     nlohmann::json::error_handler_t::replace)) +
         ",\n \"ranges\": [";
}

// The format has places for offset, length and content. A map may have millions of lines.
std::string line(const char* format, const ContentRange& range) {
  std::array<char, 128> text{};
  std::snprintf(text.data(), text.size(), format,
                static_cast<unsigned long long>(range.offset.value()),
                static_cast<unsigned long long>(range.length.value()), content_name(range.content));
  return text.data();
}

}  // namespace

std::string_view mark_of(MapFormat format) {
  switch (format) {
    case MapFormat::kBorg:
      return kBorgMark;
    case MapFormat::kBmap:
      return kBmapMark;
    case MapFormat::kJson:
      return kJsonMark;
    default:
      return kMapfileMark;
  }
}

const char* content_name(Content content) {
  switch (content) {
    case Content::kPoolData:
      return "data";
    case Content::kOrigin:
      return "origin";
    case Content::kZeros:
      return "zero";
    default:
      return "same";
  }
}

ContentListener begin_content_map(MapFormat format, const ContentsReport& report,
                                  const std::string& since, OutputFile& file) {
  Write write;
  switch (format) {
    case MapFormat::kBorg:
      file.write(std::string(kBorgMark) + " " EXTMERGE_VERSION + "\n");
      if (!since.empty()) file.write("# same: as in the archive of " + since + " (--reuse-from)\n");
      write = [&file](const ContentRange& range) { file.write(line("%llu %llu %s\n", range)); };
      break;
    case MapFormat::kDdrescue:
      file.write(mapfile_heading(Bytes(0), true));
      write = [&file](const ContentRange& range) {
        file.write(mapfile_line(range.offset, range.length, range.content != Content::kSame));
      };
      break;
    case MapFormat::kBmap:
      file.write(bmap_heading(report, since));
      write = [&file, block = bmap_block(report.limits)](const ContentRange& range) {
        if (range.content != Content::kSame) file.write(bmap_line(range, block));
      };
      break;
    case MapFormat::kJson:
      file.write(json_heading(report, since));
      write = [&file](const ContentRange& range) {
        if (range.offset > Bytes(0)) file.write(",");
        file.write(line("\n  {\"offset\": %llu, \"length\": %llu, \"content\": \"%s\"}", range));
      };
      break;
  }
  return joining(format, report.limits.mapped.end, write);
}

void end_content_map(MapFormat format, OutputFile& file) {
  if (format == MapFormat::kBmap) file.write("    </BlockMap>\n</bmap>\n");
  if (format == MapFormat::kJson) file.write("\n ]}\n");
}

}  // namespace extmerge
