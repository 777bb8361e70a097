// SPDX-License-Identifier: GPL-3.0-or-later

#include "merge/plan/sibling_sweep.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <span>

#include "merge/plan/summary.h"
#include "persistent-data/node.h"

namespace extmerge {

namespace {

// A node to read, and a tree that has it. A metadata device has fewer than 2^23 blocks.
struct PendingNode {
  uint32_t block = 0;
  uint32_t tree = 0;
  uint64_t first_key = 0;
  uint64_t end_key = 0;
};

struct Tree {
  uint64_t planned_blocks = 0;
  unsigned leaf_depth = 0;     // 0: no leaf found yet
  unsigned deepest_inner = 0;  // of the inner nodes found so far
  bool damaged = false;
};

// A leaf that was counted for one tree, and serves the others that have it in the same place. An
// entry may be replaced by another leaf's, which then is read again.
struct CountedLeaf {
  uint64_t first_key = 0;
  uint64_t end_key = 0;
  uint32_t block = 0;  // 0: none
  uint16_t planned_blocks = 0;
  uint16_t depth = 0;
};
constexpr size_t kCountedLeaves = size_t{1} << 17;

// The result of a visit. One thread applies it to the trees afterwards.
struct Finding {
  enum class Kind : uint8_t { kDamaged, kLeaf, kInner, kPutOff };
  Kind kind = Kind::kDamaged;
  uint64_t planned_blocks = 0;
  bool has_counted_leaves = false;  // an inner node: among its children
};

class SiblingSweep {
 public:
  SiblingSweep(MetadataReader& reader, const PlannedTree& planned, DataBlock end_of_data,
               const TreesRead& read, const std::stop_token& stop, size_t most_children,
               size_t trees)
      : reader_(reader),
        planned_(planned),
        end_of_data_(end_of_data),
        read_(read),
        stop_(stop),
        most_children_(most_children),
        trees_(trees),
        counted_(kCountedLeaves) {}

  void descend(std::vector<PendingNode> places, unsigned depth);
  const std::vector<Tree>& trees() const { return trees_; }

 private:
  std::vector<PendingNode> visit(std::span<const PendingNode> places, unsigned depth,
                                 std::vector<Finding>& findings);
  // Returns how many mappings the block has.
  uint64_t look_at(const NodeExpectation& expected, std::span<const std::byte> block,
                   std::span<const PendingNode> places, unsigned depth, std::span<Finding> findings,
                   std::vector<PendingNode>& children);
  Finding look_at_inner(const Node& node, const PendingNode& place, unsigned depth,
                        std::vector<PendingNode>& children) const;
  const CountedLeaf* counted(const PendingNode& place, unsigned depth) const;
  std::optional<uint64_t> count_leaf(const Node& node) const;
  void apply(const Finding& finding, const PendingNode& place, unsigned depth);

  MetadataReader& reader_;
  const PlannedTree& planned_;
  const DataBlock end_of_data_;
  const TreesRead& read_;
  const std::stop_token& stop_;
  const size_t most_children_;
  std::vector<Tree> trees_;
  std::vector<CountedLeaf> counted_;  // by block, as far as there is room; changed between visits
  std::atomic<size_t> children_{0};   // found by the visit under way
};

// Whether a node's keys fit its place.
bool keys_fit(const Node& node, const PendingNode& place) {
  return node.size() == 0 ||
         (node.key(0) >= place.first_key && node.key(node.size() - 1) < place.end_key);
}

// Visits `places`, which are in order of blocks. Places put off are visited after the children of
// the others, so that no list of places becomes long.
void SiblingSweep::descend(std::vector<PendingNode> places, unsigned depth) {
  if (depth > kMaxTreeDepth) {
    for (const PendingNode& place : places) trees_[place.tree].damaged = true;
    return;
  }
  std::sort(places.begin(), places.end(),
            [](const PendingNode& a, const PendingNode& b) { return a.block < b.block; });
  size_t most = places.size();
  std::vector<Finding> findings;
  while (!places.empty()) {
    const std::span<const PendingNode> now = std::span(places).first(std::min(most, places.size()));
    std::vector<PendingNode> children = visit(now, depth, findings);
    std::vector<PendingNode> rest;
    for (size_t i = 0; i < now.size(); ++i) {
      if (findings[i].kind == Finding::Kind::kPutOff) {
        rest.push_back(now[i]);
      } else {
        apply(findings[i], now[i], depth);
      }
    }
    if (!rest.empty()) most = std::max<size_t>(1, now.size() - rest.size());
    rest.insert(rest.end(), places.begin() + static_cast<ptrdiff_t>(now.size()), places.end());
    places = std::move(rest);
    if (!children.empty()) descend(std::move(children), depth + 1);
  }
}

std::vector<PendingNode> SiblingSweep::visit(std::span<const PendingNode> places, unsigned depth,
                                             std::vector<Finding>& findings) {
  std::vector<MetadataBlock> blocks;
  std::vector<uint32_t> first_place;
  for (uint32_t i = 0; i < places.size(); ++i) {
    if (i > 0 && places[i].block == places[i - 1].block) continue;
    blocks.emplace_back(places[i].block);
    first_place.push_back(i);
  }
  first_place.push_back(static_cast<uint32_t>(places.size()));
  findings.assign(places.size(), {});
  children_ = 0;

  std::array<std::vector<PendingNode>, BlockSweep::kWorkers> found;
  reader_.sweep(blocks, [&](unsigned worker, size_t index, std::span<const std::byte> block) {
    if (stop_.stop_requested()) throw stopped_while_planning();
    const size_t first = first_place[index];
    const size_t count = first_place[index + 1] - first;
    NodeExpectation expected;
    expected.location = blocks[index];
    expected.is_root = depth == 1;
    expected.device = reader_.device().name();
    const uint64_t mappings = look_at(expected, block, places.subspan(first, count), depth,
                                      std::span(findings).subspan(first, count), found[worker]);
    const bool is_put_off = findings[first].kind == Finding::Kind::kPutOff;
    if (read_) read_(depth == 1 && !is_put_off ? 1 : 0, mappings);
  });
  std::vector<PendingNode> children = std::move(found[0]);
  for (size_t i = 1; i < found.size(); ++i) {
    children.insert(children.end(), found[i].begin(), found[i].end());
    found[i] = {};
  }
  return children;
}

// All `places` are of one block.
uint64_t SiblingSweep::look_at(const NodeExpectation& expected, std::span<const std::byte> block,
                               std::span<const PendingNode> places, unsigned depth,
                               std::span<Finding> findings, std::vector<PendingNode>& children) {
  std::optional<Node> node;
  try {
    node = check_node(block, expected);
  } catch (const Error& error) {
    if (error.id() != MessageId::kMetadataDamaged) throw;
    return 0;  // findings start as damaged
  }
  std::optional<uint64_t> planned;
  if (node->is_leaf()) planned = count_leaf(*node);
  for (size_t i = 0; i < places.size(); ++i) {
    if (!keys_fit(*node, places[i])) continue;
    if (node->is_leaf()) {
      if (planned) findings[i] = {Finding::Kind::kLeaf, *planned, false};
    } else if (children_ >= most_children_) {
      findings[i].kind = Finding::Kind::kPutOff;
    } else {
      const size_t before = children.size();
      findings[i] = look_at_inner(*node, places[i], depth, children);
      children_ += children.size() - before;
    }
  }
  return node->is_leaf() ? node->size() : 0;
}

const CountedLeaf* SiblingSweep::counted(const PendingNode& place, unsigned depth) const {
  const CountedLeaf& leaf = counted_[place.block % kCountedLeaves];
  const bool is_it = leaf.block == place.block && leaf.depth == depth &&
                     leaf.first_key == place.first_key && leaf.end_key == place.end_key;
  return is_it ? &leaf : nullptr;
}

Finding SiblingSweep::look_at_inner(const Node& node, const PendingNode& place, unsigned depth,
                                    std::vector<PendingNode>& children) const {
  Finding finding{Finding::Kind::kInner, 0, false};
  const size_t children_before = children.size();
  uint64_t before = node.size() == 0 ? 0 : planned_.count_before(node.key(0));
  for (uint32_t i = 0; i < node.size(); ++i) {
    const MetadataBlock child = node.child(i);
    const uint64_t first_key = node.key(i);
    const uint64_t end_key = i + 1 < node.size() ? node.key(i + 1) : place.end_key;
    const uint64_t until = planned_.count_before(end_key);
    const uint64_t planned = until - before;
    before = until;
    const bool is_outside = child.value() == 0 || child.value() >= reader_.nr_blocks();
    const bool is_shared = !is_outside && planned_.nodes().contains(child);
    // A shared node has at most as many planned blocks as its key range.
    if (is_outside || (is_shared && planned_.count_below(child) > planned)) {
      children.resize(children_before);
      return {};
    }
    if (is_shared) {
      finding.planned_blocks += planned_.count_below(child);
    } else if (planned > 0) {
      const PendingNode at{static_cast<uint32_t>(child.value()), place.tree, first_key, end_key};
      if (const CountedLeaf* const leaf = counted(at, depth + 1)) {
        finding.planned_blocks += leaf->planned_blocks;
        finding.has_counted_leaves = true;
      } else {
        children.push_back(at);
      }
    }
  }
  return finding;
}

// Nothing if the leaf is damaged.
std::optional<uint64_t> SiblingSweep::count_leaf(const Node& node) const {
  uint64_t planned = 0;
  for (uint32_t i = 0; i < node.size(); ++i) {
    if (unpack_data_block(node.value64(i)) >= end_of_data_) return std::nullopt;
    planned += planned_.contains(node.key(i));
  }
  return planned;
}

// All leaves of a tree lie at one depth.
void SiblingSweep::apply(const Finding& finding, const PendingNode& place, unsigned depth) {
  Tree& tree = trees_[place.tree];
  tree.planned_blocks += finding.planned_blocks;
  const bool is_leaf = finding.kind == Finding::Kind::kLeaf;
  if (finding.kind == Finding::Kind::kInner)
    tree.deepest_inner = std::max(tree.deepest_inner, depth);
  if (is_leaf) {
    counted_[place.block % kCountedLeaves] = {place.first_key, place.end_key, place.block,
                                              static_cast<uint16_t>(finding.planned_blocks),
                                              static_cast<uint16_t>(depth)};
  }
  const unsigned leaf_depth = is_leaf ? depth : finding.has_counted_leaves ? depth + 1 : 0;
  if (tree.leaf_depth == 0) tree.leaf_depth = leaf_depth;
  const bool is_odd_leaf = leaf_depth != 0 && tree.leaf_depth != leaf_depth;
  const bool has_odd_inner = tree.leaf_depth != 0 && tree.deepest_inner >= tree.leaf_depth;
  if (finding.kind == Finding::Kind::kDamaged || is_odd_leaf || has_odd_inner) tree.damaged = true;
}

}  // namespace

std::vector<TreeOverlap> count_overlaps(MetadataReader& reader,
                                        const std::vector<MetadataBlock>& roots,
                                        const PlannedTree& planned, DataBlock end_of_data,
                                        const TreesRead& read, const std::stop_token& stop,
                                        size_t most_children) {
  std::vector<TreeOverlap> overlaps(roots.size());
  std::vector<PendingNode> places;
  for (uint32_t i = 0; i < roots.size(); ++i) {
    if (roots[i].value() == 0 || roots[i].value() >= reader.nr_blocks()) {
      overlaps[i].damaged = true;
    } else if (planned.nodes().contains(roots[i])) {
      overlaps[i].planned_blocks = planned.count_below(roots[i]);
    } else {
      places.push_back({static_cast<uint32_t>(roots[i].value()), i, 0, UINT64_MAX});
    }
  }
  if (places.empty()) return overlaps;
  SiblingSweep sweep(reader, planned, end_of_data, read, stop, most_children, roots.size());
  sweep.descend(std::move(places), 1);
  for (size_t i = 0; i < roots.size(); ++i) {
    const Tree& tree = sweep.trees()[i];
    overlaps[i].planned_blocks += tree.planned_blocks;
    overlaps[i].damaged |= tree.damaged;
  }
  return overlaps;
}

}  // namespace extmerge
