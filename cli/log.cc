// SPDX-License-Identifier: GPL-3.0-or-later

#include "cli/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>

#include "cli/log_file.h"
#include "cli/show/service_manager.h"
#include "io/text.h"

namespace extmerge {

namespace {

int journal_level(spdlog::level::level_enum level) {
  if (level >= spdlog::level::err) return 3;
  if (level == spdlog::level::warn) return 4;
  return level == spdlog::level::info ? 6 : 7;
}

class TerminalSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit TerminalSink(std::shared_ptr<TerminalLine> terminal) : terminal_(std::move(terminal)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    std::string text = printable_lines({message.payload.data(), message.payload.size()});
    // The journal adds the program's name.
    if (to_journal_) return terminal_->write_line(with_level(text, journal_level(message.level)));
    if (message.level == spdlog::level::err && terminal_->has_colours()) {
      const size_t end = std::min(text.find('\n'), text.size());
      text = "\033[31m" + text.substr(0, end) + "\033[0m" + text.substr(end);
    }
    terminal_->write_line("extmerge: " + text);
  }
  void flush_() override {}

 private:
  const std::shared_ptr<TerminalLine> terminal_;
  const bool to_journal_ = goes_to_journal(STDERR_FILENO);
};

spdlog::level::level_enum terminal_level(int verbosity) {
  if (verbosity < 0) return spdlog::level::err;
  if (verbosity == 0) return spdlog::level::info;
  return verbosity == 1 ? spdlog::level::debug : spdlog::level::trace;
}

void install(const std::vector<spdlog::sink_ptr>& sinks) {
  auto logger = std::make_shared<spdlog::logger>("extmerge", sinks.begin(), sinks.end());
  logger->set_level(spdlog::level::trace);  // each sink has its own level
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

// Writes to the open file that was checked; spdlog's file sink would open it by name again.
class FileSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FileSink(FileDescriptor file) : file_(std::move(file)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    const std::string text = printable_lines({message.payload.data(), message.payload.size()});
    spdlog::details::log_msg shown = message;
    shown.payload = text;
    formatter_->format(shown, line);
    write_all(file_.get(), {line.data(), line.size()});
  }
  void flush_() override {}

 private:
  const FileDescriptor file_;
};

spdlog::sink_ptr file_sink(const Options& options) {
  auto sink = std::make_shared<FileSink>(open_log_file(options));
  sink->set_pattern("%Y-%m-%dT%H:%M:%S%z [%P] %l: %v");
  sink->set_level(options.log_level.value_or(spdlog::level::info));
  return sink;
}

}  // namespace

void start_log(std::shared_ptr<TerminalLine> terminal) {
  auto on_terminal = std::make_shared<TerminalSink>(std::move(terminal));
  on_terminal->set_level(terminal_level(0));
  install({std::move(on_terminal)});
}

void configure_log(const Options& options, std::shared_ptr<TerminalLine> terminal) {
  auto on_terminal = std::make_shared<TerminalSink>(std::move(terminal));
  on_terminal->set_level(terminal_level(options.verbosity));
  std::vector<spdlog::sink_ptr> sinks{std::move(on_terminal)};
  install(sinks);
  if (!options.log_file) return;
  try {
    sinks.push_back(file_sink(options));
  } catch (const Error& error) {
    // A configured log file that this user cannot open is skipped. One named on the command line is
    // an error.
    if (options.has("log-file") || error.id() != MessageId::kPermission) throw;
    spdlog::warn("nothing is logged: {}", printable(error.what()));
    return;
  }
  install(sinks);
}

void log_error(const Error& error) {
  spdlog::error("{}: {}\n  {}", to_string(error.id()), printable(error.what()),
                printable_lines(error.next()));
}

}  // namespace extmerge
