// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/container.h"

#include <algorithm>
#include <string_view>

#include "io/buffer.h"
#include "io/endian.h"
#include "io/transfer.h"

namespace extmerge {

namespace {

using namespace std::string_view_literals;
using Span = std::span<const std::byte>;

constexpr uint64_t kJudgedBytes = 4096;  // at each end

uint8_t byte_at(Span bytes, size_t offset) { return std::to_integer<uint8_t>(bytes[offset]); }

std::string_view text_at(Span bytes, size_t offset, size_t length) {
  return {reinterpret_cast<const char*>(bytes.data()) + offset, length};
}

// Further conditions for short magic numbers. `head` has at least a sector.

bool is_gzip(Span head) { return (byte_at(head, 3) & 0xe0) == 0; }  // reserved flags

bool is_bzip2(Span head) {
  const std::string_view block = text_at(head, 4, 6);
  return byte_at(head, 3) >= '1' && byte_at(head, 3) <= '9' &&
         (block == "\x31\x41\x59\x26\x53\x59"sv || block == "\x17\x72\x45\x38\x50\x90"sv);
}

// The old format has no magic number. It begins with properties, a dictionary of 2^n or 2^n +
// 2^(n-1) bytes, a size or -1, and a first data byte that is always 0.
bool is_lzma(Span head) {
  const auto dictionary = load<le32>(head.data() + 1).get();
  const auto size = load<le64>(head.data() + 5).get();
  const bool is_usual = dictionary >= 4096 && ((dictionary & (dictionary - 1)) == 0 ||
                                               ((dictionary / 3) & (dictionary / 3 - 1)) == 0);
  return is_usual && (size == UINT64_MAX || (size > 0 && size < uint64_t{1} << 48)) &&
         byte_at(head, 13) == 0;
}

bool is_zip(Span head) { return load<le16>(head.data() + 4).get() < 100; }  // version needed

bool is_android_sparse(Span head) {
  return load<le16>(head.data() + 4).get() == 1 && load<le16>(head.data() + 8).get() >= 28;
}

// A tar archive whose first file describes a virtual machine.
bool is_ova(Span head) {
  const std::string_view field = text_at(head, 0, 100);
  return field.substr(0, field.find('\0')).ends_with(".ovf");
}

// The superblock's own block number.
bool is_pool_metadata(Span head) { return load<le64>(head.data() + 8).get() == 0; }

struct Format {
  uint64_t offset;  // from the start, or back from the end
  std::string_view magic;
  const char* name;
  const char* qemu;    // qemu-img's name for it, null if it has none
  const char* unpack;  // a command with % for the path, null if there is none
  bool (*fits)(Span head) = nullptr;
};

constexpr Format kHeads[] = {
    {0, "QFI\xfb\0\0\0\x01"sv, "a qcow image", "qcow", nullptr},
    {0, "QFI\xfb"sv, "a qcow2 image", "qcow2", nullptr},
    {0, "QED\0"sv, "a QED image", "qed", nullptr},
    {0, "KDMV"sv, "a VMDK image", "vmdk", nullptr},
    {0, "COWD"sv, "a VMDK image", "vmdk", nullptr},
    {0, "\xbe\xba\xfe\xca\0\0\0\0"sv, "a VMDK image", "vmdk", nullptr},
    {0, "# Disk DescriptorFile"sv, "the description of a VMDK image", "vmdk", nullptr},
    {64, "\x7f\x10\xda\xbe"sv, "a VDI image", "vdi", nullptr},
    {0, "conectix"sv, "a VHD image", "vpc", nullptr},
    {0, "vhdxfile"sv, "a VHDX image", "vhdx", nullptr},
    {0, "WithoutFreeSpace"sv, "a Parallels image", "parallels", nullptr},
    {0, "WithouFreSpacExt"sv, "a Parallels image", "parallels", nullptr},
    {0, "Bochs Virtual HD Image"sv, "a Bochs image", "bochs", nullptr},
    {0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop"sv, "a cloop image", "cloop", nullptr},
    {257, "ustar"sv, "a virtual appliance (OVA)", nullptr, "tar -xf %", is_ova},
    {0, "partclone-image"sv, "a partclone image", nullptr, "partclone.restore -s % -O NEW"},
    {0, "\x3a\xff\x26\xed"sv, "an Android sparse image", nullptr, "simg2img % NEW",
     is_android_sparse},
    {0, "\x1f\x8b\x08"sv, "gzip data", nullptr, "gzip -dc % > NEW", is_gzip},
    {0, "BZh"sv, "bzip2 data", nullptr, "bzip2 -dc % > NEW", is_bzip2},
    {0, "\xfd\x37zXZ\0"sv, "xz data", nullptr, "xz -dc % > NEW"},
    {0, "\x28\xb5\x2f\xfd"sv, "zstd data", nullptr, "zstd -dc % > NEW"},
    {0, "\x50\x2a\x4d\x18"sv, "zstd data", nullptr, "zstd -dc % > NEW"},  // by pzstd
    {0, "\x04\x22\x4d\x18"sv, "lz4 data", nullptr, "lz4 -dc % > NEW"},
    {0, "\x02\x21\x4c\x18"sv, "lz4 data", nullptr, "lz4 -dc % > NEW"},
    {0, "\x5d\0\0"sv, "lzma data", nullptr, "xz --format=lzma -dc % > NEW", is_lzma},
    {0, "LZIP\x01"sv, "lzip data", nullptr, "lzip -dc % > NEW"},
    {0, "\x89LZO\0\r\n\x1a\n"sv, "lzop data", nullptr, "lzop -dc % > NEW"},
    {0, "PK\x03\x04"sv, "a zip archive", nullptr, "unzip -p % > NEW", is_zip},
    {0, "7z\xbc\xaf\x27\x1c"sv, "a 7-Zip archive", nullptr, "7z x -so % > NEW"},
    {32, "\xba\x52\x9c\x01\0\0\0\0"sv, "the metadata of a thin pool", nullptr, nullptr,
     is_pool_metadata},
};

// These lie in the last sector. Old programs wrote a VHD's end one byte shorter.
constexpr Format kTails[] = {
    {512, "conectix"sv, "a VHD image", "vpc", nullptr},
    {511, "conectix"sv, "a VHD image", "vpc", nullptr},
    {512, "koly\0\0\0\x04\0\0\x02\0"sv, "a DMG image", "dmg", nullptr},
};

std::string cure_of(const Format& format, const std::string& path) {
  if (format.qemu) {
    return std::string("convert it (qemu-img convert -f ") + format.qemu + " -O raw " + path +
           " NEW) or attach it (qemu-nbd), and name the result";
  }
  if (!format.unpack) return "check which of --metadata, --data and --origin is which";
  std::string command = format.unpack;
  command.replace(command.find('%'), 1, path);
  return "unpack it (" + command + ") and name the disk that was in it";
}

std::optional<Container> find_format(std::span<const Format> formats, Span bytes, bool at_start,
                                     const std::string& path) {
  if (bytes.size() < kSectorSize) return {};
  for (const Format& format : formats) {
    const size_t offset = at_start ? format.offset : bytes.size() - format.offset;
    if (text_at(bytes, offset, format.magic.size()) != format.magic) continue;
    if (format.fits && !format.fits(bytes)) continue;
    return Container{at_start, format.name, cure_of(format, path)};
  }
  return {};
}

}  // namespace

std::optional<Container> find_container(Span head, Span tail, const std::string& path) {
  const auto found = find_format(kHeads, head, true, path);
  return found ? found : find_format(kTails, tail, false, path);
}

std::optional<Container> find_container(BlockDevice& device, const std::string& path) {
  const uint64_t size = device.size().value();
  const uint64_t unit = device.logical_block_size().value();
  const uint64_t length = std::min(std::max(kJudgedBytes, unit), size);
  if (length % unit != 0) return {};
  const std::unique_ptr<AsyncQueue> queue = device.make_queue(1);
  const Buffer memory(2 * std::max(kJudgedBytes, length));
  const auto head = memory.span().subspan(0, length);
  read_fully(device, *queue, Bytes(0), head);
  if (size % unit != 0) return find_container(head, {}, path);
  const auto tail = memory.span().subspan(memory.size() / 2, length);
  read_fully(device, *queue, Bytes(size - length), tail);
  return find_container(head, tail, path);
}

Error container_refused(const Container& container, const std::string& role,
                        const std::string& path) {
  return Error(MessageId::kContainer,
               "the " + role + " " + path + " holds " + container.format +
                   ", not the raw contents of a disk",
               container.cure + "; if the disk itself holds these bytes, add --allow-container");
}

}  // namespace extmerge
