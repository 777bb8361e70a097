// SPDX-License-Identifier: GPL-3.0-or-later
//
// XXH3 is compiled into this file: the shared library of the distribution is
// built for the oldest processors and several times slower.

#define XXH_INLINE_ALL
#include "merge/run_digest.h"

#include <xxhash.h>

#include "io/endian.h"

namespace extmerge {

struct RunDigest::State {
  XXH3_state_t hash;
};

RunDigest::RunDigest() : state_(std::make_unique<State>()) { XXH3_128bits_reset(&state_->hash); }
RunDigest::~RunDigest() = default;
RunDigest::RunDigest(RunDigest&&) noexcept = default;
RunDigest& RunDigest::operator=(RunDigest&&) noexcept = default;

void RunDigest::add(const Run& run) {
  const le64 triple[] = {le64(run.thin.value()), le64(run.data.value()), le64(run.blocks)};
  XXH3_128bits_update(&state_->hash, triple, sizeof triple);
}

PlanDigest RunDigest::finish(const PlanLimits& limits) {
  const le64 ends[] = {le64(limits.block_size.bytes().value()), le64(limits.end.value())};
  XXH3_128bits_update(&state_->hash, ends, sizeof ends);
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&state_->hash));
  PlanDigest digest;
  static_assert(sizeof canonical.digest == sizeof digest.bytes);
  std::memcpy(digest.bytes.data(), canonical.digest, sizeof canonical.digest);
  return digest;
}

std::string to_string(const PlanDigest& digest) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : digest.bytes) {
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

}  // namespace extmerge
