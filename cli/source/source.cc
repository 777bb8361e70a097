// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/source.h"

#include <spdlog/spdlog.h>

#include "cli/source/dm/holders.h"
#include "cli/source/places.h"
#include "io/file_device.h"
#include "io/open_files.h"
#include "io/text.h"

namespace extmerge {

namespace {

void log_facts(const char* role, const DeviceFacts& facts) {
  spdlog::debug("{}: {}, {} bytes, {}", role, facts.path, facts.size.value(),
                facts.exists ? facts.identity : "missing");
}

}  // namespace

void Source::check_finish(bool) const {
  throw Error(MessageId::kUsage, "--finish is for volumes of LVM (VG/SNAP)",
              "remove the thin by hand once the merge is done");
}

std::shared_ptr<BlockDevice> Source::open(const DeviceFacts& facts, OpenMode mode,
                                          Bytes ends_multiple_of) {
  auto device = FileDevice::open(facts, mode, ends_multiple_of);
  spdlog::debug("opened {}", facts.path);
  if (!device->is_direct() && told_.insert(facts.path).second)
    spdlog::warn(
        "{} is used through the page cache: its file system, or its size, "
        "does not allow direct I/O",
        printable(facts.path));
  return device;
}

JournalPlace Source::undo_log_at(const std::string& path) { return undo_log_place(path); }

void Source::look_again(Job& job) {
  job.origin = origin_();
  job.origin_thins = find_origin_thins(job.origin, job.metadata);
}

void Source::look_at_devices(Job& job, const Look& origin) {
  job.custody = this;
  log_facts("metadata", job.metadata);
  log_facts("data", job.data);
  origin_ = origin;
  Source::look_again(job);
  log_facts("origin", job.origin);
  job.origin_writers = writers_of(job.origin);
}

}  // namespace extmerge
