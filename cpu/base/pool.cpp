// SPDX-License-Identifier: Apache-2.0
#include "cpu/base/pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace s3d {
namespace {

int processors() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// Set while this thread runs blocks of a pool: blocks within blocks take no turn.
thread_local bool inside_block = false;

// One after the other, in the order of coming.
class Turns {
 public:
  void take() {
    std::unique_lock lock(mutex_);
    const std::uint64_t mine = next_++;
    changed_.wait(lock, [&] { return now_ == mine; });
  }
  void pass_on() {
    std::lock_guard lock(mutex_);
    ++now_;
    if (now_ != next_) changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t next_ = 0, now_ = 0;
};

class Pool {
 public:
  explicit Pool(int threads) {
    workers_.reserve(threads - 1);
    try {
      for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      // The system starts no more threads: those that run will do.
    }
  }

  // No caller is left, so that the workers wait or are on their way to it.
  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Waits for its turn where another caller uses the pool. A block that throws ends the program, on whichever thread:
  // the others still work with what the caller's stack holds.
  void run(int count, void (*call)(void*, int), void* context) noexcept {
    turns_.take();
    call_ = call;
    context_ = context;
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    active_.store(threads() - 1, std::memory_order_relaxed);
    {
      std::lock_guard lock(mutex_);
      generation_.fetch_add(1, std::memory_order_release);
    }
    if (sleeping_.load(std::memory_order_acquire) > 0) wake_.notify_all();
    take_blocks();
    // Every worker passes once through every generation, so that none can meet the next job with this one's numbers.
    // On a busy machine a worker may be off its core for long: give ours up after a while.
    for (int i = 0; active_.load(std::memory_order_acquire) > 0; ++i) {
      if (i < 4096)
        pause();
      else
        std::this_thread::yield();
    }
    turns_.pass_on();
  }

 private:
  void take_blocks() {
    inside_block = true;
    for (;;) {
      const int block = next_.fetch_add(1, std::memory_order_relaxed);
      if (block >= count_) break;
      call_(context_, block);
    }
    inside_block = false;
  }

  void work() {
    std::uint64_t seen = 0;
    for (;;) {
      wait_for_job(seen);
      seen = generation_.load(std::memory_order_acquire);
      if (stop_) return;
      take_blocks();
      active_.fetch_sub(1, std::memory_order_release);
    }
  }

  void wait_for_job(std::uint64_t seen) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::microseconds(50);
    for (int i = 0;; ++i) {
      if (generation_.load(std::memory_order_acquire) != seen) return;
      pause();
      if (i % 64 == 63 && std::chrono::steady_clock::now() > give_up) break;
    }
    std::unique_lock lock(mutex_);
    sleeping_.fetch_add(1, std::memory_order_release);
    wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
    sleeping_.fetch_sub(1, std::memory_order_release);
  }

  Turns turns_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<int> next_{0}, active_{0}, sleeping_{0};
  std::atomic<bool> stop_{false};
  void (*call_)(void*, int) = nullptr;
  void* context_ = nullptr;
  int count_ = 0;
};

// What is known of a calling thread.
struct Caller {
  int share = 0;              // Threads of its own; 0: it uses the common pool.
  std::unique_ptr<Pool> own;  // For a share of two or more, from the first call on.
  int fewest_threads = 0;
};
thread_local Caller caller;

std::mutex common_mutex;

// Whoever runs blocks on the pool holds a copy. Never destroyed at exit: workers may still be asleep when the
// interpreter unloads us.
std::shared_ptr<Pool>& common() {
  static auto& pool = *new std::shared_ptr<Pool>;
  return pool;
}

void mind_forks() {
#if !defined(_WIN32)
  static const int registered = pthread_atfork(nullptr, nullptr, [] {
    // The workers stayed in the parent: their pools' memory is given up.
    new (&common_mutex) std::mutex;
    new (&common()) std::shared_ptr<Pool>;
    new (&caller.own) std::unique_ptr<Pool>;
  });
  (void)registered;
#endif
}

std::shared_ptr<Pool> common_pool() {
  std::lock_guard lock(common_mutex);
  if (!common()) {
    mind_forks();
    common() = std::make_shared<Pool>(processors());
  }
  return common();
}

Pool& own_pool() {
  if (!caller.own) {
    mind_forks();
    caller.own = std::make_unique<Pool>(caller.share);
  }
  return *caller.own;
}

void note_threads(int threads) {
  caller.fewest_threads = caller.fewest_threads == 0 ? threads : std::min(caller.fewest_threads, threads);
}

}  // namespace

int set_num_threads(int count) {
  const int wanted = count > 0 ? count : processors();
  // Declared before the lock: if this is the old pool's last holder, its workers end after the lock is open again.
  std::shared_ptr<Pool> old;
  std::lock_guard lock(common_mutex);
  if (common() && common()->threads() == wanted) return wanted;
  mind_forks();
  old = std::exchange(common(), std::make_shared<Pool>(wanted));
  return common()->threads();
}

int num_threads() {
  if (caller.share == 1) return 1;
  return caller.share > 0 ? own_pool().threads() : common_pool()->threads();
}

int set_caller_threads(int count) {
  const int before = caller.share;
  caller.share = std::max(0, count);
  if (caller.share != before) caller.own.reset();
  return before;
}

int take_fewest_threads() { return std::exchange(caller.fewest_threads, 0); }

namespace detail {

void run_blocks(int count, void (*call)(void*, int), void* context) {
  if (count > 1 && !inside_block) {
    std::shared_ptr<Pool> shared;
    if (caller.share == 0) shared = common_pool();
    Pool* pool = shared ? shared.get() : caller.share > 1 ? &own_pool() : nullptr;
    const int threads = pool ? pool->threads() : 1;
    note_threads(threads);
    if (threads > 1) {
      pool->run(count, call, context);
      return;
    }
  }
  for (int block = 0; block < count; ++block) call(context, block);
}

}  // namespace detail
}  // namespace s3d
