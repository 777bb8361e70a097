// SPDX-License-Identifier: GPL-3.0-or-later

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "tests/support/simulated_state.h"

namespace extmerge {

namespace {

struct Inode {
  SimulatedMedium medium;
};
using Names = std::map<std::string, std::shared_ptr<Inode>>;

// A change of names: `inode` is created as `to`, `from` is renamed to `to`, or removed if `to` is
// empty.
struct NameChange {
  std::string from;
  std::string to;
  std::shared_ptr<Inode> inode;
};

void change_name(Names& names, const NameChange& change) {
  std::shared_ptr<Inode> inode = change.inode;
  if (!inode) {
    const auto found = names.find(change.from);
    if (found == names.end()) return;
    inode = found->second;
    names.erase(found);
  }
  if (!change.to.empty()) names[change.to] = inode;
}

}  // namespace

struct SimulatedDirectory::State : SimulatedPart {
  std::shared_ptr<SimulatedState> world;
  std::string path;
  Names visible;
  Names durable;
  std::vector<NameChange> pending;  // durable in this order, as in a journaling file system
  std::set<std::string> locked;

  std::string full(const std::string& name) const { return path + "/" + name; }

  void restart(Survivors survivors, SimulatedRandom& random) override {
    size_t end = pending.size();
    if (survivors == Survivors::kNone) end = 0;
    if (survivors == Survivors::kPrefix || survivors == Survivors::kRandom)
      end = random_below(random, pending.size() + 1);
    for (size_t i = 0; i < end; ++i) change_name(durable, pending[i]);
    pending.clear();
    visible = durable;
    for (const auto& [name, inode] : visible) inode->medium.restart(survivors, random);
    locked.clear();
  }

  // Files have several names over time; each is copied once.
  struct Contents {
    Names visible, durable;
    std::vector<NameChange> pending;
  };
  static Contents copy(const Contents& from) {
    std::map<std::shared_ptr<Inode>, std::shared_ptr<Inode>> copies;
    const auto copy_of = [&](const std::shared_ptr<Inode>& inode) -> std::shared_ptr<Inode> {
      if (!inode) return nullptr;
      std::shared_ptr<Inode>& made = copies[inode];
      if (!made) made = std::make_shared<Inode>(*inode);
      return made;
    };
    Contents to = from;
    for (Names* names : {&to.visible, &to.durable})
      for (auto& [name, inode] : *names) inode = copy_of(inode);
    for (NameChange& change : to.pending) change.inode = copy_of(change.inode);
    return to;
  }
  std::function<void()> save() override {
    return [this, saved = copy({visible, durable, pending})] {
      Contents now = copy(saved);
      visible = std::move(now.visible);
      durable = std::move(now.durable);
      pending = std::move(now.pending);
    };
  }

  [[noreturn]] void fail(const std::string& deed, const std::string& name, int error_number) {
    throw system_error(deed, full(name), error_number, MessageId::kJournalIo);
  }

  // For operations that change nothing.
  void look(const std::string& deed, const std::string& name) {
    const SimulatedOutcome outcome = world->begin({OperationKind::kOpen, name, {}, {}});
    if (!outcome.done()) fail(deed, name, outcome.error_number);
  }

  // A rename or removal, and the sync of the directory. After a power cut the change is in doubt. A
  // failed call may have failed before or after the change was visible.
  void change_names(const std::string& deed, const NameChange& change) {
    const SimulatedOutcome outcome = world->begin({OperationKind::kDirectory, change.from, {}, {}});
    if (outcome.kind == SimulatedOutcome::Kind::kPowerGoes) pending.push_back(change);
    if (!outcome.done() && (world->cut || random_coin(world->random)))
      fail(deed, change.from, outcome.error_number);
    change_name(visible, change);
    pending.push_back(change);
    if (!outcome.done()) fail(deed, change.from, outcome.error_number);
    make_names_durable();
  }
  void make_names_durable() {
    for (const NameChange& each : pending) change_name(durable, each);
    pending.clear();
  }

  std::shared_ptr<Inode> make(const std::string& name) {
    const auto inode = std::make_shared<Inode>();
    pending.push_back({{}, name, inode});
    change_name(visible, pending.back());
    return inode;
  }
};

class SimulatedDirectory::File : public DurableFile {
 public:
  File(std::shared_ptr<State> directory, std::string name, std::shared_ptr<Inode> inode,
       bool writable)
      : directory_(std::move(directory)),
        name_(std::move(name)),
        inode_(std::move(inode)),
        writable_(writable),
        boot_(directory_->world->boot) {}

  Bytes size() const override {
    const std::lock_guard guard(directory_->world->lock);
    if (directory_->world->cut) directory_->fail("examine", name_, EIO);
    return Bytes(inode_->medium.visible().size());
  }

  size_t read(Bytes offset, std::span<std::byte> memory) override {
    const std::lock_guard guard(directory_->world->lock);
    const SimulatedOutcome outcome = begin("read", OperationKind::kFileRead, offset, memory.size());
    if (!outcome.done() && outcome.kind != SimulatedOutcome::Kind::kShort)
      directory_->fail("read", name_, outcome.error_number);
    const std::vector<std::byte>& bytes = inode_->medium.visible();
    const uint64_t start = std::min<uint64_t>(offset.value(), bytes.size());
    const size_t wanted = outcome.done() ? memory.size() : half(memory.size());
    const size_t length = std::min<size_t>(wanted, bytes.size() - start);
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(start), length, memory.begin());
    return length;
  }

  void write(Bytes offset, std::span<const std::byte> memory) override {
    const std::lock_guard guard(directory_->world->lock);
    if (!writable_) directory_->fail("write", name_, EBADF);
    const SimulatedOutcome outcome =
        begin("write", OperationKind::kFileWrite, offset, memory.size());
    SimulatedMedium& medium = inode_->medium;
    if (outcome.done()) return medium.write(offset, memory);
    if (outcome.kind == SimulatedOutcome::Kind::kShort)
      medium.write(offset, memory.first(half(memory.size())));
    if (outcome.kind == SimulatedOutcome::Kind::kFailed)
      medium.write_torn(offset, memory, directory_->world->random);
    directory_->fail("write", name_, outcome.error_number);
  }

  void sync() override {
    const std::lock_guard guard(directory_->world->lock);
    const SimulatedOutcome outcome = begin("sync", OperationKind::kFileSync, Bytes(0), 0);
    if (outcome.done()) return inode_->medium.flush();
    if (outcome.kind == SimulatedOutcome::Kind::kFailed ||
        outcome.kind == SimulatedOutcome::Kind::kShort)
      inode_->medium.lose_some(directory_->world->random, true);
    directory_->fail("sync", name_, outcome.error_number);
  }

  void drop_cache() override {
    const std::lock_guard guard(directory_->world->lock);
    if (!directory_->world->cut) inode_->medium.forget_deception();
  }

 private:
  static size_t half(size_t length) { return length / 2 / kSectorSize * kSectorSize; }

  SimulatedOutcome begin(const std::string& deed, OperationKind kind, Bytes offset, size_t length) {
    if (boot_ != directory_->world->boot) directory_->fail(deed, name_, EBADF);
    return directory_->world->begin({kind, name_, offset, Bytes(length)});
  }

  std::shared_ptr<State> directory_;
  const std::string name_;
  std::shared_ptr<Inode> inode_;
  const bool writable_;
  const uint64_t boot_;
};

class SimulatedDirectory::Lock : public FileLock {
 public:
  Lock(std::shared_ptr<State> directory, std::string name)
      : directory_(std::move(directory)), name_(std::move(name)), boot_(directory_->world->boot) {}
  ~Lock() override {
    const std::lock_guard guard(directory_->world->lock);
    if (boot_ == directory_->world->boot) directory_->locked.erase(name_);
  }

 private:
  std::shared_ptr<State> directory_;
  const std::string name_;
  const uint64_t boot_;
};

SimulatedDirectory::SimulatedDirectory(SimulatedWorld& world, std::string path)
    : state_(std::make_shared<State>()) {
  state_->world = world.state_;
  state_->path = std::move(path);
  const std::lock_guard guard(state_->world->lock);
  state_->world->parts.push_back(state_);
}

SimulatedDirectory::~SimulatedDirectory() = default;

std::vector<std::byte> SimulatedDirectory::file(const std::string& name) const {
  const std::lock_guard guard(state_->world->lock);
  return state_->visible.at(name)->medium.visible();
}

void SimulatedDirectory::put_file(const std::string& name, std::vector<std::byte> contents) {
  const std::lock_guard guard(state_->world->lock);
  std::shared_ptr<Inode>& inode = state_->visible[name];
  if (!inode) inode = std::make_shared<Inode>();
  inode->medium = SimulatedMedium(std::move(contents));
  state_->durable[name] = inode;
}

bool SimulatedDirectory::has_file(const std::string& name) const {
  const std::lock_guard guard(state_->world->lock);
  return state_->visible.contains(name);
}

const std::string& SimulatedDirectory::path() const { return state_->path; }

std::unique_ptr<DurableFile> SimulatedDirectory::create(const std::string& name) {
  const std::lock_guard guard(state_->world->lock);
  const SimulatedOutcome outcome = state_->world->begin({OperationKind::kDirectory, name, {}, {}});
  if (!outcome.done()) state_->fail("create", name, outcome.error_number);
  return std::make_unique<File>(state_, name, state_->make(name), true);
}

std::unique_ptr<DurableFile> SimulatedDirectory::open(const std::string& name, bool writable) {
  const std::lock_guard guard(state_->world->lock);
  state_->look("open", name);
  const auto found = state_->visible.find(name);
  if (found == state_->visible.end()) return nullptr;
  return std::make_unique<File>(state_, name, found->second, writable);
}

void SimulatedDirectory::rename(const std::string& from, const std::string& to) {
  const std::lock_guard guard(state_->world->lock);
  if (!state_->world->cut && !state_->visible.contains(from)) state_->fail("rename", from, ENOENT);
  state_->change_names("rename", {from, to, nullptr});
}

void SimulatedDirectory::remove(const std::string& name) {
  const std::lock_guard guard(state_->world->lock);
  if (!state_->world->cut && !state_->visible.contains(name)) return state_->look("remove", name);
  state_->change_names("remove", {name, {}, nullptr});
}

std::vector<std::string> SimulatedDirectory::names() {
  const std::lock_guard guard(state_->world->lock);
  state_->look("list", ".");
  std::vector<std::string> all;
  for (const auto& [name, inode] : state_->visible) all.push_back(name);
  return all;
}

void SimulatedDirectory::sync() {
  const std::lock_guard guard(state_->world->lock);
  const SimulatedOutcome outcome = state_->world->begin({OperationKind::kDirectory, ".", {}, {}});
  if (!outcome.done()) state_->fail("sync", ".", outcome.error_number);
  state_->make_names_durable();
}

std::unique_ptr<FileLock> SimulatedDirectory::try_lock(const std::string& name) {
  const std::lock_guard guard(state_->world->lock);
  state_->look("lock", name);
  if (!state_->visible.contains(name)) state_->make(name);
  if (!state_->locked.insert(name).second) return nullptr;
  return std::make_unique<Lock>(state_, name);
}

bool SimulatedDirectory::is_locked(const std::string& name) {
  const std::lock_guard guard(state_->world->lock);
  state_->look("open", name);
  return state_->locked.contains(name);
}

}  // namespace extmerge
