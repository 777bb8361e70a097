// SPDX-License-Identifier: GPL-3.0-or-later
//
// A source whose three devices are named one by one, or recorded in a journal. Nothing is frozen,
// reserved or activated for it: the user keeps the thin still and holds the metadata snapshot.

#pragma once

#include <string>

#include "cli/source/places.h"
#include "cli/source/request.h"
#include "cli/source/source.h"

namespace extmerge {

class PlainSource final : public Source {
 public:
  // The devices that the request names. For resume, undo and abort: those that the journal at
  // `journal` records.
  explicit PlainSource(const Request& request, std::string journal = {});

  std::string thin_name() const override { return {}; }
  std::string origin_name() const override;

  Job plan_job() override { return job(StateDirectory::kAsItIs); }
  Job merge_job() override { return job(StateDirectory::kCreate); }
  // Throw kNoJournal, and what Journal::open() throws.
  Job resume_job() override;
  Job undo_job() override { return resume_job(); }
  // The user keeps it so.
  bool is_frozen() const override { return true; }
  void abort() override { give_up_journal(place_); }
  const JournalPlace& place() const override { return place_; }

 private:
  Job job(StateDirectory state_directory);
  // `destination`: the origin, or the target of a copy.
  void look_at(Job& job, const std::string& metadata, const std::string& data,
               const std::string& destination);

  const Request& request_;
  const std::string journal_;
  JournalPlace place_;
};

}  // namespace extmerge
