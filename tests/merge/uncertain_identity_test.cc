// SPDX-License-Identifier: GPL-3.0-or-later
//
// Devices with identities that a copy, or another disk after a reboot, may also have. A position in
// the journal then counts only after a comparison of all bytes below it.

#include "tests/merge/merge_fixture.h"

namespace extmerge {
namespace {

constexpr uint64_t kBlocks = 400;  // a sample reads at most 66 of them
constexpr uint64_t kClaimed = 350;

class UncertainIdentity : public MergerTest {
 protected:
  void SetUp() override {
    SceneShape shape;
    shape.thin_size = shape.origin_size = kBlocks * kBlock;
    for (uint64_t i = 0; i < kBlocks; ++i) shape.mappings.push_back({i, i});
    set_up(shape);
    options.pipeline.checkpoint_bytes = Bytes(kClaimed * kBlock);
  }
  void call(const std::string& origin, const std::string& data = "") {
    job = scene->job(directory);
    job->origin.identity = origin;
    if (!data.empty()) job->data.identity = data;
  }
  // Damages one sector at a time, in that many places, and counts the detected ones.
  int places_noticed(int places) {
    int noticed = 0;
    for (int i = 0; i < places; ++i) {
      const Bytes offset(static_cast<uint64_t>(17 + 41 * i) * kBlock + 5 * 4096);
      const std::vector<std::byte> before = scene->origin().contents();
      const auto sector = std::span(before).subspan(offset.value(), 512);
      std::vector<std::byte> other(sector.begin(), sector.end());
      for (std::byte& byte : other) byte ^= std::byte{1};
      scene->origin().overwrite(offset, other);
      noticed += merge_failure() == MessageId::kSampleDiffers ? 1 : 0;
      EXPECT_NE(words.find(std::to_string(offset.value())), std::string::npos) << words;
      scene->origin().overwrite(offset, sector);
    }
    return noticed;
  }
};

TEST_F(UncertainIdentity, MakesEverythingThatIsClaimedBeCompared) {
  const std::string old_form = "file:ino=12,born=1700000000.5";
  const std::string new_form =
      "file:ino=12,born=1700000000.5,fs=0123456789abcdef,on=fedcba9876543210";
  struct Names {
    std::string begun, now, data_begun, data_now;
  };
  for (const Names& names : {Names{"device:vdb,size=1", "device:vdb,size=1", "", ""},
                             Names{"dm-name:raw", "dm-name:raw", "", ""},
                             Names{old_form, old_form, "", ""}, Names{old_form, new_form, "", ""},
                             Names{"wwid:a", "wwid:a", "device:vdc,size=1", "device:vdc,size=1"},
                             Names{"wwid:a", "wwid:a", old_form, new_form}}) {
    SetUp();
    call(names.begun, names.data_begun);
    merge_in_part();
    call(names.now, names.data_now);
    EXPECT_EQ(places_noticed(8), 8) << names.begun;
    const MergeReport report = merge();
    EXPECT_GE(report.resumed_from, Bytes(kClaimed * kBlock)) << names.begun;
    expect_merged();
  }
}

TEST_F(UncertainIdentity, OfAnImageInAnotherFileSystemIsThatOfAnother) {
  const std::string name = "file:ino=12,born=1700000000.5";
  call(name + ",fs=0123456789abcdef");
  merge_in_part();
  call(name + ",fs=0123456789abcde0");
  EXPECT_EQ(merge_failure(), MessageId::kForeignJournal);
  options.restart = options.again = true;
  EXPECT_EQ(merge_failure(), MessageId::kForeignJournal);
}

TEST_F(UncertainIdentity, IsStillTheSameForADoneMergeAndForAnUndo) {
  const std::string name = "file:ino=12,born=1700000000.5";
  call(name, name);
  job->undo_log = job->custody->undo_log_at("undo");
  merge();
  call(name + ",fs=0123456789abcdef,over=0123456789abcdef", name + ",fs=a");
  EXPECT_EQ(merge_failure(), MessageId::kAlreadyDone);
  merger().undo([](const UndoReport&) { return true; });
  expect_untouched(scene->first_origin());
}

}  // namespace
}  // namespace extmerge
