// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/source/plain_source.h"

#include <utility>

#include "merge/journal/journal.h"

namespace extmerge {

PlainSource::PlainSource(const Request& request, std::string journal)
    : request_(request), journal_(std::move(journal)) {
  if (journal_.empty()) return;
  JournalPath path = open_journal_path(journal_);
  if (!path.directory) return;
  place_ = journal_place(std::move(path.directory), path.path);
  if (request_.command == Command::kAbort) lock_place(place_);
}

std::string PlainSource::origin_name() const {
  if (journal_.empty())
    return request_.copies() ? target_path(request_.target) : absolute_path(request_.origin);
  const auto journal = read_journal(place_);
  return journal ? present_path(journal->record().origin) : "the origin";
}

void PlainSource::look_at(Job& job, const std::string& metadata, const std::string& data,
                          const std::string& destination) {
  job.metadata = inspect(metadata);
  job.data = inspect(data);
  const std::string origin = job.copy ? job.copy->origin_path : destination;
  if (job.copy) job.copy->origin = inspect(origin);
  job.origin_state = [this, origin] {
    const DeviceFacts facts = inspect(origin);
    return origin_state(request_, facts.identity, facts.modified);
  };
  look_at_devices(
      job, job.copy ? target_look(destination) : [destination] { return inspect(destination); });
}

Job PlainSource::job(StateDirectory state_directory) {
  Job job;
  job.metadata_path = absolute_path(request_.metadata);
  job.data_path = absolute_path(request_.data);
  job.origin_path =
      request_.copies() ? target_path(request_.target) : absolute_path(request_.origin);
  if (request_.copies()) job.copy = {{}, absolute_path(request_.origin), request_.whole};
  job.thin_id = request_.thin_id;
  job.thin_size = request_.thin_size;
  job.root_choice = request_.root_choice;
  job.root_block = request_.root_block;
  look_at(job, request_.metadata, request_.data,
          request_.copies() ? request_.target : request_.origin);
  if (request_.command != Command::kVerify || job.copy) {
    job.journal = place_of(request_, job.origin.identity,
                           job.origin.exists ? state_directory : StateDirectory::kAsItIs);
  }
  place_ = job.journal;
  job.undo_log = undo_log_asked(request_);
  return job;
}

Job PlainSource::resume_job() {
  const auto journal = read_journal(place_);
  if (!journal) throw no_journal(absolute_path(journal_));
  Job job = job_of(journal->record());
  job.metadata_path = present_path(journal->record().metadata);
  job.data_path = present_path(journal->record().data);
  job.origin_path = present_path(journal->record().origin);
  if (job.copy) job.copy->origin_path = present_path(journal->record().copy->origin);
  look_at(job, job.metadata_path, job.data_path, job.origin_path);
  job.journal = place_;
  return job;
}

}  // namespace extmerge
