// SPDX-License-Identifier: GPL-3.0-or-later
//
// JOURNAL.lvm, written to and read from a real directory.

#include "cli/source/change_record.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <fstream>
#include <sstream>

#include "io/posix_directory.h"
#include "tests/io/scratch.h"

namespace extmerge {
namespace {

constexpr const char* kJournal = "0123456789abcdef.journal";

SystemChanges all_of_them() {
  SystemChanges changes;
  changes.vg = "vg";
  changes.thin = "sn--ap \"x\"\n";
  changes.thin_uuid = "dIqn9z-Nw5N-dBwi-bbjZ-2Au1-mOw9-mv8llc";
  changes.origin = "origin";
  changes.origin_uuid = "RZ1ih4-Bh66-5qpS-Brow-Un0K-iCQ3-A2wHyD";
  changes.freeze = "snap_extmerge_0badcafe";
  changes.freeze_uuid = "pkrAUg-Ch5Y-OGki-6F22-f84O-Whcw-dvLNvY";
  changes.freeze_id = 16777215;
  changes.freeze_transaction = UINT64_MAX;
  changes.merged_id = 16777214;
  changes.pool = "vg-pool-tpool";
  changes.pool_uuid = "LVM-dIqn9zNw5NdBwibbjZ2Au1mOw9mv8llcdIqn9zNw5NdBwibbjZ2Au1mOw9mv8llc-tpool";
  changes.holding = true;
  changes.held = "81:7:3:40:41";
  changes.origin_marked = true;
  changes.origin_was_active = true;
  changes.origin_skipped_activation = true;
  changes.pool_was_active = false;
  changes.boot = "5c1c4f2e-8f0e-4c53-9f57-8a2b1f0d6a11\n";
  changes.origin_activated = true;
  changes.thin_kept_inactive = true;
  changes.thin_was_active = true;
  changes.removing = true;
  changes.siblings = {"Ui3Fzz-TaGK-bJ1k-Zt4E-2Kpw-uVnO-9Yq0Da"};
  changes.sibling_pool = {"vg-pool2-tpool", "LVM-dIqn9z-tpool", true, "81:7:3:40:41"};
  changes.sibling_pools = {"gM7ZbH-8Xou-cIyS-rM1b-0dkO-Wv3A-fJq2Lk"};
  changes.given_up = {{"tue", "4Nrdao-khHX-OdnG-jcvB-jpZt-5oNr-TnpVxB", true, false},
                      {"m\"n", "f01HZb-nDeW-0Vg0-ftXe-gTSM-4hZq-g0A3mU", false, true}};
  changes.rest = {.name = "extmerge_rest_13a9a47b",
                  .uuid = "4Nrdao-khHX-OdnG-jcvB-jpZt-5oNr-TnpVxB",
                  .from = 12582912,
                  .length = 4096,
                  .is_whole = true,
                  .carrier = "extmerge_layer_0a1b2c3d"};
  return changes;
}

void expect_equal(const SystemChanges& a, const SystemChanges& b) {
  EXPECT_EQ(a.vg, b.vg);
  EXPECT_EQ(a.thin, b.thin);
  EXPECT_EQ(a.thin_uuid, b.thin_uuid);
  EXPECT_EQ(a.origin, b.origin);
  EXPECT_EQ(a.origin_uuid, b.origin_uuid);
  EXPECT_EQ(a.freeze, b.freeze);
  EXPECT_EQ(a.freeze_uuid, b.freeze_uuid);
  EXPECT_EQ(a.freeze_id, b.freeze_id);
  EXPECT_EQ(a.merged_id, b.merged_id);
  EXPECT_EQ(a.freeze_transaction, b.freeze_transaction);
  EXPECT_EQ(a.pool, b.pool);
  EXPECT_EQ(a.pool_uuid, b.pool_uuid);
  EXPECT_EQ(a.holding, b.holding);
  EXPECT_EQ(a.held, b.held);
  EXPECT_EQ(a.origin_marked, b.origin_marked);
  EXPECT_EQ(a.origin_was_active, b.origin_was_active);
  EXPECT_EQ(a.origin_skipped_activation, b.origin_skipped_activation);
  EXPECT_EQ(a.pool_was_active, b.pool_was_active);
  EXPECT_EQ(a.boot, b.boot);
  EXPECT_EQ(a.origin_activated, b.origin_activated);
  EXPECT_EQ(a.thin_kept_inactive, b.thin_kept_inactive);
  EXPECT_EQ(a.thin_was_active, b.thin_was_active);
  EXPECT_EQ(a.removing, b.removing);
  EXPECT_EQ(a.siblings, b.siblings);
  EXPECT_EQ(a.sibling_pool, b.sibling_pool);
  EXPECT_EQ(a.sibling_pools, b.sibling_pools);
  EXPECT_EQ(a.given_up, b.given_up);
  EXPECT_EQ(a.rest, b.rest);
}

class Changes : public testing::Test {
 protected:
  void SetUp() override { directory_ = open_directory(scratch_ / "state", true); }

  std::string path() const { return scratch_ / "state/" + changes_name(kJournal); }
  std::string text() const {
    std::ifstream file(path(), std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  void put(const std::string& text) const {
    std::ofstream(path(), std::ios::binary) << text;
    ASSERT_EQ(::chmod(path().c_str(), 0600), 0);
  }
  MessageId reading() {
    return thrown_by([&] { read_changes(*directory_, kJournal); });
  }

  ScratchDirectory scratch_;
  std::unique_ptr<DurableDirectory> directory_;
};

TEST_F(Changes, AreNothingWhereThereIsNoFile) {
  EXPECT_FALSE(read_changes(*directory_, kJournal));
  EXPECT_EQ(directory_->names(), std::vector<std::string>{});
}

TEST_F(Changes, ComeBackAsTheyWereWritten) {
  write_changes(*directory_, kJournal, all_of_them());
  const auto read = read_changes(*directory_, kJournal);
  ASSERT_TRUE(read);
  expect_equal(*read, all_of_them());
  EXPECT_TRUE(read->is_of_lvm());
  EXPECT_EQ(read->origin_name(), "vg/origin");
}

TEST_F(Changes, OfAVersionThatDidNotRecordTheFreezesUuidAreRead) {
  write_changes(*directory_, kJournal, all_of_them());
  std::string older = text();
  const size_t begin = older.find("\"freeze_uuid\"");
  ASSERT_NE(begin, std::string::npos);
  put(older.erase(begin, older.find('\n', begin) - begin));
  SystemChanges changes = all_of_them();
  changes.freeze_uuid.clear();
  expect_equal(*read_changes(*directory_, kJournal), changes);
}

TEST_F(Changes, OfAPlainThinHaveNoGroup) {
  SystemChanges changes;
  changes.thin = "thin";
  write_changes(*directory_, kJournal, changes);
  const auto read = read_changes(*directory_, kJournal);
  ASSERT_TRUE(read);
  expect_equal(*read, changes);
  EXPECT_FALSE(read->is_of_lvm());
  EXPECT_EQ(read->thin_name(), "thin");
  EXPECT_EQ(read->freeze_id, std::nullopt);
}

TEST_F(Changes, AreReplacedWholeAndLeaveNothingBeside) {
  write_changes(*directory_, kJournal, all_of_them());
  write_changes(*directory_, kJournal, SystemChanges{});
  expect_equal(*read_changes(*directory_, kJournal), SystemChanges{});
  EXPECT_EQ(directory_->names(), std::vector<std::string>{changes_name(kJournal)});
  struct stat status {};
  ASSERT_EQ(::stat(path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
}

TEST_F(Changes, ThatAreCutShortAreDamagedWhereverTheCutIs) {
  write_changes(*directory_, kJournal, all_of_them());
  const std::string whole = text();
  const size_t end = whole.rfind('}');
  for (size_t length = 0; length <= end; ++length) {
    put(whole.substr(0, length));
    EXPECT_EQ(reading(), MessageId::kDamagedJournal) << length;
  }
}

TEST_F(Changes, ThatAreOfAnotherKindOrVersionAreDamaged) {
  for (const char* other :
       {"null", "[]", "7", "{}", "\"extmerge-changes/1\"", "{\"schema\":\"extmerge-changes/2\"}",
        "{\"schema\":1}", "{\"schema\":\"extmerge-changes/1\"}", "\xff\xfe"}) {
    put(other);
    EXPECT_EQ(reading(), MessageId::kDamagedJournal) << other;
  }
}

TEST_F(Changes, WithAMemberOfAnotherKindAreDamaged) {
  write_changes(*directory_, kJournal, all_of_them());
  const std::string whole = text();
  for (const auto& [is, becomes] : std::vector<std::pair<std::string, std::string>>{
           {"\"vg\": \"vg\"", "\"vg\": 7"},
           {"\"holding\": true", "\"holding\": \"true\""},
           {"\"held\": \"81:7:3:40:41\"", "\"held\": 81"},
           {"\"freeze_id\"", "\"freeze-id\""}}) {
    const size_t at = whole.find(is);
    ASSERT_NE(at, std::string::npos) << is;
    std::string changed = whole;
    put(changed.replace(at, is.size(), becomes));
    EXPECT_EQ(reading(), MessageId::kDamagedJournal) << becomes;
  }
}

// A record that version 0.1 wrote during a merge, byte by byte.
constexpr const char* kOfVersion01 = R"({
 "boot": "5c1c4f2e-8f0e-4c53-9f57-8a2b1f0d6a11\n",
 "freeze": "extmerge_0badcafe",
 "freeze_id": 2,
 "freeze_transaction": 3,
 "held": "",
 "holding": false,
 "merged_id": null,
 "origin": "origin",
 "origin_activated": false,
 "origin_marked": true,
 "origin_skipped_activation": false,
 "origin_uuid": "RZ1ih4-Bh66-5qpS-Brow-Un0K-iCQ3-A2wHyD",
 "origin_was_active": true,
 "pool": "vg-pool-tpool",
 "pool_uuid": "LVM-dIqn9zNw5NdBwibbjZ2Au1mOw9mv8llcdIqn9zNw5NdBwibbjZ2Au1mOw9mv8llc-tpool",
 "pool_was_active": true,
 "removing": false,
 "schema": "extmerge-changes/1",
 "thin": "snap",
 "thin_kept_inactive": false,
 "thin_uuid": "dIqn9z-Nw5N-dBwi-bbjZ-2Au1-mOw9-mv8llc",
 "thin_was_active": false,
 "vg": "vg"
}
)";

TEST_F(Changes, OfVersion01AreReadByThisOne) {
  put(kOfVersion01);
  const auto read = read_changes(*directory_, kJournal);
  ASSERT_TRUE(read);
  SystemChanges expected;
  expected.vg = "vg";
  expected.thin = "snap";
  expected.thin_uuid = "dIqn9z-Nw5N-dBwi-bbjZ-2Au1-mOw9-mv8llc";
  expected.origin = "origin";
  expected.origin_uuid = "RZ1ih4-Bh66-5qpS-Brow-Un0K-iCQ3-A2wHyD";
  expected.freeze = "extmerge_0badcafe";
  expected.freeze_id = 2;
  expected.freeze_transaction = 3;
  expected.pool = "vg-pool-tpool";
  expected.pool_uuid = "LVM-dIqn9zNw5NdBwibbjZ2Au1mOw9mv8llcdIqn9zNw5NdBwibbjZ2Au1mOw9mv8llc-tpool";
  expected.boot = "5c1c4f2e-8f0e-4c53-9f57-8a2b1f0d6a11\n";
  expected.origin_marked = expected.origin_was_active = true;
  expect_equal(*read, expected);
}

// A version that adds a key relies on it; this one would write the record without it.
TEST_F(Changes, OfANewerVersionAreRefusedByTheirKeyOrFormat) {
  const std::string record = kOfVersion01;
  for (const auto& [is, becomes, says] : std::vector<std::array<std::string, 3>>{
           {"\"vg\": \"vg\"", "\"vg\": \"vg\",\n \"zones\": []", "the key zones"},
           {"changes/1", "changes/2", "the format extmerge-changes/2"}}) {
    std::string changed = record;
    put(changed.replace(record.find(is), is.size(), becomes));
    try {
      read_changes(*directory_, kJournal);
      FAIL() << becomes;
    } catch (const Error& error) {
      EXPECT_EQ(error.id(), MessageId::kDamagedJournal);
      EXPECT_NE(std::string(error.what()).find("newer version of extmerge"), std::string::npos);
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
  }
}

// Keys that version 0.1 always wrote are missing only in a damaged record.
TEST_F(Changes, WithoutAKeyThatVersion01AlwaysWroteAreDamaged) {
  std::istringstream lines(kOfVersion01);
  int keys = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.size() < 4) continue;
    std::string changed = kOfVersion01;
    changed.erase(changed.find(line), line.size() + 1);
    // The last member ends without a comma.
    const size_t comma = changed.rfind(",\n}");
    if (comma != std::string::npos) changed.erase(comma, 1);
    put(changed);
    EXPECT_EQ(reading(), MessageId::kDamagedJournal) << line;
    ++keys;
  }
  EXPECT_EQ(keys, 23);
}

TEST_F(Changes, ThatOthersMayWriteAreNotTrusted) {
  write_changes(*directory_, kJournal, all_of_them());
  ASSERT_EQ(::chmod(path().c_str(), 0666), 0);
  EXPECT_EQ(reading(), MessageId::kJournalUnsafe);
}

}  // namespace
}  // namespace extmerge
