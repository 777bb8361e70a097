// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/error.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace extmerge {
namespace {

TEST(Error, OfAFileThatIsTooLargeDoesNotAskForRoom) {
  const Error error = system_error("write", "/journal", EFBIG, MessageId::kJournalIo);
  EXPECT_EQ(error.id(), MessageId::kNoSpace);
  EXPECT_NE(error.next().find("ulimit -f"), std::string::npos) << error.next();
  EXPECT_EQ(error.next().find("make room"), std::string::npos) << error.next();
}

TEST(Error, OfASourceThatCannotBeLookedAtNamesItAndTheCure) {
  const Error error = cannot_look("/proc/swaps", "it is empty", "mount it");
  EXPECT_EQ(to_string(error.id()), "EXM-308");
  EXPECT_EQ(error.exit_status(), 3);
  EXPECT_STREQ(error.what(), "cannot look at /proc/swaps: it is empty");
  EXPECT_EQ(error.next(), "mount it");
}

void expect_status(MessageId id, const std::string& name, int exit_status) {
  EXPECT_EQ(to_string(id), name);
  EXPECT_EQ(Error(id, "", "").exit_status(), exit_status);
}

TEST(Error, TheHundredsOfAnIdAreTheExitStatus) {
  expect_status(MessageId::kInternal, "EXM-001", 10);
  expect_status(MessageId::kReadOnly, "EXM-403", 4);
  expect_status(MessageId::kMetadataBusy, "EXM-904", 9);
  expect_status(MessageId::kGroupAbsent, "EXM-1101", 11);
}

}  // namespace
}  // namespace extmerge
