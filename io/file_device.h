// SPDX-License-Identifier: GPL-3.0-or-later
//
// A block device or an image file as a BlockDevice, over libaio.
//
// Devices are always opened with O_DIRECT. Files are where the file system
// takes it and the caller's ends are aligned for it; otherwise they are opened
// buffered, which is as durable (flush() is the same either way) and slower.

#pragma once

#include <memory>
#include <string>

#include "io/block_device.h"
#include "io/device_facts.h"
#include "io/file_descriptor.h"

namespace extmerge {

enum class OpenMode {
  kReadOnly,
  kProbe,  // refused exactly where kClaim would be, to ask and not to keep; a device is
           // opened for reading only, since udev probes one that was open for writing
  kClaim,  // read-write, and exclusive: O_EXCL on a device, and flock() on either and
           // on what a loop device stands on
  kShare,  // read-write and flock(), but no O_EXCL: only where every holder of a
           // device is known to be harmless (merge/preflight.h)
};

class FileDevice : public BlockDevice {
 public:
  // `facts` were gathered from the same path (inspect()); the opened file must
  // still be the one they describe (kPathChanged). `ends_multiple_of` is what
  // offsets and lengths can be relied on to be multiples of: a file whose
  // direct I/O needs more is opened buffered. Throws as system_error() does;
  // kInUse for a claimed device, or one that somebody else has locked with
  // fcntl(), kLocked where the flock is taken.
  static std::unique_ptr<FileDevice> open(const DeviceFacts& facts, OpenMode mode,
                                          Bytes ends_multiple_of);

  // A device that the caller has opened already, read-write, with O_EXCL and O_DIRECT, and
  // keeps open: as with kClaim, without a moment in which another could claim it.
  static std::unique_ptr<FileDevice> adopt(FileDescriptor file, const DeviceFacts& facts);

  // False for a file that is read and written through the page cache.
  virtual bool is_direct() const = 0;
};

// The device, claimed as by kClaim for as long as the descriptor is open, but not to be written to.
FileDescriptor claim_read_only(const DeviceFacts& facts);

}  // namespace extmerge
