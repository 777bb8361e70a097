// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/durable_file.h"

#include "io/error.h"

namespace extmerge {

std::unique_ptr<DurableFile> create_whole(DurableDirectory& directory, const std::string& name,
                                          const std::string& aside,
                                          std::span<const std::byte> contents) {
  try {
    std::unique_ptr<DurableFile> file = directory.create(aside);
    file->write(Bytes(0), contents);
    file->sync();
    directory.rename(aside, name);
    return file;
  } catch (const Error&) {
    remove_if_possible(directory, aside);
    throw;
  }
}

void remove_if_possible(DurableDirectory& directory, const std::string& name) {
  try {
    directory.remove(name);
  } catch (const Error&) {
  }
}

}  // namespace extmerge
