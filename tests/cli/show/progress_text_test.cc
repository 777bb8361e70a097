// SPDX-License-Identifier: GPL-3.0-or-later

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/show/progress_display.h"

namespace extmerge {
namespace {

using std::chrono::milliseconds;

constexpr uint64_t kMiB = 1 << 20;

// 60 of 100 MiB are done, 20 of them by an earlier run; 40 MiB took 4 s.
ProgressView resumed() {
  return {.phase = Phase::kCopying,
          .mappings_read = 0,
          .total = 100 * kMiB,
          .start = 20 * kMiB,
          .done = 60 * kMiB,
          .durable = 50 * kMiB,
          .elapsed = milliseconds(4000)};
}

TEST(ProgressView, WhatWasDoneBeforeIsNotPartOfTheRate) {
  EXPECT_EQ(resumed().bytes_per_second(), 10 * kMiB);
  EXPECT_EQ(resumed().left(), milliseconds(4000));
}

TEST(ProgressView, NoTimeAndNoProgressGiveNoRate) {
  ProgressView view = resumed();
  view.elapsed = milliseconds(0);
  EXPECT_EQ(view.bytes_per_second(), 0u);
  EXPECT_EQ(view.left(), std::nullopt);
  view = resumed();
  view.done = view.start;
  EXPECT_EQ(view.left(), std::nullopt);
  view.done = view.total;
  EXPECT_EQ(view.left(), milliseconds(0));
}

TEST(ProgressLine, HasPercentDoneTotalRateTimeLeftAndDurable) {
  EXPECT_EQ(progress_line(resumed(), {}),
            "copying  60.0%  60.0 MiB / 100.0 MiB  10.0 MiB/s  ETA 0:04  durable 50.0 MiB");
}

TEST(ProgressLine, UnknownTimeLeftIsCalledThat) {
  ProgressView view = resumed();
  view.elapsed = milliseconds(0);
  EXPECT_NE(progress_line(view, {}).find("ETA unknown"), std::string::npos);
}

TEST(ProgressLine, OfPuttingBackCountsNothing) {
  ProgressView view = resumed();
  view.phase = Phase::kPuttingBack;
  EXPECT_EQ(progress_line(view, {}), "putting back");
  for (const unsigned width : {12u, 40u, 200u})
    EXPECT_EQ(progress_bar(view, {}, width), "putting back");
  EXPECT_EQ(progress_bar(view, {}, 11), "");
}

TEST(ProgressLine, OfAFlushAndOfAWaitCountNothing) {
  ProgressView view = resumed();
  view.phase = Phase::kFlushing;
  EXPECT_EQ(progress_line(view, {}), "flushing");
  view.phase = Phase::kWaiting;
  EXPECT_EQ(progress_line(view, {}), "waiting");
  EXPECT_EQ(progress_bar(view, {}, 40), "waiting");
}

TEST(ProgressLine, HoursAreShown) {
  ProgressView view = resumed();
  view.total = 36060 * kMiB;
  EXPECT_NE(progress_line(view, {}).find("ETA 1:00:00"), std::string::npos)
      << progress_line(view, {});
}

TEST(ProgressLine, PlanningCountsMappings) {
  ProgressView view;
  view.mappings_read = 4711;
  EXPECT_EQ(progress_line(view, {}), "reading metadata  4711 mappings");
}

TEST(ProgressLine, PlanningCountsTheOtherThins) {
  ProgressView view;
  view.mappings_read = 4711;
  view.thins = 99999;
  view.thins_read = 51234;
  EXPECT_EQ(progress_line(view, {}), "reading metadata  4711 mappings, 51234 of 99999 other thins");
  EXPECT_EQ(progress_bar(view, {}, 45), "reading metadata  51234 of 99999 other thins");
}

TEST(ProgressLine, AnEmptyPlanIsDone) {
  ProgressView view;
  view.phase = Phase::kCopying;
  EXPECT_NE(progress_line(view, {}).find("100.0%"), std::string::npos);
}

TEST(ProgressBar, ShowsWhatIsDurableDoneAndToDoInProportion) {
  const std::string bar = progress_bar(resumed(), {}, 200);
  EXPECT_EQ(std::count(bar.begin(), bar.end(), '#'), 30);
  EXPECT_EQ(std::count(bar.begin(), bar.end(), '+'), 6);
  EXPECT_EQ(std::count(bar.begin(), bar.end(), '-'), 24);
  EXPECT_NE(bar.find("durable 50.0 MiB"), std::string::npos);
}

TEST(ProgressBar, OnEightyColumnsThereIsStillABar) {
  const std::string bar = progress_bar(resumed(), {}, 79);
  EXPECT_EQ(bar.find("copying ["), 0u);
  EXPECT_NE(bar.find("ETA 0:04"), std::string::npos);
}

TEST(ProgressBar, MoreDurableThanDoneIsNoProblem) {
  ProgressView view = resumed();  // the numbers are read one after the other
  view.durable = view.total;
  const std::string bar = progress_bar(view, {}, 200);
  EXPECT_EQ(std::count(bar.begin(), bar.end(), '#'), 36);
  EXPECT_EQ(std::count(bar.begin(), bar.end(), '+'), 0);
}

TEST(ProgressBar, NeverExceedsTheTerminal) {
  for (unsigned width = 0; width < 200; ++width)
    EXPECT_LE(progress_bar(resumed(), {}, width).size(), width);
}

TEST(ProgressBar, WhereItGetsNarrowNumbersGoBeforeTheBar) {
  EXPECT_EQ(progress_bar(resumed(), {}, 42), "copying [########+-------] 60.0%  ETA 0:04");
  EXPECT_EQ(progress_bar(resumed(), {}, 27), "copying [#####+-----] 60.0%");
  EXPECT_EQ(progress_bar(resumed(), {}, 25), "copying  60.0%  ETA 0:04");
  EXPECT_EQ(progress_bar(resumed(), {}, 14), "copying  60.0%");
  EXPECT_EQ(progress_bar(resumed(), {}, 13), "60.0%");
  EXPECT_EQ(progress_bar(resumed(), {}, 4), "");
}

// "1021" of "1021.3 KiB/s" would be a wrong number.
TEST(ProgressBar, NoNumberIsCutInTwo) {
  const std::string line = progress_line(resumed(), {});
  for (unsigned width = 0; width < 200; ++width) {
    const std::string bar = progress_bar(resumed(), {}, width);
    std::istringstream words(bar);
    for (std::string word; words >> word;) {
      if (word.starts_with('[')) continue;
      EXPECT_NE((" " + line + " ").find(" " + word + " "), std::string::npos)
          << width << ": " << bar;
    }
  }
}

TEST(ProgressBar, MappingsAreCountedWhereThereIsRoom) {
  ProgressView view;
  view.mappings_read = 123456;
  EXPECT_EQ(progress_bar(view, {}, 40), "reading metadata  123456 mappings");
  EXPECT_EQ(progress_bar(view, {}, 20), "reading metadata  ");
  EXPECT_EQ(progress_bar(view, {}, 10), "");
}

TEST(ProgressJson, HasTheMembersAndStringsThatCryptsetupHas) {
  const auto json = nlohmann::json::parse(progress_json(resumed(), "/dev/vg/origin"));
  const nlohmann::json expected = {{"device", "/dev/vg/origin"}, {"phase", "copying"},
                                   {"device_bytes", "62914560"}, {"device_size", "104857600"},
                                   {"speed", "10485760"},        {"eta_ms", "4000"},
                                   {"time_ms", "4000"}};
  EXPECT_EQ(json, expected);
}

// In a phase that counts nothing, the numbers are those of the phase before.
TEST(ProgressJson, NamesThePhase) {
  const auto phase_of = [](const ProgressView& view) {
    return nlohmann::json::parse(progress_json(view, "x")).at("phase").get<std::string>();
  };
  ProgressView view = resumed();
  for (const auto& [phase, name] :
       {std::pair(Phase::kFlushing, "flushing"), std::pair(Phase::kVerifying, "comparing"),
        std::pair(Phase::kWaiting, "waiting"), std::pair(Phase::kPuttingBack, "putting back")}) {
    view.named = phase;
    EXPECT_EQ(phase_of(view), name);
  }
  view.named.reset();
  view.phase = Phase::kUndoing;
  EXPECT_EQ(phase_of(view), "undoing");
}

TEST(ProgressJson, APathThatIsNotUtf8StillGivesValidJson) {
  const auto json = nlohmann::json::parse(progress_json(resumed(), "/dev/\xff"));
  EXPECT_TRUE(json["device"].is_string());
}

}  // namespace
}  // namespace extmerge
