// SPDX-License-Identifier: GPL-3.0-or-later

#include <cerrno>
#include <utility>

#include "tests/support/simulated_state.h"

namespace extmerge {

const Fault* SimulatedState::fault_for(const Operation& operation, uint64_t index) {
  if (const auto found = faults.find(index); found != faults.end()) {
    if (found->second.for_ever)
      lasting.push_back({operation.kind, operation.object, found->second});
    return &found->second;
  }
  for (const Lasting& l : lasting)
    if (l.kind == operation.kind && l.object == operation.object) return &l.fault;
  return nullptr;
}

SimulatedOutcome SimulatedState::begin(const Operation& operation) {
  if (cut) return {SimulatedOutcome::Kind::kPowerIsCut, EIO};
  if (observer) observer(operation);
  const uint64_t index = history.size();
  if (cut_at && index >= *cut_at) {
    cut = true;
    return {SimulatedOutcome::Kind::kPowerGoes, EIO};
  }
  history.push_back(operation);
  const Fault* fault = fault_for(operation, index);
  if (!fault) return {};
  const bool is_short = fault->kind == Fault::Kind::kShort;
  return {is_short ? SimulatedOutcome::Kind::kShort : SimulatedOutcome::Kind::kFailed,
          fault->error_number};
}

SimulatedWorld::SimulatedWorld() : state_(std::make_shared<SimulatedState>()) {}
SimulatedWorld::~SimulatedWorld() = default;

uint64_t SimulatedWorld::operations() const {
  const std::lock_guard guard(state_->lock);
  return state_->history.size();
}

std::vector<Operation> SimulatedWorld::history() const {
  const std::lock_guard guard(state_->lock);
  return state_->history;
}

void SimulatedWorld::cut_power_at(uint64_t index) {
  const std::lock_guard guard(state_->lock);
  state_->cut_at = index;
}

bool SimulatedWorld::power_is_cut() const {
  const std::lock_guard guard(state_->lock);
  return state_->cut;
}

void SimulatedWorld::fail_at(uint64_t index, const Fault& fault) {
  const std::lock_guard guard(state_->lock);
  state_->faults[index] = fault;
}

void SimulatedWorld::on_operation(std::function<void(const Operation&)> observer) {
  const std::lock_guard guard(state_->lock);
  state_->observer = std::move(observer);
}

SimulatedWorld::Saved SimulatedWorld::save() const {
  const std::lock_guard guard(state_->lock);
  Saved saved;
  for (const auto& weak : state_->parts)
    if (const auto part = weak.lock()) saved.push_back(part->save());
  return saved;
}

void SimulatedWorld::put_back(const Saved& saved) {
  const std::lock_guard guard(state_->lock);
  for (const auto& put_back : saved) put_back();
}

void SimulatedWorld::restart(Survivors survivors, uint64_t seed) {
  const std::lock_guard guard(state_->lock);
  state_->random.seed(seed);
  for (const auto& weak : state_->parts)
    if (const auto part = weak.lock()) part->restart(survivors, state_->random);
  state_->history.clear();
  state_->cut_at.reset();
  state_->cut = false;
  state_->faults.clear();
  state_->lasting.clear();
  ++state_->boot;
}

}  // namespace extmerge
