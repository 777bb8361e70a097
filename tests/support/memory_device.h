// SPDX-License-Identifier: GPL-3.0-or-later
//
// The simplest BlockDevice: bytes in memory. A callback before each request can fail it, cut it
// short or change the bytes. wait() carries out the requests, not submit(), so that tests detect
// code that reads or frees a buffer too early. For power cuts see simulated_world.h.
//
// Threads: requests may come from several, each with a queue of its own.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "io/block_device.h"

namespace extmerge {

class MemoryDevice : public BlockDevice {
 public:
  explicit MemoryDevice(std::vector<std::byte> contents, std::string name = "memory",
                        Bytes logical_block_size = Bytes(512));

  std::vector<std::byte>& contents() { return contents_; }

  // Called before each request. If it leaves `result` at 0, the request is carried out; otherwise
  // `result` is the outcome.
  using OnRequest = std::function<void(IoRequest&)>;
  void on_request(OnRequest callback) { on_request_ = std::move(callback); }

  // Requests carried out or failed so far, and the bytes read.
  uint64_t reads() const { return reads_; }
  uint64_t writes() const { return writes_; }
  uint64_t bytes_read() const { return bytes_read_; }
  uint64_t flushes() const { return flushes_; }
  // Requests that are submitted and not waited for.
  uint64_t in_flight() const { return in_flight_; }
  uint64_t queues_made() const { return queues_made_; }

  const std::string& name() const override { return name_; }
  Bytes size() const override { return Bytes(contents_.size()); }
  Bytes logical_block_size() const override { return logical_block_size_; }
  std::unique_ptr<AsyncQueue> make_queue(unsigned depth) override;
  int flush() override;
  void resize(Bytes size) override { contents_.resize(size.value()); }
  void drop_cache() override {}

 private:
  class Queue;
  void carry_out(IoRequest& request);

  std::vector<std::byte> contents_;
  const std::string name_;
  const Bytes logical_block_size_;
  OnRequest on_request_;
  std::mutex lock_;  // of all below, and the callback
  uint64_t reads_ = 0;
  uint64_t writes_ = 0;
  uint64_t bytes_read_ = 0;
  uint64_t flushes_ = 0;
  uint64_t in_flight_ = 0;
  uint64_t queues_made_ = 0;
};

}  // namespace extmerge
