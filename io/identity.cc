// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/identity.h"

#include <algorithm>
#include <string_view>

namespace extmerge {

namespace {

constexpr std::string_view kFile = "file:ino=";
constexpr std::string_view kBorn = ",born=";

// "loop:file:ino=12,born=1.5" ",fs=0123456789abcdef" ",on=0123456789abcdef" "+4096"
struct Parts {
  std::string before, file_system, device, after;
};

// Removes `key` and the hash behind it from the start of the text, if both are there.
std::string take(std::string& text, std::string_view key) {
  if (!text.starts_with(key)) return "";
  const size_t end = text.find_first_not_of("0123456789abcdef", key.size());
  std::string part = text.substr(0, end);
  text.erase(0, part.size());
  return part;
}

Parts parts_of(const std::string& identity) {
  const size_t file = identity.find(kFile);
  const size_t born = file == std::string::npos ? file : identity.find(kBorn, file);
  if (born == std::string::npos) return {identity, "", "", ""};
  const size_t place = identity.find_first_not_of("0123456789.", born + kBorn.size());
  Parts parts;
  parts.before = identity.substr(0, place);
  parts.after = place == std::string::npos ? "" : identity.substr(place);
  parts.file_system = take(parts.after, ",fs=");
  parts.device = take(parts.after, ",on=");
  if (parts.device.empty()) parts.device = take(parts.after, ",over=");
  return parts;
}

bool may_be_same(const std::string& a, const std::string& b) {
  return a == b || a.empty() || b.empty();
}

}  // namespace

bool is_same_identity(const std::string& a, const std::string& b) {
  const Parts one = parts_of(a), other = parts_of(b);
  return one.before == other.before && one.after == other.after &&
         may_be_same(one.file_system, other.file_system) && may_be_same(one.device, other.device);
}

std::vector<std::string> shorter_identities(const std::string& identity) {
  const Parts parts = parts_of(identity);
  std::vector<std::string> shorter;
  for (const std::string& kept : {parts.file_system, parts.device, std::string()}) {
    std::string name = parts.before + kept + parts.after;
    if (name != identity && std::ranges::find(shorter, name) == shorter.end()) {
      shorter.push_back(std::move(name));
    }
  }
  return shorter;
}

bool is_certain_identity(const std::string& identity) {
  if (identity.starts_with("device:") || identity.starts_with("dm-name:") ||
      identity.starts_with("nbd:")) {
    return false;
  }
  const bool is_of_file = identity.find(kFile) != std::string::npos;
  return !is_of_file || parts_of(identity).device.starts_with(",on=");
}

}  // namespace extmerge
