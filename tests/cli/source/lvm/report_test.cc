// SPDX-License-Identifier: GPL-3.0-or-later
//
// Real reports of LVM (tests/cli/source/lvm/reports), also with other types, missing fields and
// truncated text.

#include "cli/source/lvm/report.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string_view>

#include "tests/io/scratch.h"

namespace extmerge {
namespace {

std::string report(const std::string& name) {
  std::ifstream file(std::string(EXTMERGE_LVM_REPORTS) + "/" + name, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_GT(text.str().size(), 1000u) << name;
  return text.str();
}

const LogicalVolume& named(const std::vector<LogicalVolume>& volumes, std::string_view name) {
  for (const LogicalVolume& volume : volumes) {
    if (volume.name == name) return volume;
  }
  throw std::runtime_error("there is no " + std::string(name));
}

// One row with every field empty but for `members`, given as JSON.
std::string row(const std::string& members) {
  std::string text = "{";
  std::istringstream fields(lvs_fields());
  for (std::string field; std::getline(fields, field, ',');) {
    if (members.find("\"" + field + "\"") == std::string::npos) text += "\"" + field + "\":\"\",";
  }
  return text + members + "}";
}
std::string whole(const std::string& rows) { return R"({"report":[{"lv":[)" + rows + "]}]}"; }
LogicalVolume parse_row(const std::string& members) {
  const auto volumes = parse_lvs(whole(row(members)));
  EXPECT_EQ(volumes.size(), 1u);
  return volumes.at(0);
}
MessageId refused(const std::string& json) {
  return thrown_by([&] { parse_lvs(json); });
}

TEST(LvsReport, ListsEveryVolumeOnceWithoutBrackets) {
  std::vector<std::string> names;
  for (const LogicalVolume& volume : parse_lvs(report("lvs.json"))) names.push_back(volume.name);
  EXPECT_EQ(names, (std::vector<std::string>{"daily", "lvol0_pmspare", "origin", "plain", "pool",
                                             "pool_tdata", "pool_tmeta", "snap",
                                             "snap_extmerge_0badcafe"}))
      << "the origin has two segments, hence two rows";
}

TEST(LvsReport, KnowsAThin) {
  const auto volumes = parse_lvs(report("lvs.json"));
  const LogicalVolume& snap = named(volumes, "snap");
  EXPECT_EQ(snap.full_name(), "vg/snap");
  EXPECT_TRUE(snap.is_thin());
  EXPECT_EQ(snap.thin_id, 1u);
  EXPECT_EQ(snap.transaction_id, 0u);
  EXPECT_EQ(snap.pool, "pool");
  EXPECT_EQ(snap.origin, "origin");
  EXPECT_EQ(snap.ancestors, std::vector<std::string>{"origin"});
  EXPECT_FALSE(snap.is_external_origin);
  EXPECT_TRUE(named(volumes, "origin").is_external_origin);
  EXPECT_EQ(snap.size, Bytes(16 << 20));
  EXPECT_TRUE(snap.is_writable());
  EXPECT_FALSE(snap.is_active());
  EXPECT_FALSE(snap.is_open());
  EXPECT_FALSE(snap.skips_activation);
  EXPECT_TRUE(snap.tags.empty());
  EXPECT_FALSE(snap.vg_shared || snap.vg_exported || snap.vg_partial);
}

TEST(LvsReport, KnowsAFreezeByItsTag) {
  const auto volumes = parse_lvs(report("lvs.json"));
  const LogicalVolume& freeze = named(volumes, "snap_extmerge_0badcafe");
  EXPECT_TRUE(freeze.has_tag("extmerge.freeze"));
  EXPECT_TRUE(freeze.has_tag("second"));
  EXPECT_FALSE(freeze.has_tag("extmerge"));
  EXPECT_FALSE(freeze.has_tag(""));
  EXPECT_FALSE(freeze.is_writable());
  EXPECT_TRUE(freeze.skips_activation);
  EXPECT_EQ(freeze.origin, "snap") << "not the external origin: that is in the metadata text only";
}

TEST(LvsReport, KnowsThePoolAndWhatItIsMadeOf) {
  const auto volumes = parse_lvs(report("lvs.json"));
  const LogicalVolume& pool = named(volumes, "pool");
  EXPECT_EQ(pool.segment_type, "thin-pool");
  EXPECT_EQ(pool.data, "pool_tdata");
  EXPECT_EQ(pool.metadata, "pool_tmeta");
  EXPECT_EQ(pool.chunk_size, Bytes(65536));
  EXPECT_EQ(pool.transaction_id, 4u);
  EXPECT_EQ(pool.thin_id, std::nullopt);
  EXPECT_TRUE(pool.is_active());
  EXPECT_TRUE(named(volumes, "pool_tdata").is_open());
}

TEST(LvsReport, MakesTheUuidsOfDeviceMapper) {
  const auto volumes = parse_lvs(report("lvs.json"));
  const LogicalVolume& origin = named(volumes, "origin");
  EXPECT_EQ(origin.dm_uuid(),
            "LVM-TLJaALLOvCZL03Ye16XSAEBEqFF3c3Xm"
            "RZ1ih4Bh665qpSBrowUn0KiCQ3A2wHyD");
  EXPECT_EQ(origin.dm_uuid("-real"), origin.dm_uuid() + "-real");
}

TEST(LvsReport, ReadsTheAttributesOfInactiveOpenAndUnknownVolumes) {
  const auto volume = [](const std::string& attr) {
    return parse_row(R"("lv_attr":")" + attr + "\"");
  };
  EXPECT_TRUE(volume("Vwi-aotz--").is_active());
  EXPECT_TRUE(volume("Vwi-aotz--").is_open());
  EXPECT_FALSE(volume("Vwi-a-tz--").is_open());
  EXPECT_FALSE(volume("Vwi---tz-k").is_active());
  EXPECT_FALSE(volume("VwiXXXtz-X").is_active()) << "not known";
  EXPECT_FALSE(volume("VwiXXXtz-X").is_open());
  EXPECT_TRUE(volume("Vwi-sotz--").is_active()) << "suspended";
  EXPECT_FALSE(volume("Vri-a-tz--").is_writable());
  EXPECT_FALSE(volume("VRi-a-tz--").is_writable()) << "writable for LVM, read-only in the kernel";
  const LogicalVolume bare = volume("");
  EXPECT_FALSE(bare.is_active() || bare.is_open() || bare.is_writable());
}

TEST(LvsReport, TakesNumbersAsStringsAndAsNumbers) {
  for (const char* members :
       {R"("lv_size":"16777216","chunk_size":"65536","thin_id":"3","transaction_id":"7")",
        R"("lv_size":16777216,"chunk_size":65536,"thin_id":3,"transaction_id":7)"}) {
    const LogicalVolume volume = parse_row(members);
    EXPECT_EQ(volume.size, Bytes(16777216));
    EXPECT_EQ(volume.chunk_size, Bytes(65536));
    EXPECT_EQ(volume.thin_id, 3u);
    EXPECT_EQ(volume.transaction_id, 7u);
  }
  EXPECT_EQ(parse_row(R"("thin_id":null)").thin_id, std::nullopt);
  EXPECT_EQ(parse_row(R"("thin_id":0)").thin_id, 0u);
}

TEST(LvsReport, TakesFlagsAsWordsAndAsNumbers) {
  const LogicalVolume words =
      parse_row(R"("vg_shared":"shared","vg_exported":"exported","vg_partial":"partial",)"
                R"("lv_skip_activation":"skip activation")");
  EXPECT_TRUE(words.vg_shared && words.vg_exported && words.vg_partial && words.skips_activation);
  const LogicalVolume ones = parse_row(R"("vg_shared":1,"vg_exported":"1","vg_partial":0)");
  EXPECT_TRUE(ones.vg_shared && ones.vg_exported);
  EXPECT_FALSE(ones.vg_partial || ones.skips_activation);
}

TEST(LvsReport, OfNoVolumesIsEmpty) {
  EXPECT_TRUE(parse_lvs(whole("")).empty());
  EXPECT_TRUE(parse_lvs(R"({"report":[]})").empty());
}

TEST(LvsReport, OfSeveralGroupsKeepsThemApart) {
  const std::string one = row(R"("vg_name":"a","lv_name":"lv","lv_uuid":"1")");
  const std::string two = row(R"("vg_name":"b","lv_name":"lv","lv_uuid":"2")");
  const auto volumes = parse_lvs(R"({"report":[{"lv":[)" + one + R"(]},{"lv":[)" + two + "]}]}");
  ASSERT_EQ(volumes.size(), 2u);
  EXPECT_EQ(volumes[0].full_name(), "a/lv");
  EXPECT_EQ(volumes[1].full_name(), "b/lv");
}

TEST(LvsReport, WithSegmentsOfSeveralKindsShowsEachKind) {
  const std::string linear = row(R"("lv_name":"lv","lv_uuid":"1","segtype":"linear")");
  const std::string mirror = row(R"("lv_name":"lv","lv_uuid":"1","segtype":"raid1")");
  const auto volumes = parse_lvs(whole(linear + "," + mirror + "," + linear));
  ASSERT_EQ(volumes.size(), 2u) << "a kind that cannot be written to must be seen";
  EXPECT_EQ(volumes[0].segment_type, "linear");
  EXPECT_EQ(volumes[1].segment_type, "raid1");
}

TEST(LvsReport, WithoutAFieldIsRefused) {
  std::istringstream fields(lvs_fields());
  for (std::string field; std::getline(fields, field, ',');) {
    std::string text = row("\"x\":0");
    const std::string member = "\"" + field + "\":\"\",";
    const size_t at = text.find(member);
    ASSERT_NE(at, std::string::npos) << field;
    EXPECT_EQ(refused(whole(text.erase(at, member.size()))), MessageId::kLvmRefused) << field;
  }
}

TEST(LvsReport, WithAFieldOfAnotherKindIsRefused) {
  for (const char* members :
       {R"("lv_name":["a"])", R"("lv_size":"16m")", R"("lv_size":"-1")", R"("lv_size":-1)",
        R"("lv_size":1.5)", R"("lv_size":"1.5")", R"("thin_id":" 1")", R"("thin_id":true)",
        R"("lv_size":"18446744073709551616")", R"("vg_shared":{})"}) {
    EXPECT_EQ(refused(whole(row(members))), MessageId::kLvmRefused) << members;
  }
}

TEST(LvsReport, ThatIsNoReportIsRefused) {
  for (const char* text :
       {"", "WARNING: something", "{}", "[]", "7", "null", R"({"report":7})", R"({"report":[{}]})",
        R"({"report":[{"lv":[7]}]})", R"({"report":[{"lv":{}}])"}) {
    EXPECT_EQ(refused(text), MessageId::kLvmRefused) << text;
  }
}

TEST(LvsReport, CutShortIsRefusedWhereverTheCutIs) {
  const std::string text = report("lvs.json");
  const size_t end = text.rfind('}');
  for (size_t length = 0; length <= end; length += 13) {
    EXPECT_EQ(refused(text.substr(0, length)), MessageId::kLvmRefused) << length;
  }
}

// The output of `lvs --reportformat json` in LVM 2.03.31 for an exported group.
constexpr const char* kExported = R"({
    "report": [
        {
            "lv": [
            ]
        }
    ]
    ,
    "log": [
        {"log_seq_num":"1", "log_type":"warn", "log_message":"WARNING: Running as a non-root user."},
        {"log_seq_num":"2", "log_type":"error", "log_message":"Volume group vg is exported"},
        {"log_seq_num":"3", "log_type":"error", "log_message":"Volume group vg is exported"},
        {"log_seq_num":"4", "log_type":"error", "log_message":"Cannot process volume group vg"},
        {"log_seq_num":"5", "log_type":"status", "log_message":"failure"}
    ]
}
)";

TEST(ReasonInLog, IsItsErrorsEachOnce) {
  EXPECT_EQ(reason_in_log(kExported),
            "Volume group vg is exported; Cannot process volume group vg");
  EXPECT_TRUE(parse_lvs(kExported).empty());
}

TEST(ReasonInLog, IsItsWarningsWhereThereIsNoError) {
  EXPECT_EQ(reason_in_log(R"({"log":[{"log_type":"warn","log_message":"a"},)"
                          R"({"log_type":"print","log_message":"b"}]})"),
            "a");
}

TEST(ReasonInLog, IsEmptyWhereThereIsNoneAndNothingElseIsUnderstood) {
  for (
      const char* text :
      {"", "  Logical volume changed.\n", "{}", "[]", "7", "null", R"({"log":7})", R"({"log":[]})",
       R"({"log":[7,{},{"log_type":"error"},{"log_message":"a"},{"log_type":1,"log_message":"a"}]})",
       R"({"log":[{"log_type":"error","log_message":7}]})", R"({"log":[{"log_type":"error")"}) {
    EXPECT_EQ(reason_in_log(text), "") << text;
  }
}

TEST(ReasonInLines, IsTheLastOfThemWithoutWarnings) {
  EXPECT_EQ(reason_in_lines("  WARNING: not backed up\n  a\n\n b\n  WARNING: c\n"), "a; b");
  EXPECT_EQ(reason_in_lines("1\n2\n3\n4\n5\n6"), "3; 4; 5; 6");
  EXPECT_EQ(reason_in_lines("  WARNING: a\n"), "");
  EXPECT_EQ(reason_in_lines(""), "");
}

TEST(VolumeGroups, AreReadFromTheReportOfVgs) {
  const auto groups = parse_vgs(
      R"({"report":[{"vg":[{"vg_name":"a","vg_uuid":"1","vg_shared":"","vg_exported":"exported"},)"
      R"({"vg_name":"b","vg_uuid":"2","vg_shared":"1","vg_exported":"0"}]}],"log":[]})");
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].name, "a");
  EXPECT_EQ(groups[0].uuid, "1");
  EXPECT_TRUE(groups[0].exported && !groups[0].shared);
  EXPECT_TRUE(groups[1].shared && !groups[1].exported);
  for (const char* text : {"", "{}", R"({"report":[{"vg":[{}]}]})"}) {
    EXPECT_EQ(thrown_by([&] { parse_vgs(text); }), MessageId::kLvmRefused) << text;
  }
}

TEST(VolumeOfNode, TakesTheNamesThatLvmMakesApart) {
  EXPECT_EQ(volume_of_node("vg-snap"), "vg/snap");
  EXPECT_EQ(volume_of_node("vg-origin-real"), "vg/origin");
  EXPECT_EQ(volume_of_node("v--g-sn----ap-tpool"), "v-g/sn--ap");
  EXPECT_EQ(volume_of_node("vg-pool_tmeta"), "vg/pool_tmeta");
  for (const char* node : {"", "pool", "vg-", "-lv", "v--g", "--"}) {
    EXPECT_EQ(volume_of_node(node), "") << node;
  }
}

TEST(LvUuidOfNode, IsTheVolumesAlsoOfALayer) {
  const auto volumes = parse_lvs(report("lvs.json"));
  for (const LogicalVolume& volume : volumes) {
    EXPECT_EQ(lv_uuid_of_node(volume.dm_uuid()), volume.uuid);
    EXPECT_EQ(lv_uuid_of_node(volume.dm_uuid("-real")), volume.uuid);
  }
  for (const char* uuid :
       {"", "LVM-", "LVM-short", "CRYPT-LUKS2-TLJaALLOvCZL03Ye16XSAEBEqFF3c3Xm"}) {
    EXPECT_EQ(lv_uuid_of_node(uuid), "") << uuid;
  }
}

using Strings = std::vector<std::string>;

TEST(Setting, IsAListOfStrings) {
  EXPECT_EQ(parse_setting("volume_list=[\"vg/a\",\"@t1\"]\n"), (Strings{"vg/a", "@t1"}));
  EXPECT_EQ(parse_setting("volume_list=\"vg\"\n"), Strings{"vg"});
  EXPECT_EQ(parse_setting("volume_list=[\"a\\\"b\\\\\"]"), Strings{"a\"b\\"});
  EXPECT_EQ(parse_setting("volume_list=[]\n"), Strings{});
  EXPECT_EQ(parse_setting(""), Strings{});
}

TEST(VolumeList, HasAVolumeByGroupNameOrTag) {
  const LogicalVolume volume =
      parse_row(R"("vg_name":"vg","lv_name":"lv","lv_tags":"a,b","vg_tags":"c")");
  for (const char* item : {"vg", "vg/lv", "@a", "@b", "@c"}) {
    EXPECT_TRUE(is_in_volume_list({"other", item}, volume, {})) << item;
  }
  for (const char* item : {"lv", "vg/l", "vg/lvx", "v", "@", "@d", "@ab", "", "a", "@*"}) {
    EXPECT_FALSE(is_in_volume_list({item}, volume, {"d"})) << item;
  }
  EXPECT_TRUE(is_in_volume_list({"@*"}, volume, {"d", "b"}));
  EXPECT_TRUE(is_in_volume_list({"@*"}, volume, {"c"}));
  EXPECT_FALSE(is_in_volume_list({}, volume, {"a"}));
}

}  // namespace
}  // namespace extmerge
