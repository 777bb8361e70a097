// SPDX-License-Identifier: GPL-3.0-or-later
//
// An NBD export as a BlockDevice, over libnbd. libnbd speaks the protocol, parses the URI and sets
// up TLS. This code adds queues, a limit on the time of a connection, and the refusals.
//
// If the server allows several connections to one export, the queues have up to four of them.
// Otherwise all queues share one. A lost connection is not set up again: its requests fail with
// ENOTCONN, and so do all later ones. A new connection may reach a server that has lost the
// unflushed writes.

#pragma once

#include <memory>
#include <string>

#include "io/block_device.h"

namespace extmerge {

// Whether the text begins like the URI of an NBD export: nbd://, nbds://, nbd+unix://,
// nbds+unix://, nbd+vsock: or nbds+vsock:.
bool is_nbd_uri(const std::string& text);

// "nbd:" and the URI without the user and the password. It is no certain identity (io/identity.h),
// because another server can have the same address.
std::string nbd_identity(const std::string& uri);

class NbdDevice : public BlockDevice {
 public:
  // Throws kUsage if the URI is wrong, kNotFound if the server or the export cannot be found,
  // kPermission if TLS fails or the URI lacks what it needs, kUnfitExport if the server refuses,
  // and kOddSize if the end of the export cannot be read. If `writable`, throws kReadOnly for a
  // read-only export, and kUnfitExport for an export without flush. Without `writable`, writes fail
  // with EBADF.
  static std::shared_ptr<NbdDevice> open(const std::string& uri, bool writable);
};

}  // namespace extmerge
