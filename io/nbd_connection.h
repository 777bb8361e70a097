// SPDX-License-Identifier: GPL-3.0-or-later
//
// A connection to an NBD server, over libnbd, for several users at once. Internal to io/;
// io/nbd_device.h has the device.

#pragma once

#include <libnbd.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "io/block_device.h"
#include "io/file_descriptor.h"

namespace extmerge {

// The URI without the user and the password.
std::string without_user(std::string uri);

// Counts the commands in flight of one user.
class NbdTally {
 public:
  // Waits while `most` commands are in flight, then adds one.
  void add(size_t most) {
    std::unique_lock guard(lock_);
    changed_.wait(guard, [&] { return in_flight_ < most; });
    ++in_flight_;
  }
  // The user may be gone when this returns, so the lock covers the notification.
  void remove() {
    const std::lock_guard guard(lock_);
    --in_flight_;
    changed_.notify_one();
  }
  void wait() {
    std::unique_lock guard(lock_);
    changed_.wait(guard, [&] { return in_flight_ == 0; });
  }

 private:
  std::mutex lock_;
  std::condition_variable changed_;
  size_t in_flight_ = 0;
};

enum class NbdKind { kRead, kWrite, kZero, kFlush };

class NbdConnection;

struct NbdCommand {
  NbdKind kind = NbdKind::kFlush;
  uint64_t offset = 0;
  uint64_t length = 0;
  std::byte* memory = nullptr;
  IoRequest* request = nullptr;  // of a read or a write
  NbdTally* user = nullptr;
  NbdConnection* connection = nullptr;  // set by it
  int error = 0;                        // set before `user` counts it as complete
};

// The facts that the server states about an export.
struct NbdExport {
  uint64_t size = 0;
  uint64_t block_size = 0;
  uint64_t largest_transfer = 0;
  bool is_read_only = false;
  bool can_flush = false;
  bool can_zero = false;
  bool can_multi_conn = false;
  friend bool operator==(const NbdExport&, const NbdExport&) = default;
};

struct CloseNbdHandle {
  void operator()(nbd_handle* handle) const { ::nbd_close(handle); }
};
using NbdHandle = std::unique_ptr<nbd_handle, CloseNbdHandle>;

class NbdConnection {
 public:
  // Throws if the server is not ready after `patience`: see NbdDevice::open().
  NbdConnection(const std::string& uri, std::chrono::milliseconds patience);
  // No command is in flight.
  ~NbdConnection();
  NbdConnection(const NbdConnection&) = delete;
  NbdConnection& operator=(const NbdConnection&) = delete;

  const NbdExport& facts() const { return facts_; }

  // Starts the command, which must stay in place until its user counts it as complete. A null
  // pointer ends the thread. Without memory the program ends, because a command that is counted but
  // not started would never be complete.
  void post(NbdCommand* command) noexcept;

  // Carries the command out, and returns 0 or the errno.
  int carry_out(NbdCommand command);

 private:
  // All these functions run on the connection's thread.
  void work();
  void start(NbdCommand* command);
  void finish(NbdCommand* command, int error);
  void progress();
  // Whether the server has not answered TCP for half a minute.
  bool is_silent(int socket);
  void close();

  NbdHandle handle_;  // null if the connection is lost
  const NbdExport facts_;
  const FileDescriptor wake_;
  std::set<NbdCommand*> in_flight_;
  std::optional<std::chrono::steady_clock::time_point> unanswered_since_;  // as seen by is_silent()
  std::mutex lock_;
  std::vector<NbdCommand*> posted_;  // guarded by lock_
  std::thread thread_;
};

}  // namespace extmerge
