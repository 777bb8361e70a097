// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/lvm.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/printable.h"
#include "io/error.h"
#include "io/run_command.h"

namespace extmerge {

namespace fs = std::filesystem;

namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text = "lvm";
  for (const std::string& word : words) text += " " + word;
  return text;
}

// The line in which LVM says what is wrong; it warns of other things as well.
std::string complaint(const std::string& errors) {
  std::string text;
  std::istringstream lines(errors);
  for (std::string line; std::getline(lines, line);) {
    const size_t begin = line.find_first_not_of(' ');
    if (begin == std::string::npos || line.compare(begin, 8, "WARNING:") == 0) continue;
    text += (text.empty() ? "" : "; ") + line.substr(begin);
  }
  return text.empty() ? "it did not say why" : text;
}

// LVM fails in many words where it only lacks permission.
void check_root(const std::string& errors) {
  if (::geteuid() == 0 || errors.find("ermission denied") == std::string::npos) return;
  throw Error(MessageId::kPermission, "LVM lacks permission: " + complaint(errors),
              "run extmerge as root");
}

// LVM writes a file beside the one it is asked for and renames it, so it needs a
// folder of its own.
class PrivateFolder {
 public:
  PrivateFolder() {
    const char* const root = ::access("/run", W_OK) == 0 ? "/run" : "/tmp";
    path_ = std::string(root) + "/extmerge.XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) {
      throw system_error("make", path_, errno, MessageId::kCommandFailed);
    }
  }
  ~PrivateFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  PrivateFolder(const PrivateFolder&) = delete;
  PrivateFolder& operator=(const PrivateFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

Lvm::Lvm() {
  for (const char* candidate : {"/usr/sbin/lvm", "/sbin/lvm"}) {
    if (::access(candidate, X_OK) != 0) continue;
    program_ = candidate;
    return;
  }
  throw Error(MessageId::kCommandFailed, "there is no /usr/sbin/lvm",
              "install lvm2, or name the devices: --metadata, --data, --thin-id and --origin");
}

std::vector<LogicalVolume> Lvm::volumes(const std::string& vg) const {
  std::vector<std::string> words = {program_, "lvs",       "-a", "--reportformat",
                                    "json",   "--units",   "b",  "--nosuffix",
                                    "-o",     lvs_fields()};
  if (!vg.empty()) words.push_back(vg);
  const CommandResult result = run_command(words);
  if (result.exit_status != 0) {
    check_root(result.errors);
    const bool missing = !vg.empty() && result.errors.find("not found") != std::string::npos;
    throw Error(missing ? MessageId::kGroupAbsent : MessageId::kLvmRefused,
                "LVM cannot list the volumes of " + (vg.empty() ? "this system" : vg) + ": " +
                    complaint(result.errors),
                missing ? "attach the disks of the group, or check the name (vgs); a path begins "
                          "with / or ./"
                        : "check the name (lvs); a path begins with / or ./");
  }
  return parse_lvs(result.output);
}

std::map<std::string, std::string> Lvm::external_origins(const std::string& vg) const {
  const PrivateFolder folder;
  const std::string path = folder.path() + "/metadata";
  run({"vgcfgbackup", "-f", path, vg}, "see vgs " + vg);
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return parse_external_origins(text.str());
}

void Lvm::run(const std::vector<std::string>& words, const std::string& next) const {
  run(words, next, {});
}

void Lvm::run_unannounced(const std::vector<std::string>& words, const std::string& next) const {
  run(words, next, {"DM_DISABLE_UDEV=1"});
}

void Lvm::run(const std::vector<std::string>& words, const std::string& next,
              const std::vector<std::string>& environment) const {
  std::vector<std::string> arguments = {program_};
  arguments.insert(arguments.end(), words.begin(), words.end());
  const CommandResult result = run_command(arguments, {}, environment);
  spdlog::debug("{}: {}", printable(joined(words)), result.exit_status);
  if (result.exit_status == 0) return;
  check_root(result.errors);
  throw Error(MessageId::kLvmRefused, joined(words) + " failed: " + complaint(result.errors), next);
}

}  // namespace extmerge
