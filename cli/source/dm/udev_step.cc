// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/dm/udev_step.h"

#include <libdevmapper.h>
#include <spdlog/spdlog.h>
#include <sys/ipc.h>
#include <sys/sem.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "io/error.h"

namespace extmerge {

namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kCookieMagic = 0x0D4D0000;
constexpr std::chrono::milliseconds kPause{5};
// udevd ends a worker that takes three minutes for one event.
constexpr std::chrono::seconds kLongestEvent{200};

// FNV-1a, folded to the 16 bits of a cookie.
uint32_t folded_hash(const std::string& text) {
  uint32_t hash = 2166136261u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return (hash >> 16 ^ hash) & 0xffff;
}

uint16_t flags_of(UdevRules rules) {
  switch (rules) {
    case UdevRules::kAll:
      return 0;
    case UdevRules::kNamesOnly:
      return DM_UDEV_DISABLE_DISK_RULES_FLAG | DM_UDEV_DISABLE_OTHER_RULES_FLAG;
    case UdevRules::kHidden:
      break;
    case UdevRules::kHiddenUntilClosed:
      return flags_of(UdevRules::kHidden) | DM_UDEV_DISABLE_LIBRARY_FALLBACK;
  }
  return DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG | DM_UDEV_DISABLE_DISK_RULES_FLAG |
         DM_UDEV_DISABLE_OTHER_RULES_FLAG;
}

// The argument of semctl(2), which no header defines.
union SemaphoreArgument {
  int value;
};

}  // namespace

UdevStep::UdevStep(const std::string& dm_uuid) : cookie_(kCookieMagic | folded_hash(dm_uuid)) {}

bool UdevStep::run(dm_task* task, UdevRules rules) const {
  if (!dm_udev_get_sync_support()) {
    // With DM_DISABLE_UDEV udevd may run. As for LVM's own tasks then, its rules do not touch
    // /dev/mapper: they would replace the node that libdevmapper makes, and remove it later.
    uint32_t none = 0;
    const int flags = flags_of(rules) & ~DM_UDEV_DISABLE_LIBRARY_FALLBACK;
    dm_task_set_cookie(task, &none,
                       static_cast<uint16_t>(flags | DM_UDEV_DISABLE_DM_RULES_FLAG |
                                             DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG));
    const bool is_done = dm_task_run(task);
    dm_task_update_nodes();  // else libdevmapper makes them when it ends
    return is_done;
  }
  create();
  uint32_t cookie = cookie_;
  if (!dm_task_set_cookie(task, &cookie, flags_of(rules))) {
    discard();
    throw Error(MessageId::kLvmRefused, "libdevmapper does not accept a udev cookie",
                "see dmsetup udevcookies");
  }
  const bool is_done = dm_task_run(task);
  wait();
  dm_task_update_nodes();
  return is_done;
}

// A semaphore that another program uses by chance disappears soon. One that stays is from a killed
// run.
void UdevStep::create() const {
  const auto deadline = Clock::now() + std::chrono::seconds(2);
  int semaphore = -1;
  while ((semaphore = ::semget(static_cast<key_t>(cookie_), 1, 0600 | IPC_CREAT | IPC_EXCL)) < 0) {
    if (errno != EEXIST) {
      throw system_error("make", "the semaphore to wait for udev", errno, MessageId::kLvmRefused);
    }
    if (Clock::now() >= deadline) discard();
    std::this_thread::sleep_for(kPause);
  }
  // The value 1 is this program's share. The task adds another 1, which udev takes away.
  if (::semctl(semaphore, 0, SETVAL, SemaphoreArgument{1}) != 0) {
    const int error_number = errno;
    discard();
    throw system_error("set", "the semaphore to wait for udev", error_number,
                       MessageId::kLvmRefused);
  }
}

void UdevStep::wait() const {
  const auto deadline = Clock::now() + kLongestEvent;
  for (int ready = 0; dm_udev_wait_immediate(cookie_, &ready) && !ready;) {
    if (Clock::now() >= deadline) {
      spdlog::warn("udev has not answered for {} seconds; continuing without it",
                   kLongestEvent.count());
      break;
    }
    std::this_thread::sleep_for(kPause);
  }
  discard();
}

void UdevStep::discard() const {
  const int semaphore = ::semget(static_cast<key_t>(cookie_), 1, 0);
  if (semaphore >= 0) ::semctl(semaphore, 0, IPC_RMID);
}

}  // namespace extmerge
