// SPDX-License-Identifier: GPL-3.0-or-later
//
// XXH3 is compiled into this file: the distribution's shared library is built for the oldest
// processors and is several times slower.

#define XXH_INLINE_ALL
#include "merge/plan/digest.h"

#include <xxhash.h>

#include "io/endian.h"
#include "io/text.h"

namespace extmerge {

void RunDigest::add(const Run& run) {
  const uint64_t tagged = static_cast<uint64_t>(run.content) << 62 | run.blocks;
  const le64 triple[] = {le64(run.thin.value()), le64(run.data.value()), le64(tagged)};
  const XXH128_hash_t hash = XXH3_128bits(triple, sizeof triple);
  low_ += hash.low64;
  high_ += hash.high64;
}

void RunDigest::add(const RunDigest& other) {
  low_ += other.low_;
  high_ += other.high_;
}

PlanDigest RunDigest::finish(const PlanLimits& limits) const {
  const le64 whole[] = {le64(low_), le64(high_), le64(limits.block_size.bytes().value()),
                        le64(limits.end.value())};
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(whole, sizeof whole));
  PlanDigest digest;
  static_assert(sizeof canonical.digest == sizeof digest.bytes);
  std::memcpy(digest.bytes.data(), canonical.digest, sizeof canonical.digest);
  return digest;
}

std::string to_string(const PlanDigest& digest) { return hex(digest.bytes); }

}  // namespace extmerge
