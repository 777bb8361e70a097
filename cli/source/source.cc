// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/source.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "cli/source/dm/holders.h"
#include "cli/source/places.h"
#include "io/buffer.h"
#include "io/file_device.h"
#include "io/nbd_device.h"
#include "io/open_files.h"
#include "io/text.h"
#include "io/transfer.h"

namespace extmerge {

namespace {

void log_facts(const char* role, const DeviceFacts& facts) {
  spdlog::debug("{}: {}, {} bytes, {}", role, facts.path, facts.size.value(),
                facts.exists ? facts.identity : "missing");
}

}  // namespace

DeviceFacts Source::export_facts(const std::string& uri) {
  std::shared_ptr<NbdDevice> device = exported_.lock();
  if (!device) device = NbdDevice::open(uri, false);
  DeviceFacts facts;
  facts.path = uri;
  facts.exists = facts.is_export = true;
  facts.size = device->size();
  facts.logical_block_size = device->logical_block_size();
  facts.identity = nbd_identity(uri);
  return facts;
}

Look Source::target_look(const std::string& target) {
  return [this, target] {
    if (is_nbd_uri(target)) return export_facts(target);
    DeviceFacts facts = inspect(target);
    if (facts.exists) return facts;
    throw Error(MessageId::kNotFound, "there is no " + target + " (the target)",
                "check the name; make an image file first: truncate -s SIZE " + target);
  };
}

std::string target_path(const std::string& target) {
  return is_nbd_uri(target) ? target : absolute_path(target);
}

void Source::check_finish(bool) const {
  throw Error(MessageId::kUsage, "--finish and --when-closed are for volumes of LVM (VG/SNAP)",
              "take the thin out of use by hand, and merge or copy it once more");
}

std::shared_ptr<BlockDevice> Source::open(const DeviceFacts& facts, OpenMode mode,
                                          Bytes ends_multiple_of) {
  if (claimed_ && is_claimed(facts)) return claimed_;
  if (facts.is_export) {
    std::shared_ptr<NbdDevice> device = exported_.lock();
    if (!device) device = NbdDevice::open(facts.path, mode != OpenMode::kReadOnly);
    if (mode == OpenMode::kClaim) exported_ = device;
    keep(facts, mode, device);
    return device;
  }
  std::shared_ptr<FileDevice> device = FileDevice::open(facts, mode, ends_multiple_of);
  spdlog::debug("opened {}", facts.path);
  keep(facts, mode, device);
  if (!device->is_direct() && told_.insert(facts.path).second)
    spdlog::warn(
        "{} is used through the page cache: its file system, or its size, "
        "does not allow direct I/O",
        printable(facts.path));
  return device;
}

void Source::keep(const DeviceFacts& facts, OpenMode mode,
                  const std::shared_ptr<BlockDevice>& device) {
  if (!keeps_claim_ || mode != OpenMode::kClaim) return;
  claimed_ = device;
  claimed_facts_ = facts;
}

bool Source::is_claimed(const DeviceFacts& facts) {
  const DeviceFacts& claimed = claimed_facts_;
  if (facts.path != claimed.path || facts.identity != claimed.identity ||
      facts.device_number != claimed.device_number)
    return false;
  if (facts.size == claimed.size) return true;
  claimed_.reset();  // it was extended
  return false;
}

void Source::check_claim() {
  if (!claimed_) return;
  Buffer buffer(claimed_->logical_block_size().value());
  read_fully(*claimed_, *claimed_->make_short_queue(), Bytes(0), buffer.span());
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
  log_facts(job.copy ? "target" : "origin", job.origin);
  if (job.copy) {
    job.copy->is_below_target =
        std::ranges::count(find_origin_thins(job.copy->origin, job.metadata),
                           job.origin.device_number, &ThinHolder::device_number) > 0;
  }
  if (!job.origin.is_export) {
    job.origin_writers = writers_of(job.origin);
    return;
  }
  // A server may open its file only for a client.
  const auto client = Source::open(job.origin, OpenMode::kReadOnly, Bytes(1));
  for (const DeviceFacts& facts : {job.metadata, job.data, job.copy->origin}) {
    for (const std::string& writer : writers_of(facts))
      job.copy->writers.push_back(writer + " has " + facts.path);
  }
}

}  // namespace extmerge
