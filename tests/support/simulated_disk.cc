// SPDX-License-Identifier: GPL-3.0-or-later

#include <algorithm>
#include <cerrno>
#include <new>
#include <optional>
#include <utility>

#include "tests/support/simulated_state.h"

namespace extmerge {

struct SimulatedDisk::State : SimulatedPart {
  std::shared_ptr<SimulatedState> world;
  std::string name;
  Bytes logical_block_size;
  SimulatedMedium medium;

  void restart(Survivors survivors, SimulatedRandom& random) override {
    medium.restart(survivors, random);
  }

  std::function<void()> save() override {
    return [this, saved = medium] {
      if (saved.version() != medium.version()) medium = saved;
    };
  }

  bool aligned(const IoRequest& request) const {
    const uint64_t unit = logical_block_size.value();
    return request.offset.value() % unit == 0 && request.memory.size() % unit == 0 &&
           reinterpret_cast<uintptr_t>(request.memory.data()) % unit == 0;
  }

  // The result as the kernel reports it. Sets `write` if a write was begun.
  int64_t carry_out(IoRequest& request, std::optional<SimulatedMedium::WriteId>& write) {
    const bool is_write = request.direction == Direction::kWrite;
    const SimulatedOutcome outcome =
        world->begin({is_write ? OperationKind::kWrite : OperationKind::kRead, name, request.offset,
                      Bytes(request.memory.size())});
    if (outcome.kind == SimulatedOutcome::Kind::kPowerGoes ||
        outcome.kind == SimulatedOutcome::Kind::kPowerIsCut)
      return -EIO;
    if (!aligned(request)) return -EINVAL;

    const uint64_t size = medium.visible().size();
    const uint64_t offset = request.offset.value();
    const uint64_t room = offset < size ? size - offset : 0;
    if (is_write && room == 0 && !request.memory.empty()) return -ENOSPC;
    uint64_t length = std::min<uint64_t>(room, request.memory.size());
    if (outcome.kind == SimulatedOutcome::Kind::kShort) {
      const uint64_t unit = std::max(kSectorSize, logical_block_size.value());
      length = std::min(length, request.memory.size() / 2 / unit * unit);
    }
    const std::span<std::byte> memory = request.memory.first(length);

    if (outcome.kind == SimulatedOutcome::Kind::kFailed) {
      if (is_write) medium.write_torn(request.offset, memory, world->random);
      return -outcome.error_number;
    }
    if (is_write)
      write = medium.begin_write(request.offset, memory);
    else
      std::copy_n(medium.visible().begin() + static_cast<ptrdiff_t>(std::min(offset, size)), length,
                  memory.begin());
    return static_cast<int64_t>(length);
  }
};

// submit() carries out each request, but the request counts as in flight until wait(): before that,
// its result is not set and no flush covers it.
class SimulatedDisk::Queue : public AsyncQueue {
 public:
  explicit Queue(std::shared_ptr<State> disk) : disk_(std::move(disk)) {}
  ~Queue() override { Queue::wait(); }

  void submit(std::span<IoRequest> requests) override {
    for (IoRequest& request : requests) {
      const std::lock_guard guard(disk_->world->lock);
      try {
        in_flight_.push_back({&request, 0, {}});
        in_flight_.back().result = disk_->carry_out(request, in_flight_.back().write);
        request.result = -EINPROGRESS;
      } catch (const std::bad_alloc&) {
        // As in the kernel, the result says that the request could not be started.
        if (!in_flight_.empty() && in_flight_.back().request == &request) in_flight_.pop_back();
        request.result = -ENOMEM;
      }
    }
  }

  void pause(std::chrono::milliseconds) override {}

  void wait() override {
    const std::lock_guard guard(disk_->world->lock);
    for (const InFlight& finished : in_flight_) {
      finished.request->result = finished.result;
      if (finished.write) disk_->medium.complete(*finished.write);
    }
    in_flight_.clear();
  }

 private:
  struct InFlight {
    IoRequest* request;
    int64_t result;
    std::optional<SimulatedMedium::WriteId> write;
  };
  std::shared_ptr<State> disk_;
  std::vector<InFlight> in_flight_;
};

SimulatedDisk::SimulatedDisk(SimulatedWorld& world, std::string name,
                             std::vector<std::byte> contents, Bytes logical_block_size)
    : state_(std::make_shared<State>()) {
  state_->world = world.state_;
  state_->name = std::move(name);
  state_->logical_block_size = logical_block_size;
  state_->medium = SimulatedMedium(std::move(contents));
  const std::lock_guard guard(state_->world->lock);
  state_->world->parts.push_back(state_);
}

SimulatedDisk::~SimulatedDisk() = default;

std::vector<std::byte> SimulatedDisk::contents() const {
  const std::lock_guard guard(state_->world->lock);
  return state_->medium.visible();
}

void SimulatedDisk::look(const std::function<void(std::span<const std::byte>)>& at) const {
  const std::lock_guard guard(state_->world->lock);
  at(state_->medium.visible());
}

std::vector<std::byte> SimulatedDisk::durable_contents() const {
  const std::lock_guard guard(state_->world->lock);
  return state_->medium.durable();
}

bool SimulatedDisk::dirty() const {
  const std::lock_guard guard(state_->world->lock);
  return state_->medium.dirty();
}

void SimulatedDisk::overwrite(Bytes offset, std::span<const std::byte> bytes) {
  const std::lock_guard guard(state_->world->lock);
  state_->medium.overwrite(offset, bytes);
}

void SimulatedDisk::flip(Bytes offset) {
  const std::lock_guard guard(state_->world->lock);
  const std::byte flipped = ~state_->medium.visible()[offset.value()];
  state_->medium.overwrite(offset, {&flipped, 1});
}

const std::string& SimulatedDisk::name() const { return state_->name; }

Bytes SimulatedDisk::size() const {
  const std::lock_guard guard(state_->world->lock);
  return Bytes(state_->medium.visible().size());
}

Bytes SimulatedDisk::logical_block_size() const { return state_->logical_block_size; }

std::unique_ptr<AsyncQueue> SimulatedDisk::make_queue(unsigned) {
  return std::make_unique<Queue>(state_);
}

int SimulatedDisk::flush() {
  const std::lock_guard guard(state_->world->lock);
  const SimulatedOutcome outcome =
      state_->world->begin({OperationKind::kFlush, state_->name, {}, {}});
  if (outcome.done()) {
    state_->medium.flush();
    return 0;
  }
  if (outcome.kind == SimulatedOutcome::Kind::kFailed ||
      outcome.kind == SimulatedOutcome::Kind::kShort)
    state_->medium.lose_some(state_->world->random, false);
  return outcome.error_number;
}

void SimulatedDisk::resize(Bytes size) {
  const std::lock_guard guard(state_->world->lock);
  const SimulatedOutcome outcome =
      state_->world->begin({OperationKind::kResize, state_->name, size, {}});
  if (outcome.done()) {
    state_->medium.resize(size);
    return;
  }
  if (outcome.kind == SimulatedOutcome::Kind::kPowerGoes) state_->medium.resize_in_doubt(size);
  throw system_error("resize", state_->name, outcome.error_number, MessageId::kWriteFailed);
}

void SimulatedDisk::drop_cache() {}

}  // namespace extmerge
