// SPDX-License-Identifier: GPL-3.0-or-later
//
// A block device or an image file as a BlockDevice, over libaio.
//
// Devices are always opened with O_DIRECT. So are files, if the file system takes it and the
// caller's ends are aligned for it. Other files are buffered, which is as durable (flush() is the
// same) but slower.

#pragma once

#include <memory>
#include <string>

#include "io/block_device.h"
#include "io/device_facts.h"
#include "io/file_descriptor.h"

namespace extmerge {

enum class OpenMode {
  kReadOnly,
  kProbe,  // refused exactly where kClaim would be, but claims nothing; a device is
           // opened for reading only, since udev probes one that was open for writing
  kClaim,  // read-write, and exclusive: O_EXCL on a device, and flock() on either and
           // on what a loop device stands on
  kShare,  // read-write and flock(), but no O_EXCL: only where every holder of a
           // device is known to be harmless (merge/preflight.h)
};

class FileDevice : public BlockDevice {
 public:
  // `facts` come from the same path (inspect()). The path must still lead to that file
  // (kPathChanged). All offsets and lengths are multiples of `ends_multiple_of`; a file whose
  // direct I/O needs more is opened buffered. Throws as system_error() does; kInUse if another
  // program has claimed the device or locked it with fcntl(), kLocked if the flock is taken.
  static std::unique_ptr<FileDevice> open(const DeviceFacts& facts, OpenMode mode,
                                          Bytes ends_multiple_of);

  // Takes a device that the caller has opened read-write with O_EXCL and O_DIRECT and keeps open.
  // The result is as with kClaim, but at no moment can another program claim the device.
  static std::unique_ptr<FileDevice> adopt(FileDescriptor file, const DeviceFacts& facts);

  // False if the file is read and written through the page cache.
  virtual bool is_direct() const = 0;
};

// Claims the device as kClaim does, while the descriptor is open, but read-only.
FileDescriptor claim_read_only(const DeviceFacts& facts);

}  // namespace extmerge
