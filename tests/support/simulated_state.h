// SPDX-License-Identifier: GPL-3.0-or-later
//
// The state that the parts of a simulated world share: the lock, the count of operations and the
// decision about each outcome. Private to tests/support/simulated_*.

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "tests/support/simulated_world.h"

namespace extmerge {

// A disk or a directory, as far as a restart sees it.
class SimulatedPart {
 public:
  virtual ~SimulatedPart() = default;
  virtual void restart(Survivors survivors, SimulatedRandom& random) = 0;
  // Saves the contents, durable or not; returns a function that restores them.
  virtual std::function<void()> save() = 0;
};

struct SimulatedOutcome {
  enum class Kind {
    kDone,
    kShort,
    kFailed,
    kPowerGoes,  // at this very operation: it may or may not have happened
    kPowerIsCut  // at an earlier one
  } kind = Kind::kDone;
  int error_number = 0;

  bool done() const { return kind == Kind::kDone; }
};

struct SimulatedState {
  // Held through a whole operation, so that history is the order of things.
  // Recursive, since an observer may look at the disks in the middle of one.
  std::recursive_mutex lock;
  SimulatedRandom random{1};
  std::vector<Operation> history;
  std::optional<uint64_t> cut_at;
  bool cut = false;
  std::map<uint64_t, Fault> faults;
  struct Lasting {
    OperationKind kind;
    std::string object;
    Fault fault;
  };
  std::vector<Lasting> lasting;
  std::function<void(const Operation&)> observer;
  // Files and locks of an earlier boot are dead.
  uint64_t boot = 0;
  std::vector<std::weak_ptr<SimulatedPart>> parts;

  // Counts the operation and decides. The caller holds the lock.
  SimulatedOutcome begin(const Operation& operation);

 private:
  const Fault* fault_for(const Operation& operation, uint64_t index);
};

}  // namespace extmerge
