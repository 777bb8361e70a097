// SPDX-License-Identifier: GPL-3.0-or-later
//
// A custody of simulated disks. Its calls do nothing unless a test sets a function for them.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "merge/job.h"

namespace extmerge {

class SceneCustody final : public Custody {
 public:
  std::function<std::shared_ptr<BlockDevice>(const DeviceFacts&, OpenMode, Bytes)> on_open;
  std::function<JournalPlace(const std::string& path)> on_undo_log_at;
  std::function<void(Job&)> on_look_again;
  // Setting either function makes the mappings this command's own.
  std::function<void()> on_release;
  std::function<void()> on_reserve;
  std::function<void()> on_check;
  using Devices = std::vector<std::shared_ptr<BlockDevice>>;
  std::function<Devices(const std::string& pool, const std::vector<ThinId>&)> on_siblings;
  std::function<PoolDevices(const std::string&)> on_reserve_pool;
  std::function<void()> on_release_pool;
  std::function<void()> on_siblings_closed;

  std::shared_ptr<BlockDevice> open(const DeviceFacts& facts, OpenMode mode, Bytes ends) override {
    return on_open(facts, mode, ends);
  }
  JournalPlace undo_log_at(const std::string& path) override { return on_undo_log_at(path); }
  void look_again(Job& job) override {
    if (on_look_again) on_look_again(job);
  }
  bool owns_mappings() const override { return on_release || on_reserve; }
  void release_mappings() override {
    if (on_release) on_release();
  }
  void reserve_mappings() override {
    if (on_reserve) on_reserve();
  }
  PoolDevices reserve_pool(const std::string& pool) override {
    return on_reserve_pool ? on_reserve_pool(pool) : Custody::reserve_pool(pool);
  }
  void release_pool() override {
    if (on_release_pool) on_release_pool();
  }
  Devices open_siblings(const std::string& pool, const std::vector<ThinId>& ids) override {
    return on_siblings ? on_siblings(pool, ids) : Custody::open_siblings(pool, ids);
  }
  void close_siblings() override {
    if (on_siblings_closed) on_siblings_closed();
  }
  void check_origin() override {
    if (on_check) on_check();
  }
};

// The custody of a MergeScene's job.
inline SceneCustody& custody_of(const Job& job) { return static_cast<SceneCustody&>(*job.custody); }

}  // namespace extmerge
