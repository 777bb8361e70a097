// SPDX-License-Identifier: GPL-3.0-or-later
//
// Real NBD servers (nbdkit and qemu-nbd) on sockets in a scratch directory. The tests are skipped
// if nbdkit is not installed.

#include "io/nbd_device.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "io/buffer.h"
#include "io/file_descriptor.h"
#include "io/identity.h"
#include "io/nbd_connection.h"
#include "io/transfer.h"
#include "tests/io/scratch.h"

namespace extmerge {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kTestSeconds = 60;  // a test that hangs is ended then
constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = kKiB * kKiB;

bool is_installed(const std::string& program) {
  std::istringstream path(std::getenv("PATH") != nullptr ? std::getenv("PATH") : "");
  for (std::string folder; std::getline(path, folder, ':');) {
    if (::access((folder + "/" + program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

FileDescriptor listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw std::runtime_error("long path " + path);
  std::memcpy(address.sun_path, path.data(), path.size());
  FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(socket.get(), 16) != 0) {
    throw std::runtime_error("cannot listen at " + path);
  }
  return socket;
}

// Listens at a free port of this machine, which is returned in `port`.
FileDescriptor listen_at_port(std::string& port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(socket.get(), any, length) != 0 || ::listen(socket.get(), 16) != 0 ||
      ::getsockname(socket.get(), any, &length) != 0) {
    throw std::runtime_error("cannot listen at a port");
  }
  port = std::to_string(ntohs(address.sin_port));
  return socket;
}

// A server that gets its listening socket as systemd would pass it. So a client can connect before
// the server has started.
class NbdServer {
 public:
  // Its standard error goes to the file `errors`.
  NbdServer(const FileDescriptor& listener, const std::string& errors,
            const std::vector<std::string>& arguments) {
    std::vector<std::string> words{"sh", "-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"", "sh"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, listener.get(), 3);
    ::posix_spawn_file_actions_addopen(&actions, 2, errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                       0600);
    const int error = ::posix_spawn(&pid_, "/bin/sh", &actions, nullptr, pointers.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::runtime_error("cannot start " + arguments[0]);
  }
  ~NbdServer() { end(); }
  NbdServer(const NbdServer&) = delete;
  NbdServer& operator=(const NbdServer&) = delete;

  void end() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
};

std::vector<std::byte> contents_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto* const bytes = reinterpret_cast<const std::byte*>(text.data());
  return {bytes, bytes + text.size()};
}

size_t count(const std::string& text, const std::string& words) {
  size_t found = 0;
  for (size_t at = text.find(words); at != std::string::npos; at = text.find(words, at + 1)) {
    ++found;
  }
  return found;
}

bool are_zeros(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

class Nbd : public testing::Test {
 protected:
  void SetUp() override {
    if (!is_installed("nbdkit")) GTEST_SKIP() << "nbdkit is not installed";
    ::alarm(kTestSeconds);
  }
  void TearDown() override {
    servers_.clear();
    ::alarm(0);
  }

  NbdServer& serve(std::vector<std::string> arguments) {
    socket_ = scratch_ / ("socket" + std::to_string(servers_.size()));
    return *servers_.emplace_back(
        std::make_unique<NbdServer>(listen_at(socket_), socket_ + ".errors", arguments));
  }
  // `arguments` follow the options that every nbdkit gets here.
  NbdServer& serve_nbdkit(const std::vector<std::string>& arguments) {
    std::vector<std::string> all{"nbdkit", "--exit-with-parent", "-f"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return serve(all);
  }
  std::string uri(const std::string& name = "") const {
    return "nbd+unix:///" + name + "?socket=" + socket_;
  }
  std::string log() const {
    std::ifstream file(log_);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::shared_ptr<NbdDevice> open() const { return NbdDevice::open(uri(), true); }
  static MessageId opening(const std::string& address, bool writable) {
    return thrown_by([&] { NbdDevice::open(address, writable); });
  }

  // The threads write to all of the device, each through a queue of its own, and read it back.
  // Then the image holds the same.
  static void expect_written(NbdDevice& device, unsigned threads, const std::string& image) {
    constexpr size_t kUnit = 64 * kKiB;
    std::vector<std::byte> data(device.size().value());
    uint32_t state = 1;
    for (std::byte& byte : data) {
      state = state * 1664525 + 1013904223;
      byte = static_cast<std::byte>(state >> 24);
    }
    std::vector<std::byte> seen(data.size());
    std::atomic<unsigned> failures = 0;
    std::vector<std::jthread> workers;
    for (unsigned worker = 0; worker < threads; ++worker) {
      workers.emplace_back([&, worker] {
        const auto queue = device.make_queue(3);
        for (const auto& [direction, memory] :
             {std::pair(Direction::kWrite, std::span(data)), {Direction::kRead, std::span(seen)}}) {
          std::vector<IoRequest> requests;
          for (size_t at = worker * kUnit; at < memory.size(); at += threads * kUnit) {
            requests.push_back({direction, Bytes(at), memory.subspan(at, kUnit)});
          }
          if (transfer(device, *queue, requests)) ++failures;
          if (device.flush() != 0) ++failures;
        }
      });
    }
    workers.clear();
    EXPECT_EQ(failures, 0u);
    EXPECT_TRUE(seen == data);
    EXPECT_TRUE(contents_of(image) == data);
  }

  ScratchDirectory scratch_;
  std::string log_ = scratch_ / "log";
  std::string socket_;
  std::vector<std::unique_ptr<NbdServer>> servers_;
};

TEST(NbdUri, IsKnownByItsScheme) {
  for (const char* const uri : {"nbd://host", "nbds://host:1/x", "nbd+unix:///x?socket=y",
                                "nbds+unix:///?socket=y", "nbd+vsock:///", "nbds+vsock://2:1/"}) {
    EXPECT_TRUE(is_nbd_uri(uri)) << uri;
  }
  for (const char* const path : {"/dev/nbd0", "nbd", "nbd:x", "./nbd://host", "http://host", ""}) {
    EXPECT_FALSE(is_nbd_uri(path)) << path;
  }
}

TEST(NbdUri, IsAnIdentityWithoutItsUserThatIsNotCertain) {
  EXPECT_EQ(nbd_identity("nbds://alice:secret@host:1/a@b"), "nbd:nbds://host:1/a@b");
  EXPECT_EQ(nbd_identity("nbds://al@ice@host"), "nbd:nbds://host");
  EXPECT_EQ(nbd_identity("nbds+unix://alice@/?socket=/x@y&tls-psk-file=/k"),
            "nbd:nbds+unix:///?socket=/x@y&tls-psk-file=/k");
  EXPECT_EQ(nbd_identity("nbd://host?a=b@c"), "nbd:nbd://host?a=b@c");
  EXPECT_FALSE(is_certain_identity(nbd_identity("nbd://host")));
}

TEST_F(Nbd, HoldsWhatManyThreadsHaveWrittenThroughFourConnections) {
  const std::string image = scratch_.make_file("image", 8 * kMiB);
  serve_nbdkit({"--filter=log", "file", image, "logfile=" + log_});
  const auto device = open();
  EXPECT_EQ(device->size(), Bytes(8 * kMiB));
  EXPECT_EQ(device->logical_block_size(), Bytes(512));
  EXPECT_EQ(device->name(), uri());
  std::vector<std::unique_ptr<AsyncQueue>> held;
  for (unsigned i = 0; i < 6; ++i) held.push_back(device->make_queue(1));
  expect_written(*device, 6, image);
  EXPECT_EQ(count(log(), " connection=4 Connect "), 1u);
  EXPECT_EQ(count(log(), " connection=5 "), 0u);
  EXPECT_GT(count(log(), " connection=3 Write "), 0u);
}

TEST_F(Nbd, IsUsedByFourThreadsThroughOneConnection) {
  const std::string image = scratch_.make_file("image", 8 * kMiB);
  serve_nbdkit({"--filter=log", "--filter=multi-conn", "--filter=delay", "file", image,
                "multi-conn-mode=disable", "delay-write=1ms", "logfile=" + log_});
  const auto device = open();
  expect_written(*device, 4, image);
  EXPECT_EQ(count(log(), " Connect "), 1u);
}

TEST_F(Nbd, OfQemuHoldsWhatWasWritten) {
  if (!is_installed("qemu-nbd")) GTEST_SKIP() << "qemu-nbd is not installed";
  const std::string image = scratch_.make_file("image", 8 * kMiB);
  for (const std::string clients : {"8", "1"}) {
    serve({"qemu-nbd", "--persistent", "-f", "raw", "-x", "disk", "-e", clients, image});
    const auto device = NbdDevice::open(uri("disk"), true);
    expect_written(*device, 5, image);
    EXPECT_EQ(device->write_zeros(Bytes(kMiB), Bytes(kMiB)), 0);
    EXPECT_EQ(device->flush(), 0);
    const std::vector<std::byte> zeroed = contents_of(image);
    EXPECT_TRUE(are_zeros(std::span(zeroed).subspan(kMiB, kMiB)));
  }
  serve({"qemu-nbd", "--persistent", "-r", "-f", "raw", "-x", "disk", image});
  EXPECT_EQ(opening(uri("disk"), true), MessageId::kReadOnly);
  EXPECT_EQ(opening(uri("disk"), false), kNothingThrown);
  EXPECT_EQ(opening(uri("other"), false), MessageId::kNotFound);
}

TEST_F(Nbd, LetsOthersWorkWhileOneWaits) {
  serve_nbdkit({"--filter=multi-conn", "--filter=delay", "memory", "1M", "multi-conn-mode=disable",
                "delay-zero=2"});
  const auto device = open();
  std::atomic<bool> is_zeroed = false;
  std::jthread slow([&] {
    EXPECT_EQ(device->write_zeros(Bytes(0), Bytes(kMiB)), 0);
    is_zeroed = true;
  });
  const auto queue = device->make_queue(1);
  const Buffer buffer(4096);
  for (int i = 0; i < 20; ++i) read_fully(*device, *queue, Bytes(4096), buffer.span());
  EXPECT_FALSE(is_zeroed);
}

TEST_F(Nbd, SplitsWhatTheServerFindsTooLong) {
  const std::string image = scratch_.make_file("image", kMiB);
  serve_nbdkit({"--filter=log", "--filter=blocksize-policy", "file", image,
                "blocksize-error-policy=error", "blocksize-minimum=4096",
                "blocksize-preferred=4096", "blocksize-maximum=65536", "logfile=" + log_});
  const auto device = open();
  EXPECT_EQ(device->logical_block_size(), Bytes(4096));
  const auto queue = device->make_queue(2);
  const std::vector<std::byte> data = pattern(kMiB - 4096, 77);
  std::vector<std::byte> copy = data;
  write_fully(*device, *queue, Bytes(4096), copy);
  const std::vector<std::byte> written = contents_of(image);
  EXPECT_TRUE(std::ranges::equal(std::span(written).subspan(4096), data));
  std::ranges::fill(copy, std::byte{0});
  read_fully(*device, *queue, Bytes(4096), copy);
  EXPECT_TRUE(copy == data);
  EXPECT_EQ(count(log(), " Write id="), 16u);
}

TEST_F(Nbd, SplitsRequestsOfMoreThan32MiB) {
  serve_nbdkit({"--filter=log", "memory", "80M", "logfile=" + log_});
  const auto device = open();
  const auto queue = device->make_queue(4);
  const std::vector<std::byte> data = pattern(70 * kMiB, 3);
  std::vector<std::byte> copy = data;
  write_fully(*device, *queue, Bytes(kMiB), copy);
  std::ranges::fill(copy, std::byte{0});
  read_fully(*device, *queue, Bytes(kMiB), copy);
  EXPECT_TRUE(copy == data);
  EXPECT_EQ(count(log(), " Write id="), 3u);
  EXPECT_EQ(count(log(), " Read id="), 3u);
}

TEST_F(Nbd, HasNoMoreRequestsInFlightThanTheQueueIsDeep) {
  serve_nbdkit(
      {"--filter=log", "--filter=delay", "memory", "1M", "delay-write=5ms", "logfile=" + log_});
  const auto device = open();
  const auto queue = device->make_queue(3);
  const Buffer buffer(4096);
  std::vector<IoRequest> requests;
  for (uint64_t i = 0; i < 40; ++i) {
    requests.push_back({Direction::kWrite, Bytes(i * 4096), buffer.span()});
  }
  EXPECT_FALSE(transfer(*device, *queue, requests));
  int in_flight = 0;
  int most = 0;
  std::istringstream lines(log());
  for (std::string line; std::getline(lines, line);) {
    if (line.find(" Write id=") != std::string::npos) most = std::max(most, ++in_flight);
    if (line.find(" ...Write id=") != std::string::npos) --in_flight;
  }
  EXPECT_EQ(in_flight, 0);
  EXPECT_EQ(most, 3);
}

TEST_F(Nbd, MakesARangeReadAsZeros) {
  const std::string image = scratch_.make_file("image", kMiB, 1);
  serve_nbdkit({"file", image});
  const auto device = open();
  EXPECT_EQ(device->write_zeros(Bytes(4096), Bytes(65536)), 0);
  EXPECT_EQ(device->write_zeros(Bytes(512), Bytes(0)), 0);
  EXPECT_EQ(device->write_zeros(Bytes(kMiB), Bytes(512)), ENOSPC);
  EXPECT_EQ(device->flush(), 0);
  std::vector<std::byte> expected = pattern(kMiB, 1);
  std::fill_n(expected.begin() + 4096, 65536, std::byte{0});
  EXPECT_TRUE(contents_of(image) == expected);
}

TEST_F(Nbd, ZeroesAnyLengthInPartsOfOneGiB) {
  serve_nbdkit({"--filter=log", "memory", "7G", "logfile=" + log_});
  const auto device = open();
  EXPECT_EQ(device->write_zeros(Bytes(512 * kMiB), Bytes(6144 * kMiB)), 0);
  const std::string seen = log();
  EXPECT_EQ(count(seen, " Zero id="), 7u);
  EXPECT_EQ(count(seen, " offset=0x20000000 count=0x20000000 "), 1u) << seen;
  EXPECT_EQ(count(seen, " offset=0x40000000 count=0x40000000 "), 1u);
  EXPECT_EQ(count(seen, " offset=0x180000000 count=0x20000000 "), 1u);
}

TEST_F(Nbd, WithoutZeroingSaysSo) {
  serve_nbdkit({"--filter=nozero", "memory", "1M"});
  EXPECT_EQ(open()->write_zeros(Bytes(0), Bytes(4096)), EOPNOTSUPP);
}

TEST_F(Nbd, OfAnOddSizeIsReadToItsLastByteOrRefused) {
  const std::string image = scratch_.make_file("image", 1000);
  serve_nbdkit({"file", image});
  const auto device = open();
  EXPECT_EQ(device->size(), Bytes(1000));
  EXPECT_EQ(device->logical_block_size(), Bytes(1));
  std::vector<std::byte> memory(1000);
  read_fully(*device, *device->make_queue(1), Bytes(0), memory);
  EXPECT_EQ(memory, pattern(1000));
  const auto refused = [&](const std::string& minimum, const std::string& size) {
    serve_nbdkit({"--filter=blocksize-policy", "memory", size, "blocksize-minimum=" + minimum,
                  "blocksize-preferred=4096", "blocksize-maximum=1M"});
    return opening(uri(), false);
  };
  EXPECT_EQ(refused("1", "1000"), kNothingThrown);
  EXPECT_EQ(refused("512", "1000"), MessageId::kOddSize);
  EXPECT_EQ(refused("4096", "4608"), MessageId::kOddSize);
  EXPECT_EQ(refused("512", "4608"), kNothingThrown);
}

TEST_F(Nbd, EndsInAFailureThatSaysWhere) {
  serve_nbdkit({"memory", "64K"});
  const auto device = open();
  const auto queue = device->make_queue(2);
  const Buffer buffer(8192);
  for (const auto& [direction, expected] :
       {std::pair(Direction::kRead, ENODATA), {Direction::kWrite, ENOSPC}}) {
    for (const uint64_t offset : {60 * kKiB, 64 * kKiB, kMiB}) {
      IoRequest request{direction, Bytes(offset), buffer.span()};
      const auto failure = transfer(*device, *queue, {&request, 1});
      ASSERT_TRUE(failure);
      EXPECT_EQ(failure->error_number, expected);
      EXPECT_EQ(failure->offset, Bytes(std::max<uint64_t>(offset, 65536)));
    }
  }
}

TEST_F(Nbd, ThatIsReadOnlyIsNotWritten) {
  serve_nbdkit({"-r", "memory", "1M"});
  EXPECT_EQ(opening(uri(), true), MessageId::kReadOnly);
  EXPECT_EQ(opening(uri(), false), kNothingThrown);
}

TEST_F(Nbd, OpenedForReadingIsNotWritten) {
  const std::string image = scratch_.make_file("image", kMiB);
  serve_nbdkit({"file", image});
  const auto device = NbdDevice::open(uri(), false);
  const auto queue = device->make_queue(2);
  const Buffer buffer(4096);
  IoRequest request{Direction::kWrite, Bytes(0), buffer.span()};
  const auto failure = transfer(*device, *queue, {&request, 1});
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->error_number, EBADF);
  EXPECT_EQ(device->write_zeros(Bytes(0), Bytes(4096)), EBADF);
  EXPECT_TRUE(contents_of(image) == pattern(kMiB));
}

TEST_F(Nbd, WithoutFlushIsNotOpenedForWriting) {
  serve_nbdkit({"eval", "get_size=echo 1048576", "pread=head -c $3 /dev/zero",
                "pwrite=cat >/dev/null", "can_write=exit 0", "can_flush=exit 3"});
  EXPECT_EQ(opening(uri(), true), MessageId::kUnfitExport);
  EXPECT_EQ(opening(uri(), false), kNothingThrown);
}

TEST_F(Nbd, ReturnsTheErrorOfAFlush) {
  serve_nbdkit({"eval", "get_size=echo 1048576", "pread=head -c $3 /dev/zero",
                "pwrite=cat >/dev/null", "can_write=exit 0", "can_flush=exit 0",
                "flush=echo ENOSPC >&2; exit 1"});
  EXPECT_EQ(open()->flush(), ENOSPC);
}

TEST_F(Nbd, ReturnsTheErrorOfARequestAndItsPlace) {
  serve_nbdkit({"--filter=blocksize-policy", "eval", "get_size=echo 1048576",
                "pread=case $4 in 131072|524288) echo EIO >&2; exit 1;; esac; head -c $3 /dev/zero",
                "pwrite=cat >/dev/null; echo ENOSPC >&2; exit 1", "can_write=exit 0",
                "can_flush=exit 0", "blocksize-minimum=1", "blocksize-preferred=4096",
                "blocksize-maximum=65536"});
  const auto device = open();
  const auto queue = device->make_queue(4);
  const Buffer buffer(262144);
  std::vector<IoRequest> requests{{Direction::kRead, Bytes(0), buffer.span()},
                                  {Direction::kRead, Bytes(524288), buffer.span().first(4096)}};
  queue->submit(requests);
  queue->wait();
  EXPECT_EQ(requests[0].result, 131072);
  EXPECT_EQ(requests[1].result, -EIO);
  const auto read = finish_transfer(*device, *queue, requests);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->offset, Bytes(131072));
  EXPECT_EQ(read->error_number, EIO);
  IoRequest write{Direction::kWrite, Bytes(4096), buffer.span().first(4096)};
  const auto written = transfer(*device, *queue, {&write, 1});
  ASSERT_TRUE(written);
  EXPECT_EQ(written->offset, Bytes(4096));
  EXPECT_EQ(written->error_number, ENOSPC);
}

TEST_F(Nbd, FailsARequestThatIsNotAligned) {
  serve_nbdkit({"--filter=blocksize-policy", "memory", "1M", "blocksize-minimum=4096",
                "blocksize-preferred=4096", "blocksize-maximum=1M"});
  const auto device = open();
  const auto queue = device->make_queue(2);
  const Buffer buffer(4096);
  std::vector<IoRequest> requests{{Direction::kRead, Bytes(512), buffer.span()},
                                  {Direction::kRead, Bytes(4096), buffer.span()}};
  queue->submit(requests);
  queue->wait();
  EXPECT_EQ(requests[0].result, -EINVAL);
  EXPECT_EQ(requests[1].result, 4096);
}

TEST_F(Nbd, FailsAllRequestsIfTheServerIsKilled) {
  for (const char* const mode : {"disable", "auto"}) {
    NbdServer& server =
        serve_nbdkit({"--filter=multi-conn", "--filter=delay", "memory", "64M", "delay-write=30",
                      "delay-zero=30", std::string("multi-conn-mode=") + mode});
    const auto device = open();
    const Buffer buffer(kMiB);
    std::vector<std::jthread> threads;
    std::atomic<unsigned> started = 0;
    std::atomic<unsigned> failed = 0;
    for (uint64_t thread = 0; thread < 5; ++thread) {
      threads.emplace_back([&, thread] {
        const auto queue = device->make_queue(4);
        std::vector<IoRequest> requests;
        for (uint64_t i = 0; i < 4; ++i) {
          requests.push_back({Direction::kWrite, Bytes((thread * 4 + i) * kMiB), buffer.span()});
        }
        queue->submit(requests);
        ++started;
        queue->wait();
        for (const IoRequest& request : requests) failed += request.result == -ENOTCONN;
        // The next ones fail at once.
        if (transfer(*device, *queue, requests)) ++failed;
      });
    }
    threads.emplace_back([&] {
      ++started;
      failed += device->write_zeros(Bytes(0), Bytes(kMiB)) == ENOTCONN;
    });
    while (started < 6) std::this_thread::yield();
    server.end();
    threads.clear();
    EXPECT_EQ(failed, 5 * 5 + 1u) << mode;
    EXPECT_EQ(device->flush(), ENOTCONN);
    const auto queue = device->make_queue(2);
    IoRequest request{Direction::kRead, Bytes(0), buffer.span()};
    EXPECT_TRUE(transfer(*device, *queue, {&request, 1}));
    EXPECT_EQ(opening(uri(), true), MessageId::kNotFound);
  }
}

TEST_F(Nbd, StaysOpenAsLongAsAQueueNeedsIt) {
  const std::string image = scratch_.make_file("image", kMiB);
  serve_nbdkit({"--filter=delay", "file", image, "delay-write=100ms"});
  auto device = open();
  auto queue = device->make_queue(2);
  device.reset();
  const Buffer buffer(4096);
  std::ranges::fill(buffer.span(), std::byte{0xee});
  IoRequest request{Direction::kWrite, Bytes(4096), buffer.span()};
  queue->submit({&request, 1});
  queue.reset();  // waits
  const std::vector<std::byte> written = contents_of(image);
  EXPECT_TRUE(std::ranges::equal(std::span(written).subspan(4096, 4096), buffer.span()));
}

TEST_F(Nbd, SharesItsConnectionIfTheServerTakesNoMoreClients) {
  const std::string image = scratch_.make_file("image", kMiB);
  serve_nbdkit({"--filter=limit", "--filter=log", "file", image, "limit=2", "logfile=" + log_});
  const auto device = open();
  expect_written(*device, 5, image);
  EXPECT_EQ(count(log(), " Connect "), 2u);
}

TEST_F(Nbd, IsRefusedIfAFurtherConnectionReachesAnotherExport) {
  serve_nbdkit({"eval", "get_size=echo x >>$tmpdir/n; echo $((512 * $(wc -l <$tmpdir/n)))",
                "pread=head -c $3 /dev/zero", "can_multi_conn=exit 0"});
  const auto device = NbdDevice::open(uri(), false);
  const auto queue = device->make_queue(1);
  EXPECT_EQ(thrown_by([&] { device->make_queue(1); }), MessageId::kPathChanged);
}

TEST_F(Nbd, CannotBeResized) {
  serve_nbdkit({"memory", "1M"});
  EXPECT_EQ(thrown_by([&] { open()->resize(Bytes(2 * kMiB)); }), MessageId::kCannotExtend);
}

TEST_F(Nbd, ThatCannotBeFoundIsRefusedAsThat) {
  const std::string socket = scratch_ / "none";
  EXPECT_EQ(opening("nbd+unix:///?socket=" + socket, true), MessageId::kNotFound);
  listen_at(socket);  // and nobody accepts any more
  EXPECT_EQ(opening("nbd+unix:///?socket=" + socket, true), MessageId::kNotFound);
  EXPECT_EQ(opening("nbd://host.invalid/", true), MessageId::kNotFound);
}

TEST_F(Nbd, WithAWrongUriIsRefusedWithoutItsPassword) {
  for (const std::string& uri :
       {std::string("nbd://alice:secret@[host"), std::string("nbd+unix:///"),
        "nbd+unix:///" + std::string(5000, 'x') + "?socket=/x"}) {
    try {
      NbdDevice::open(uri, true);
      ADD_FAILURE() << uri;
    } catch (const Error& error) {
      EXPECT_EQ(error.id(), MessageId::kUsage) << error.what();
      EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos) << error.what();
    }
  }
}

// Accepts one client, sends `greeting` and hangs up.
std::jthread greet_once(const FileDescriptor& listener, const std::string& greeting) {
  return std::jthread([&listener, greeting] {
    const FileDescriptor client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_EQ(::send(client.get(), greeting.data(), greeting.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(greeting.size()));
  });
}

TEST_F(Nbd, WhoseServerHangsUpOrIsOfAnotherKindIsRefused) {
  const std::string socket = scratch_ / "other";
  const FileDescriptor listener = listen_at(socket);
  for (const std::string greeting : {"", "SSH-2.0-OpenSSH_9.2p1 Debian-2 and so forth"}) {
    const std::jthread server = greet_once(listener, greeting);
    EXPECT_EQ(opening("nbd+unix:///?socket=" + socket, true), MessageId::kUnfitExport);
  }
}

TEST_F(Nbd, WhoseServerDoesNotAnswerIsRefusedInTime) {
  const std::string socket = scratch_ / "silent";
  const FileDescriptor listener = listen_at(socket);
  const auto connect = [&] {
    NbdConnection("nbd+unix:///?socket=" + socket, std::chrono::milliseconds(50));
  };
  EXPECT_EQ(thrown_by(connect), MessageId::kUnfitExport);
}

class NbdTls : public Nbd {
 protected:
  std::string key_file(const std::string& name, const std::string& user, char digit) const {
    const std::string path = scratch_ / name;
    std::ofstream(path) << user << ":" << std::string(64, digit) << "\n";
    fs::permissions(path, fs::perms(0600));
    return path;
  }
  std::string tls_uri(const std::string& rest, const std::string& name = "") const {
    return "nbds+unix://alice@/" + name + "?socket=" + socket_ + rest;
  }
};

TEST_F(NbdTls, ConnectsWithTheKeyOfAFile) {
  const std::string key = key_file("key", "alice", '1');
  const std::string image = scratch_.make_file("image", kMiB);
  serve_nbdkit({"--tls=require", "--tls-psk=" + key, "file", image});
  const auto device = NbdDevice::open(tls_uri("&tls-psk-file=" + key), true);
  EXPECT_EQ(device->name().find("alice"), std::string::npos);
  expect_written(*device, 5, image);

  const std::string other = key_file("other", "alice", '2');
  EXPECT_EQ(opening(tls_uri("&tls-psk-file=" + other), true), MessageId::kPermission);
  EXPECT_EQ(opening(tls_uri("&tls-psk-file=" + key + "x"), true), MessageId::kPermission);
  EXPECT_EQ(opening(uri(), true), MessageId::kUnfitExport);
  serve_nbdkit({"--tls=off", "file", image});
  EXPECT_EQ(opening(tls_uri("&tls-psk-file=" + key), true), MessageId::kPermission);
}

TEST_F(NbdTls, NeedsAWayToKnowTheServer) {
  const std::string key = key_file("key", "alice", '1');
  const std::string folder = scratch_ / "";
  serve_nbdkit({"--tls=require", "--tls-psk=" + key, "memory", "1M"});
  EXPECT_EQ(opening(tls_uri(""), true), MessageId::kPermission);
  EXPECT_EQ(opening(uri() + "&tls-psk-file=" + key, true), MessageId::kUsage);
  EXPECT_EQ(opening(tls_uri("&tls-certificates=" + folder), true), MessageId::kPermission);
  EXPECT_EQ(opening(tls_uri("&tls-psk-file=" + key + "&tls-certificates=/nowhere"), true),
            MessageId::kPermission);
  fs::create_directory(scratch_ / "a b");
  std::ofstream(scratch_ / "a b/ca-cert.pem") << "no certificate";
  const std::string spaced = "&tls-certificates=" + folder + "a%20b";
  EXPECT_NO_THROW(NbdDevice::open(tls_uri("&tls-psk-file=" + key + spaced), true));
}

TEST_F(NbdTls, FailsItsRequestsIfTheServerIsKilled) {
  const std::string key = key_file("key", "alice", '1');
  NbdServer& server = serve_nbdkit(
      {"--tls=require", "--tls-psk=" + key, "--filter=delay", "memory", "8M", "delay-write=30"});
  const auto device = NbdDevice::open(tls_uri("&tls-psk-file=" + key), true);
  const auto queue = device->make_queue(4);
  const Buffer buffer(kMiB);
  std::vector<IoRequest> requests;
  for (uint64_t i = 0; i < 4; ++i) {
    requests.push_back({Direction::kWrite, Bytes(i * kMiB), buffer.span()});
  }
  queue->submit(requests);
  server.end();
  queue->wait();
  for (const IoRequest& request : requests) EXPECT_EQ(request.result, -ENOTCONN);
  EXPECT_EQ(device->flush(), ENOTCONN);
}

TEST_F(NbdTls, ConnectsWithCertificates) {
  if (!is_installed("openssl")) GTEST_SKIP() << "openssl is not installed";
  const std::string folder = scratch_ / "pki";
  const std::string make =
      "mkdir " + folder + " && cd " + folder +
      " && openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=ca -keyout ca-key.pem "
      "-out ca-cert.pem && openssl req -newkey rsa:2048 -nodes -subj /CN=localhost "
      "-keyout server-key.pem -out request.pem && openssl x509 -req -in request.pem "
      "-CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial -days 9 -out server-cert.pem && "
      "mkdir other && openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=other "
      "-keyout other/key.pem -out other/ca-cert.pem";
  ASSERT_EQ(std::system(("(" + make + ") >/dev/null 2>&1").c_str()), 0);
  const std::string image = scratch_.make_file("image", kMiB);
  std::string port;
  const NbdServer server(listen_at_port(port), scratch_ / "errors",
                         {"nbdkit", "--exit-with-parent", "-f", "--tls=require",
                          "--tls-certificates=" + folder, "file", image});
  // libnbd 1.14 checks certificates only of hosts, not at the other end of a local socket.
  const std::string address = "nbds://localhost:" + port + "/?tls-certificates=" + folder;
  const auto device = NbdDevice::open(address, true);
  expect_written(*device, 2, image);
  EXPECT_EQ(opening(address + "/other", true), MessageId::kPermission);
}

}  // namespace
}  // namespace extmerge
