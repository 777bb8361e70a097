// SPDX-License-Identifier: GPL-3.0-or-later
//
// Fuzzes texts of other programs and the kernel: lvs's JSON, the command log, a pool's status
// line, device numbers, sizes. Input: a byte that selects the parser, then the text.

#include <cstdio>
#include <cstdlib>

#include "cli/show/size.h"
#include "cli/source/dm/device_mapper.h"
#include "cli/source/lvm/report.h"
#include "io/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace extmerge;
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    switch (data[0] % 5) {
      case 0:
        for (const LogicalVolume& volume : parse_lvs(text)) {
          static_cast<void>(volume.dm_uuid());
          if (volume.vg.empty() || volume.name.empty()) {
            std::fprintf(stderr, "a volume without a name\n");
            std::abort();
          }
        }
        break;
      case 1:
        static_cast<void>(reason_in_log(text));
        break;
      case 2:
        static_cast<void>(parse_pool_status(text));
        break;
      case 3:
        static_cast<void>(parse_device_number(text));
        break;
      case 4:
        static_cast<void>(parse_size(text, "--size"));
        break;
    }
  } catch (const Error& error) {
    if (error.id() == MessageId::kInternal) {
      std::fprintf(stderr, "%s\n", error.what());
      std::abort();
    }
  }
  return 0;
}
