// SPDX-License-Identifier: GPL-3.0-or-later

#include <string>
#include <vector>

#include "io/text.h"
#include "merge/preflight.h"

namespace extmerge {

namespace {

// The note about a sibling; empty if there is none.
std::string note_about(const Sibling& sibling, const Overrides& overrides) {
  const std::string id = thin_id_text(sibling.id);
  const std::string blocks = plural(sibling.harmed_blocks, "block");
  if (sibling.certain) {
    // A harmed sibling is a refusal, unless that is overridden.
    if (sibling.harmed_blocks == 0 || !overrides.allow_shared_origin) return {};
    return sibling.name + " reads this origin and changes in " + blocks + ", as accepted";
  }
  if (sibling.unreadable)
    return id + ": its mappings cannot be read; if it has this origin, it may change";
  if (sibling.harmed_blocks == 0) return {};
  return id + " would change in " + blocks + " if it has this origin";
}

// Adds a few notes, even for a pool of 100,000 thins.
void add_sibling_notes(std::vector<std::string>& notes, const PlanFacts& facts,
                       const Overrides& overrides) {
  size_t noted = 0;
  for (const Sibling& sibling : facts.siblings) {
    std::string note = note_about(sibling, overrides);
    if (!note.empty() && ++noted <= kMostNamed) notes.push_back(std::move(note));
  }
  if (noted <= kMostNamed) return;
  const size_t more = noted - kMostNamed;
  const bool certain = facts.siblings.front().certain;  // all of them, or none
  const std::string thins = plural(more, "more thin");
  if (certain) {
    notes.push_back(thins + (more == 1 ? " reads" : " read") + " this origin and " +
                    (more == 1 ? "changes" : "change") + ", as accepted");
  } else {
    notes.push_back(thins + " would change if " + (more == 1 ? "it has" : "they have") +
                    " this origin: extmerge plan -v names " + (more == 1 ? "it" : "them"));
  }
}

// Notes about the ends of thin and origin.
void add_end_notes(std::vector<std::string>& notes, const PlanFacts& facts, const Job& job,
                   BeyondOriginChoice beyond) {
  const PlanSummary& summary = facts.summary;
  if (!job.thin_size) {
    notes.push_back(
        "the thin's size is not known, so data past its end is merged too; set it with "
        "--thin-size");
  } else if (*job.thin_size < job.origin.size) {
    notes.push_back("the thin ends before the " + job.role() + ": the last " +
                    bytes_text(job.origin.size - *job.thin_size) + " of the " + job.role() +
                    " stay as they are");
  }
  if (summary.beyond_thin_bytes > Bytes(0)) {
    notes.push_back(bytes_text(summary.beyond_thin_bytes) +
                    " are mapped past the thin's end, where nobody can see them: not " +
                    (job.copy ? "copied" : "merged"));
  }
  if (summary.beyond_origin_bytes > Bytes(0) && beyond == BeyondOriginChoice::kDrop) {
    notes.push_back(bytes_text(summary.beyond_origin_bytes) +
                    " are mapped past the origin's end: dropped, as asked");
  } else if (summary.beyond_origin_bytes > Bytes(0) && !facts.beyond_origin_has_data) {
    notes.push_back(bytes_text(summary.beyond_origin_bytes) +
                    " are mapped past the origin's end and are all zero: not merged");
  }
}

// Notes about the places of the journal and the undo log.
void add_place_notes(std::vector<std::string>& notes, const Job& job) {
  const auto add_place = [&](const std::string& what, const JournalPlace& place) {
    for (const ThinBelow& thin : thins_of_pool(job, place)) {
      notes.push_back(what + place.path + " lies on " + thin.name +
                      ", another thin of the same pool: if the pool fills up, it cannot be "
                      "written and the " +
                      job.deed() + " stops");
    }
  };
  add_place("the journal ", job.journal);
  if (job.undo_log) add_place("the undo log ", *job.undo_log);
  if (job.journal.is_volatile) {
    notes.push_back("the journal " + job.journal.path +
                    " is on a file system in memory: after a power cut the " + job.deed() +
                    " restarts from the beginning");
  }
}

}  // namespace

std::vector<std::string> notes_for(const PlanFacts& facts, const Job& job,
                                   BeyondOriginChoice beyond, const Overrides& overrides) {
  std::vector<std::string> notes;
  add_end_notes(notes, facts, job, beyond);
  if (facts.live_tree_unreadable) {
    notes.push_back(
        "the pool's live metadata could not be read: the thin may have changed since the metadata "
        "snapshot");
  }
  if (facts.device_changed && overrides.allow_stale) {
    notes.push_back("the thin has changed since the metadata snapshot; continuing, as asked");
  }
  for (const std::string& writer : job.origin_writers) {
    const bool is_ours = writer.starts_with("extmerge (");
    notes.push_back(writer + " has the " + job.role() + " open for writing: " +
                    (is_ours ? "wait for it" : "stop it (extmerge cannot prevent that)"));
  }
  for (const ThinHolder& thin : job.origin_thins) {
    if (thin.of_this_pool && thin.id == job.thin_id && thin.writable && !job.will_be_frozen) {
      notes.push_back(thin.name +
                      ", the thin to be merged, is active and writable: data written to "
                      "it during the merge may or may not be merged");
    }
  }
  if (job.will_be_frozen) {
    notes.push_back("the thin is in use: this plan shows its present state, and a " + job.deed() +
                    " freezes the state first");
  }
  add_sibling_notes(notes, facts, overrides);
  add_place_notes(notes, job);
  return notes;
}

}  // namespace extmerge
