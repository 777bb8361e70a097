// SPDX-License-Identifier: GPL-3.0-or-later
//
// Each connection has a thread of its own, and only this thread calls libnbd. nbd_poll() keeps the
// handle locked while it sleeps. If a thread that waits for its requests called it, no other thread
// could start a request on a shared connection. And the requests of a queue would make no progress
// while its thread computes. The cost is two changes of threads for each burst of requests.
//
// The connection knows its commands in flight. If it is lost, it first closes libnbd's handle,
// after which no callback can run. Then it fails those commands.

#include "io/nbd_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include "io/error.h"
#include "io/threads.h"

namespace extmerge {

namespace {

constexpr std::chrono::seconds kSilence{30};
constexpr std::chrono::seconds kLook{1};                   // at the silence
constexpr uint64_t kLargestTransfer = uint64_t{32} << 20;  // if the server states no maximum

// The text of libnbd's last error, without the name of its function and without the user.
std::string libnbd_text(const std::string& uri) {
  const char* const last = ::nbd_get_error();
  std::string text = last != nullptr ? last : "libnbd states no reason";
  for (const std::string_view function : {"nbd_aio_connect_uri: ", "nbd_poll: "}) {
    if (text.starts_with(function)) text.erase(0, function.size());
  }
  const size_t secret = text.find(uri);
  return secret == std::string::npos ? text : text.replace(secret, uri.size(), without_user(uri));
}

bool is_lost(nbd_handle* handle) {
  return ::nbd_aio_is_dead(handle) == 1 || ::nbd_aio_is_closed(handle) == 1;
}

// The reason why the connection failed, before the server was asked for the export.
Error cannot_connect(nbd_handle* handle, const std::string& uri) {
  // libnbd reports no error if the server closes the connection.
  const bool is_closed = ::nbd_aio_is_closed(handle) == 1;
  const int error_number = ::nbd_get_errno();
  const std::string why = is_closed ? "the server has closed the connection" : libnbd_text(uri);
  const std::string happened = "cannot connect to " + without_user(uri) + ": " + why;
  // If the kernel finds out later, libnbd 1.14 reports it for its first recv().
  const bool is_unreachable = error_number == EHOSTUNREACH || error_number == ENETUNREACH ||
                              error_number == ETIMEDOUT || error_number == ECONNREFUSED;
  if (!is_closed && (is_unreachable || why.starts_with("connect: ") ||
                     why.starts_with("getaddrinfo: ") || why.starts_with("socket: "))) {
    if (error_number != EACCES && error_number != EPERM && error_number != EMFILE &&
        error_number != ENFILE && error_number != ENOMEM) {
      return Error(MessageId::kNotFound, happened,
                   "start the server, or correct the host, the port or the socket of the URI");
    }
    return system_error("connect to", without_user(uri), error_number, MessageId::kNotFound);
  }
  if (::nbd_aio_is_created(handle) == 1) {
    return Error(MessageId::kUsage, happened,
                 "write the URI as nbd://HOST:PORT/EXPORT or nbd+unix:///EXPORT?socket=PATH");
  }
  if (uri.starts_with("nbds")) {
    return Error(MessageId::kPermission, happened,
                 "check that the server offers TLS, and that it knows the user, the key "
                 "(tls-psk-file=) or the certificates (tls-certificates=) of the URI");
  }
  return Error(MessageId::kUnfitExport, happened,
               "look at the log of the server: perhaps it accepts no more clients, or it is no NBD "
               "server");
}

// The server has answered the question for the export with an error.
Error cannot_use_export(const std::string& uri, int error_number) {
  const std::string happened = "cannot use " + without_user(uri) +
                               ": the server refuses the export: " + errno_text(error_number);
  if (error_number == ENOENT) {
    return Error(MessageId::kNotFound, happened,
                 "list the exports of the server (nbdinfo --list), and correct the name");
  }
  return Error(MessageId::kUnfitExport, happened,
               "look at the log of the server: perhaps it serves only clients with TLS (nbds:)");
}

// TCP does not notice that a line is down: it waits for an answer without an end. libnbd sets no
// limit. Another kind of socket has none of these options, and its server is on this machine.
void limit_silence(int socket) {
  constexpr int kBegin = 10, kInterval = 5;  // of the probes, in seconds
  const auto set = [&](int level, int option, int value) {
    ::setsockopt(socket, level, option, &value, sizeof value);
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kBegin);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kInterval);
  set(IPPROTO_TCP, TCP_KEEPCNT, (static_cast<int>(kSilence.count()) - kBegin) / kInterval);
}

// A connection attempt with a limit on its time. It has two steps, so that a failure tells which of
// the two was wrong: the server or the export.
NbdHandle connect_nbd(const std::string& uri, std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  int refusal = 0;  // outlives the handle, whose callback sets it
  NbdHandle owner(::nbd_create());
  nbd_handle* const handle = owner.get();
  if (handle == nullptr || ::nbd_set_uri_allow_local_file(handle, true) != 0 ||
      ::nbd_set_opt_mode(handle, true) != 0) {
    throw Error(MessageId::kNoMemory, "cannot use libnbd: " + libnbd_text(uri),
                "free some memory, or lower --buffer-size and --threads");
  }
  if (::nbd_aio_connect_uri(handle, uri.c_str()) != 0) throw cannot_connect(handle, uri);
  // A server of the old protocol has a single export, and is ready at once.
  for (bool is_asked = false; ::nbd_aio_is_ready(handle) != 1;) {
    if (refusal != 0) throw cannot_use_export(uri, refusal);
    if (is_lost(handle)) throw cannot_connect(handle, uri);
    if (!is_asked && ::nbd_aio_is_negotiating(handle) == 1) {
      nbd_completion_callback answered{};
      answered.user_data = &refusal;
      answered.callback = [](void* data, int* error) {  // NOLINT(readability-non-const-parameter)
        *static_cast<int*>(data) = *error;
        return 1;
      };
      if (::nbd_aio_opt_go(handle, answered) != 0) throw cannot_connect(handle, uri);
      is_asked = true;
      continue;
    }
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      throw Error(MessageId::kUnfitExport,
                  "cannot connect to " + without_user(uri) + ": the server has not answered for " +
                      std::to_string(patience.count() / 1000) + " seconds",
                  "check that the server runs and accepts another client");
    }
    if (::nbd_poll(handle, static_cast<int>(left.count())) < 0 && refusal == 0) {
      throw cannot_connect(handle, uri);
    }
  }
  limit_silence(::nbd_aio_get_fd(handle));
  return owner;
}

// The errors of a socket whose other end is gone. No server sends them.
bool is_of_socket(int error) {
  return error == ECONNRESET || error == EPIPE || error == ETIMEDOUT || error == EHOSTUNREACH ||
         error == ENETUNREACH;
}

// libnbd returns -1 for an unknown fact.
uint64_t stated(int64_t fact) { return fact > 0 ? static_cast<uint64_t>(fact) : 0; }

NbdExport ask(nbd_handle* handle, const std::string& uri) {
  NbdExport found;
  const int64_t size = ::nbd_get_size(handle);
  if (size < 0) {
    throw Error(MessageId::kUnfitExport,
                "cannot use the size of " + without_user(uri) + ": " + libnbd_text(uri),
                "export less than 8 EiB");
  }
  found.size = static_cast<uint64_t>(size);
  const uint64_t smallest = stated(::nbd_get_block_size(handle, LIBNBD_SIZE_MINIMUM));
  // A server that states no minimum takes single bytes.
  const bool takes_bytes = smallest <= 1 && found.size % kSectorSize != 0;
  found.block_size = takes_bytes ? 1 : std::max(kSectorSize, smallest);
  const uint64_t largest = stated(::nbd_get_block_size(handle, LIBNBD_SIZE_MAXIMUM));
  found.largest_transfer = largest == 0 ? kLargestTransfer : std::min(largest, kLargestTransfer);
  found.largest_transfer -= found.largest_transfer % found.block_size;
  found.is_read_only = ::nbd_is_read_only(handle) == 1;
  found.can_flush = ::nbd_can_flush(handle) == 1;
  found.can_zero = ::nbd_can_zero(handle) == 1;
  found.can_multi_conn = ::nbd_can_multi_conn(handle) == 1;
  if (found.size % found.block_size != 0 || found.largest_transfer == 0) {
    throw Error(MessageId::kOddSize,
                "cannot use " + without_user(uri) + ": its size is " + std::to_string(found.size) +
                    " bytes, and the server takes only requests of whole blocks of " +
                    std::to_string(found.block_size) + " bytes",
                "export it with a size that is a multiple of that");
  }
  return found;
}

}  // namespace

std::string without_user(std::string uri) {
  const size_t slashes = uri.find("//");
  if (slashes == std::string::npos) return uri;
  const size_t authority = slashes + 2;
  const size_t at = uri.substr(0, uri.find_first_of("/?#", authority)).rfind('@');
  if (at != std::string::npos && at >= authority) uri.erase(authority, at + 1 - authority);
  return uri;
}

NbdConnection::NbdConnection(const std::string& uri, std::chrono::milliseconds patience)
    : handle_(connect_nbd(uri, patience)),
      facts_(ask(handle_.get(), uri)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!wake_) throw system_error("wait for", without_user(uri), errno, MessageId::kTooManyFiles);
  thread_ = start_thread<std::thread>([this] { work(); });
}

NbdConnection::~NbdConnection() {
  post(nullptr);
  thread_.join();
}

void NbdConnection::post(NbdCommand* command) noexcept {
  const std::lock_guard guard(lock_);
  posted_.push_back(command);
  if (posted_.size() == 1) ::eventfd_write(wake_.get(), 1);
}

int NbdConnection::carry_out(NbdCommand command) {
  NbdTally tally;
  command.user = &tally;
  tally.add(1);
  post(&command);
  tally.wait();
  return command.error;
}

void NbdConnection::work() {
  for (bool is_needed = true; is_needed;) {
    std::vector<NbdCommand*> fresh;
    {
      const std::lock_guard guard(lock_);
      fresh.swap(posted_);
    }
    for (NbdCommand* const command : fresh) {
      if (command == nullptr) {
        is_needed = false;
      } else {
        start(command);
      }
    }
    if (is_needed) progress();
  }
  // A server that does not read any more cannot delay the end: nobody waits for this.
  if (handle_) ::nbd_aio_disconnect(handle_.get(), 0);
  close();
}

void NbdConnection::start(NbdCommand* command) {
  command->connection = this;
  if (handle_ && is_lost(handle_.get())) close();  // the command before this one may have found out
  in_flight_.insert(command);                      // libnbd may call back before it returns
  if (!handle_) return finish(command, ENOTCONN);
  nbd_completion_callback done{};
  done.user_data = command;
  done.callback = [](void* data, int* error) {  // NOLINT(readability-non-const-parameter)
    auto* const completed = static_cast<NbdCommand*>(data);
    completed->connection->finish(completed, *error);
    return 1;  // libnbd shall forget the command
  };
  const NbdCommand& c = *command;
  int64_t cookie = -1;
  switch (c.kind) {
    case NbdKind::kRead:
      cookie = ::nbd_aio_pread(handle_.get(), c.memory, c.length, c.offset, done, 0);
      break;
    case NbdKind::kWrite:
      cookie = ::nbd_aio_pwrite(handle_.get(), c.memory, c.length, c.offset, done, 0);
      break;
    case NbdKind::kZero:
      cookie = ::nbd_aio_zero(handle_.get(), c.length, c.offset, done, 0);
      break;
    case NbdKind::kFlush:
      cookie = ::nbd_aio_flush(handle_.get(), done, 0);
      break;
  }
  // libnbd does not call back for a command that it refuses.
  if (cookie < 0) finish(command, ::nbd_get_errno() != 0 ? ::nbd_get_errno() : EIO);
}

// The command may be gone when this returns.
void NbdConnection::finish(NbdCommand* command, int error) {
  if (in_flight_.erase(command) == 0) return;
  command->error = is_of_socket(error) ? ENOTCONN : error;
  command->user->remove();
}

// Waits until the socket is ready or somebody posts, and lets libnbd receive and send.
void NbdConnection::progress() {
  if (handle_ && is_lost(handle_.get())) close();
  std::array<pollfd, 2> files{{{wake_.get(), POLLIN, 0}, {-1, 0, 0}}};
  unsigned direction = 0;
  if (handle_) {
    direction = ::nbd_aio_get_direction(handle_.get());
    files[1].fd = ::nbd_aio_get_fd(handle_.get());
    if ((direction & LIBNBD_AIO_DIRECTION_READ) != 0) files[1].events |= POLLIN;
    if ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0) files[1].events |= POLLOUT;
  }
  const int patience = static_cast<int>(std::chrono::milliseconds(kLook).count());
  const int ready = ::poll(files.data(), files.size(), handle_ ? patience : -1);
  if (ready == 0 && is_silent(files[1].fd)) close();
  if (ready <= 0) return;
  eventfd_t count = 0;
  if (files[0].revents != 0) ::eventfd_read(wake_.get(), &count);
  const int seen = files[1].revents;
  if (seen == 0) return;
  // A closed socket is reported to whichever direction libnbd waits for.
  const bool reads = (direction & LIBNBD_AIO_DIRECTION_READ) != 0 && (seen & ~POLLOUT) != 0;
  const int result =
      reads ? ::nbd_aio_notify_read(handle_.get()) : ::nbd_aio_notify_write(handle_.get());
  if (result < 0) close();
}

// The keepalive waits while TCP repeats data, or asks a server without room whether it has room
// again: TCP gives up after a quarter of an hour. TCP_USER_TIMEOUT would also end a connection to a
// server that answers and only takes no more data for a while. Between two such questions nothing
// is to be answered, however old the last answer is.
bool NbdConnection::is_silent(int socket) {
  tcp_info info{};
  socklen_t length = sizeof info;
  if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return false;
  if (info.tcpi_retransmits == 0 && info.tcpi_probes == 0) {
    unanswered_since_.reset();
    return false;
  }
  const auto now = std::chrono::steady_clock::now();
  const auto last_answer = now - std::chrono::milliseconds(info.tcpi_last_ack_recv);
  unanswered_since_ = std::max(unanswered_since_.value_or(now), last_answer);
  return now - *unanswered_since_ >= kSilence;
}

// Fails the commands for which libnbd has not called back. No callback runs after nbd_close().
void NbdConnection::close() {
  handle_.reset();
  while (!in_flight_.empty()) finish(*in_flight_.begin(), ENOTCONN);
}

}  // namespace extmerge
