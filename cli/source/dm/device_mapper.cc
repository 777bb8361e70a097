// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/dm/device_mapper.h"

#include <libdevmapper.h>
#include <spdlog/spdlog.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <sstream>
#include <thread>

#include "io/block_drivers.h"
#include "io/error.h"
#include "io/sysfs.h"
#include "io/text.h"

namespace extmerge {

namespace {

using Task = std::unique_ptr<dm_task, decltype(&dm_task_destroy)>;

// libdevmapper writes to standard error unless it gets a log function.
[[gnu::format(printf, 5, 6)]] void log_library(int, const char*, int, int, const char* format,
                                               ...) {
  std::array<char, 512> text{};
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  spdlog::trace("device-mapper: {}", text.data());
}

// libdevmapper's exit handler also logs, and runs when the logger is already destroyed.
void release_library() {
  dm_lib_release();
  dm_log_with_errno_init(nullptr);
}

Task make_task(int type) {
  [[maybe_unused]] static const int registered = std::atexit(release_library);
  // A name is the one in the kernel and in /dev/mapper: dmsetup makes "a\x20b" of "a b".
  dm_set_name_mangling_mode(DM_STRING_MANGLING_NONE);
  dm_log_with_errno_init(log_library);
  return {dm_task_create(type), dm_task_destroy};
}

Task make_task(int type, uint64_t device_number) {
  Task task = make_task(type);
  if (task && (!dm_task_set_major(task.get(), static_cast<int>(major(device_number))) ||
               !dm_task_set_minor(task.get(), static_cast<int>(minor(device_number))))) {
    task.reset();
  }
  return task;
}

bool run(const Task& task) { return task && dm_task_run(task.get()); }

// Runs a query task. False if no such device exists.
bool ask(const Task& task) {
  if (run(task)) return true;
  // The errno is 0 if the library failed before it asked the kernel.
  const int error_number = task ? dm_task_get_errno(task.get()) : ENOMEM;
  if (error_number == ENXIO || !has_block_driver("device-mapper")) return false;
  const std::string control = std::string(dm_dir()) + "/control";
  if (::geteuid() != 0 && ::access(control.c_str(), R_OK | W_OK) != 0 && errno == EACCES) {
    throw Error(MessageId::kPermission, "device-mapper does not answer this user",
                "run extmerge as root");
  }
  std::string why = "device-mapper does not answer";
  if (error_number != 0 || ::access(control.c_str(), R_OK | W_OK) != 0) {
    why += ": " + errno_text(error_number != 0 ? error_number : errno);
  }
  throw cannot_look(control, why,
                    "run extmerge as root, where /dev is the system's own (mount -t devtmpfs "
                    "devtmpfs /dev, then dmsetup mknodes); dmsetup info must work");
}

int error_number_of(const Task& task) {
  const int error_number = task ? dm_task_get_errno(task.get()) : 0;
  return error_number != 0 ? error_number : EINVAL;
}

std::string number_text(uint64_t device_number) {
  return std::to_string(major(device_number)) + ":" + std::to_string(minor(device_number));
}

DmTarget target_of(uint64_t start, uint64_t length, const char* type, const char* parameters) {
  DmTarget target;
  target.type = type;
  target.start = start;
  target.length = length;
  std::istringstream words(parameters ? parameters : "");
  for (std::string word; words >> word;) target.arguments.push_back(word);
  return target;
}

std::vector<DmTarget> targets_of(dm_task* task) {
  std::vector<DmTarget> targets;
  void* next = nullptr;
  do {
    uint64_t start = 0, length = 0;
    char* type = nullptr;
    char* parameters = nullptr;
    next = dm_get_next_target(task, next, &start, &length, &type, &parameters);
    if (type) targets.push_back(target_of(start, length, type, parameters));
  } while (next);
  return targets;
}

Error cannot(const std::string& deed, uint64_t device_number, int error_number) {
  return system_error(deed, "the device-mapper device " + number_text(device_number), error_number,
                      MessageId::kLvmRefused);
}

void load(uint64_t device_number, const std::vector<DmTarget>& targets, bool read_only) {
  const Task task = make_task(DM_DEVICE_RELOAD, device_number);
  bool complete = task && (!read_only || dm_task_set_ro(task.get()));
  for (const DmTarget& target : targets) {
    const std::string parameters = joined(target.arguments, " ");
    complete = complete && dm_task_add_target(task.get(), target.start, target.length,
                                              target.type.c_str(), parameters.c_str());
  }
  if (!complete || !run(task)) {
    throw cannot("load the table of", device_number, error_number_of(task));
  }
}

// LVM may resume the device at the same moment, since it activates a thin over it. The kernel then
// drops the loaded table and answers EINVAL (dm_swap_table() finds the device not suspended).
void swap_table(uint64_t device_number, const std::vector<DmTarget>& targets, bool read_only,
                const UdevStep& udev, UdevRules rules) {
  for (unsigned tries = 5;; --tries) {
    load(device_number, targets, read_only);
    const Task task = make_task(DM_DEVICE_RESUME, device_number);
    if (task && udev.run(task.get(), rules)) return;
    if (error_number_of(task) != EINVAL || tries == 1) {
      throw cannot("resume", device_number, error_number_of(task));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

DmTable table_of(uint64_t device_number) {
  auto table = read_dm_table(device_number);
  if (!table) throw cannot("read the table of", device_number, ENXIO);
  return *std::move(table);
}

uint64_t length_of(const DmTable& table) {
  return table.targets.empty() ? 0 : table.targets.back().start + table.targets.back().length;
}

// A task that removes the device by name: without udev, libdevmapper needs the name to remove the
// node.
Task removal_of(uint64_t device_number) {
  Task task = make_task(DM_DEVICE_REMOVE);
  if (task && !dm_task_set_name(task.get(), table_of(device_number).name.c_str())) task.reset();
  return task;
}

bool becomes_true(const std::function<bool()>& condition) {
  constexpr std::chrono::milliseconds kPause{20};
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

// "112/1024", "253:1027"
template <typename Number>
bool parse_pair(std::string_view text, char between, Number& first, Number& second) {
  const size_t at = text.find(between);
  return at != std::string_view::npos && parse_whole(text.substr(0, at), first) &&
         parse_whole(text.substr(at + 1), second);
}

// Makes a device with that table, which udev and libblkid skip. Returns its number.
uint64_t make_hidden_node(const DmTarget& target, const std::string& name, const std::string& uuid,
                          bool read_only, const UdevStep& udev) {
  const Task task = make_task(DM_DEVICE_CREATE);
  if (!task || !dm_task_set_name(task.get(), name.c_str()) ||
      !dm_task_set_uuid(task.get(), uuid.c_str()) ||
      !dm_task_add_target(task.get(), target.start, target.length, target.type.c_str(),
                          joined(target.arguments, " ").c_str()) ||
      (read_only && !dm_task_set_ro(task.get())) || !udev.run(task.get(), UdevRules::kHidden)) {
    throw system_error("make", "the device-mapper device " + name, error_number_of(task),
                       MessageId::kLvmRefused);
  }
  if (const auto made = find_dm_device(uuid)) return *made;
  throw system_error("find", "the device-mapper device " + name, ENXIO, MessageId::kLvmRefused);
}

}  // namespace

std::optional<uint64_t> parse_device_number(const std::string& text) {
  unsigned high = 0, low = 0;
  if (!parse_pair(text, ':', high, low)) return {};
  return makedev(high, low);
}

std::optional<DmTable> read_dm_table(uint64_t device_number) {
  const Task task = make_task(DM_DEVICE_TABLE, device_number);
  if (!ask(task)) return {};
  dm_info info{};
  if (!dm_task_get_info(task.get(), &info) || !info.exists) return {};
  DmTable table;
  if (const char* name = dm_task_get_name(task.get())) table.name = name;
  if (const char* uuid = dm_task_get_uuid(task.get())) table.uuid = uuid;
  table.read_only = info.read_only != 0;
  table.suspended = info.suspended != 0;
  table.has_inactive = info.inactive_table != 0;
  table.open_count = info.open_count;
  table.targets = targets_of(task.get());
  return table;
}

std::optional<uint64_t> find_dm_device(const std::string& uuid) {
  const Task task = make_task(DM_DEVICE_INFO);
  dm_info info{};
  if (task && !dm_task_set_uuid(task.get(), uuid.c_str())) return {};
  if (!ask(task) || !dm_task_get_info(task.get(), &info) || !info.exists) return {};
  return makedev(info.major, info.minor);
}

std::vector<uint64_t> all_dm_devices() {
  std::vector<uint64_t> numbers;
  const Task task = make_task(DM_DEVICE_LIST);
  if (!ask(task)) return numbers;
  const dm_names* names = dm_task_get_names(task.get());
  if (!names || names->dev == 0) return numbers;
  // Each record holds the distance to the next one.
  for (const auto* at = reinterpret_cast<const char*>(names);;) {
    const auto* const name = reinterpret_cast<const dm_names*>(at);
    numbers.push_back(name->dev);
    if (name->next == 0) return numbers;
    at += name->next;
  }
}

bool has_dm_target(const std::string& type) {
  const Task task = make_task(DM_DEVICE_LIST_VERSIONS);
  if (!ask(task)) return false;
  // Each record holds the distance to the next one.
  for (const auto* at = reinterpret_cast<const char*>(dm_task_get_versions(task.get())); at;) {
    const auto* const target = reinterpret_cast<const dm_versions*>(at);
    if (target->name == type) return true;
    at = target->next == 0 ? nullptr : at + target->next;
  }
  return false;
}

std::string dm_path(const DmTable& table) { return "/dev/mapper/" + table.name; }

std::string path_of_device(uint64_t device_number) {
  if (const auto table = read_dm_table(device_number)) return dm_path(*table);
  return "/dev/" + SysfsBlock(SystemRoot{}, device_number).kernel_name();
}

DeviceFacts facts_of_device(uint64_t device_number) {
  return inspect_device(device_number, path_of_device(device_number));
}

void reload_dm_table(uint64_t device_number, bool read_only, const UdevStep& udev,
                     UdevRules rules) {
  swap_table(device_number, table_of(device_number).targets, read_only, udev, rules);
}

void load_error_table(uint64_t device_number, const UdevStep& udev) {
  DmTarget fails;
  fails.type = "error";
  fails.length = length_of(table_of(device_number));
  swap_table(device_number, {fails}, true, udev, UdevRules::kNamesOnly);
}

uint64_t make_node_over(uint64_t below, const std::string& name, const std::string& uuid,
                        bool read_only, const UdevStep& udev) {
  const DmTarget target{"linear", {number_text(below), "0"}, 0, length_of(table_of(below))};
  return make_hidden_node(target, name, uuid, read_only, udev);
}

uint64_t make_thin_node(uint64_t pool, ThinId id, std::optional<uint64_t> origin, Bytes size,
                        const std::string& name, const std::string& uuid, const UdevStep& udev) {
  DmTarget target{
      "thin", {number_text(pool), std::to_string(value(id))}, 0, size.value() / kSectorSize};
  if (origin) target.arguments.push_back(number_text(*origin));
  return make_hidden_node(target, name, uuid, false, udev);
}

bool remove_dm_device(uint64_t device_number, const UdevStep& udev) {
  const Task task = removal_of(device_number);
  if (task) dm_task_retry_remove(task.get());
  if (task && udev.run(task.get(), UdevRules::kHidden)) return true;
  if (error_number_of(task) == EBUSY) return false;
  throw cannot("remove", device_number, error_number_of(task));
}

void remove_when_closed(uint64_t device_number, const UdevStep& udev) {
  const Task task = removal_of(device_number);
  if (!task || !dm_task_deferred_remove(task.get()) ||
      !udev.run(task.get(), UdevRules::kHiddenUntilClosed)) {
    throw cannot("remove", device_number, error_number_of(task));
  }
}

bool closes_soon(uint64_t device_number, int own) {
  return becomes_true([&] {
    const auto table = read_dm_table(device_number);
    return !table || table->open_count <= own;
  });
}

bool goes_soon(const std::string& uuid) {
  return becomes_true([&] { return !find_dm_device(uuid); });
}

void clear_inactive_table(uint64_t device_number) {
  const Task task = make_task(DM_DEVICE_CLEAR, device_number);
  if (!run(task)) throw cannot("clear the inactive table of", device_number, error_number_of(task));
}

std::optional<PoolStatus> parse_pool_status(const std::string& text) {
  std::istringstream words(text);
  PoolStatus status;
  std::string first, metadata, data, held;
  words >> first;
  if (first == "Fail" || first == "Error") {
    status.mode = first;
    return status;
  }
  if (!parse_whole(first, status.transaction_id) ||
      !(words >> metadata >> data >> held >> status.mode) ||
      !parse_pair(metadata, '/', status.used_metadata, status.total_metadata) ||
      !parse_pair(data, '/', status.used_data, status.total_data)) {
    return {};
  }
  if (held != "-") {
    uint64_t block = 0;
    if (!parse_whole(held, block)) return {};
    status.held_root = MetadataBlock(block);
  }
  for (std::string word; words >> word;) status.needs_check |= word == "needs_check";
  return status;
}

std::vector<DmTarget> read_dm_status(uint64_t device_number) {
  const Task task = make_task(DM_DEVICE_STATUS, device_number);
  if (task) dm_task_no_flush(task.get());
  return run(task) ? targets_of(task.get()) : std::vector<DmTarget>{};
}

PoolStatus pool_status(uint64_t device_number) {
  const std::vector<DmTarget> targets = read_dm_status(device_number);
  if (!targets.empty() && targets.front().type == "thin-pool") {
    const auto status = parse_pool_status(joined(targets.front().arguments, " "));
    if (status) return *status;
  }
  throw Error(MessageId::kUnfitPool,
              "the thin pool " + number_text(device_number) + " does not tell its status",
              "see dmsetup status and the kernel's log");
}

int send_pool_message(uint64_t device_number, const std::string& message) {
  const Task task = make_task(DM_DEVICE_TARGET_MSG, device_number);
  if (task && dm_task_set_sector(task.get(), 0) &&
      dm_task_set_message(task.get(), message.c_str()) && run(task)) {
    return 0;
  }
  return error_number_of(task);
}

}  // namespace extmerge
