// SPDX-License-Identifier: GPL-3.0-or-later

#include "io/nbd_device.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <deque>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "io/error.h"
#include "io/nbd_connection.h"

namespace extmerge {

namespace {

constexpr std::string_view kNbdSchemes[] = {"nbd://",       "nbds://",    "nbd+unix://",
                                            "nbds+unix://", "nbd+vsock:", "nbds+vsock:"};
constexpr auto kFirstConnection = std::chrono::seconds(30);
constexpr auto kFurtherConnection = std::chrono::seconds(5);
constexpr size_t kMostConnections = 4;
constexpr uint64_t kLargestZero = uint64_t{1} << 30;  // the length in the protocol has 32 bits

std::string unescape_percent(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    const char* const digits = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2) {
      plain += static_cast<char>(value);
      i += 2;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// With TLS the URI states how the server proves who it is: by a certificate of that authority, or
// by a shared key.
void check_credentials(const std::string& uri) {
  constexpr std::string_view kKey = "tls-psk-file=", kCertificates = "tls-certificates=";
  const bool has_tls = uri.starts_with("nbds");
  bool is_named = false;
  for (size_t at = uri.find('?'); at != std::string::npos; at = uri.find_first_of("&;", at + 1)) {
    const std::string_view parameter = std::string_view(uri).substr(at + 1);
    const bool is_key = parameter.starts_with(kKey);
    if (!is_key && !parameter.starts_with(kCertificates)) continue;
    is_named = true;
    const std::string_view value = parameter.substr((is_key ? kKey : kCertificates).size());
    const std::string path = unescape_percent(value.substr(0, value.find_first_of("&;#"))) +
                             (is_key ? "" : "/ca-cert.pem");
    if (!has_tls || ::access(path.c_str(), R_OK) == 0) continue;
    throw Error(MessageId::kPermission,
                "cannot connect to " + without_user(uri) + " with TLS: cannot read " + path + ": " +
                    errno_text(errno),
                is_key ? "put the key of the server there, or correct tls-psk-file="
                       : "put the certificate of the server's authority there, or correct "
                         "tls-certificates=");
  }
  if (is_named && !has_tls) {
    throw Error(MessageId::kUsage,
                without_user(uri) + " has a key or certificates, and asks for no TLS",
                "write nbds: or nbds+unix: instead of nbd");
  }
  if (is_named || !has_tls) return;
  throw Error(MessageId::kPermission,
              "cannot connect to " + without_user(uri) +
                  " with TLS: the URI does not state how the server proves who it is",
              "add tls-certificates=DIR (with ca-cert.pem) or tls-psk-file=FILE to the URI");
}

class NbdQueue final : public AsyncQueue {
 public:
  NbdQueue(std::shared_ptr<NbdConnection> connection, unsigned depth, bool is_writable)
      : connection_(std::move(connection)),
        depth_(std::max(depth, 1u)),
        is_writable_(is_writable) {}
  ~NbdQueue() override { tally_.wait(); }

  void submit(std::span<IoRequest> requests) override {
    for (IoRequest& request : requests) {
      const bool is_read = request.direction == Direction::kRead;
      request.result = is_read || is_writable_ ? 0 : -EBADF;
      if (request.result == 0) start(request, is_read ? NbdKind::kRead : NbdKind::kWrite);
    }
  }

  void wait() override {
    tally_.wait();
    const IoRequest* failed = nullptr;
    for (const NbdCommand& command : commands_) {
      IoRequest& request = *command.request;
      if (&request == failed) continue;  // only the bytes before the first failure count
      if (command.error == 0) {
        request.result += static_cast<int64_t>(command.length);
      } else {
        failed = &request;
        if (request.result == 0) request.result = -command.error;
      }
    }
    commands_.clear();
  }

 private:
  // Like a device, an export cuts a request off at its end.
  void start(IoRequest& request, NbdKind kind) {
    const NbdExport& facts = connection_->facts();
    const uint64_t begin = std::min(request.offset.value(), facts.size);
    const uint64_t length = std::min<uint64_t>(request.memory.size(), facts.size - begin);
    for (uint64_t done = 0; done < length;) {
      const uint64_t part = std::min(length - done, facts.largest_transfer);
      NbdCommand& command = commands_.emplace_back();
      command.kind = kind;
      command.offset = begin + done;
      command.length = part;
      command.memory = request.memory.data() + done;
      command.request = &request;
      command.user = &tally_;
      tally_.add(depth_);
      connection_->post(&command);
      done += part;
    }
  }

  const std::shared_ptr<NbdConnection> connection_;
  const size_t depth_;
  const bool is_writable_;
  NbdTally tally_;
  std::deque<NbdCommand> commands_;  // since the last wait()
};

class OpenNbdDevice final : public NbdDevice {
 public:
  OpenNbdDevice(std::string uri, std::shared_ptr<NbdConnection> first, bool is_writable)
      : uri_(std::move(uri)),
        name_(without_user(uri_)),
        first_(*first),
        is_writable_(is_writable),
        may_connect_(first_.facts().can_multi_conn),
        connections_{std::move(first)} {}

  const std::string& name() const override { return name_; }
  Bytes size() const override { return Bytes(first_.facts().size); }
  Bytes logical_block_size() const override { return Bytes(first_.facts().block_size); }

  std::unique_ptr<AsyncQueue> make_queue(unsigned depth) override {
    return std::make_unique<NbdQueue>(take_connection(), depth, is_writable_);
  }

  int write_zeros(Bytes offset, Bytes length) override {
    if (!is_writable_) return EBADF;
    if (!first_.facts().can_zero) return EOPNOTSUPP;
    NbdCommand command;
    command.kind = NbdKind::kZero;
    command.offset = offset.value();
    for (uint64_t left = length.value(); left > 0; left -= command.length) {
      // All but the first begin at a multiple of the largest.
      command.length = std::min(left, kLargestZero - command.offset % kLargestZero);
      if (const int error = first_.carry_out(command); error != 0) return error;
      command.offset += command.length;
    }
    return 0;
  }

  // One flush covers the completed writes of all connections: this is the meaning of "multi-conn".
  // If the server was restarted, the first connection is lost, so the flush fails.
  int flush() override { return first_.carry_out(NbdCommand()); }

  void resize(Bytes) override {
    throw Error(MessageId::kCannotExtend, "cannot resize " + name_ + ": it is an NBD export",
                "let the server make the export larger, then run the same command again");
  }

  void drop_cache() override {}

 private:
  // The connection with the fewest queues, or a new one if all have a queue.
  std::shared_ptr<NbdConnection> take_connection() {
    const std::lock_guard guard(lock_);
    const auto fewest = *std::ranges::min_element(
        connections_, {}, [](const auto& connection) { return connection.use_count(); });
    // The device has one reference, and `fewest` is the other.
    const bool is_free = fewest.use_count() == 2;
    if (is_free || !may_connect_ || connections_.size() == kMostConnections) return fewest;
    std::shared_ptr<NbdConnection> further;
    try {
      further = std::make_shared<NbdConnection>(uri_, kFurtherConnection);
    } catch (const Error&) {
      // A server may limit its clients. Then the queues share the connections.
      may_connect_ = false;
      return fewest;
    }
    if (further->facts() != first_.facts()) {
      throw Error(MessageId::kPathChanged, name_ + " is no longer the export that was opened",
                  "find out who replaced or resized it, then run the same command again");
    }
    return connections_.emplace_back(std::move(further));
  }

  const std::string uri_;
  const std::string name_;
  NbdConnection& first_;  // of connections_
  const bool is_writable_;
  std::mutex lock_;
  bool may_connect_;                                         // guarded by lock_
  std::vector<std::shared_ptr<NbdConnection>> connections_;  // guarded by lock_
};

}  // namespace

bool is_nbd_uri(const std::string& text) {
  return std::ranges::any_of(kNbdSchemes,
                             [&](std::string_view scheme) { return text.starts_with(scheme); });
}

std::string nbd_identity(const std::string& uri) { return "nbd:" + without_user(uri); }

std::shared_ptr<NbdDevice> NbdDevice::open(const std::string& uri, bool writable) {
  check_credentials(uri);
  auto connection = std::make_shared<NbdConnection>(uri, kFirstConnection);
  const NbdExport& facts = connection->facts();
  if (writable && facts.is_read_only) {
    throw Error(MessageId::kReadOnly, "cannot write to " + without_user(uri) + ": it is read-only",
                "let the server export it for writing (qemu-nbd and nbdkit: without -r)");
  }
  if (writable && !facts.can_flush) {
    throw Error(MessageId::kUnfitExport,
                "cannot write to " + without_user(uri) +
                    ": the server cannot flush, so no write would be known to be durable",
                "export it with a server that supports flush, such as qemu-nbd or nbdkit file");
  }
  return std::make_shared<OpenNbdDevice>(uri, std::move(connection), writable);
}

}  // namespace extmerge
