// SPDX-License-Identifier: Apache-2.0
#include "cpu/pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <new>
#include <thread>
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

class Pool {
 public:
  explicit Pool(int threads) : threads_(threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }

  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  int threads() const { return threads_; }

  // False: somebody else is using the pool.
  bool try_run(int count, void (*call)(void*, int), void* context) {
    std::unique_lock busy(busy_, std::try_to_lock);
    if (!busy.owns_lock()) return false;
    call_ = call;
    context_ = context;
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    active_.store(threads_ - 1, std::memory_order_relaxed);
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
    return true;
  }

 private:
  void take_blocks() {
    for (;;) {
      const int block = next_.fetch_add(1, std::memory_order_relaxed);
      if (block >= count_) return;
      call_(context_, block);
    }
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

  const int threads_;
  std::vector<std::thread> workers_;
  std::mutex busy_, mutex_;
  std::condition_variable wake_;
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<int> next_{0}, active_{0}, sleeping_{0};
  std::atomic<bool> stop_{false};
  void (*call_)(void*, int) = nullptr;
  void* context_ = nullptr;
  int count_ = 0;
};

// Never destroyed at exit: workers may still be asleep when the interpreter unloads us.
std::mutex pool_mutex;
Pool* pool = nullptr;

Pool& the_pool() {
  std::lock_guard lock(pool_mutex);
  if (pool == nullptr) {
    pool = new Pool(processors());
#if !defined(_WIN32)
    static const int registered = pthread_atfork(nullptr, nullptr, [] {
      // The threads stayed in the parent; the old pool's memory is given up.
      new (&pool_mutex) std::mutex;
      pool = nullptr;
    });
    (void)registered;
#endif
  }
  return *pool;
}

}  // namespace

int set_num_threads(int count) {
  const int wanted = count > 0 ? count : processors();
  if (the_pool().threads() == wanted) return wanted;
  std::lock_guard lock(pool_mutex);
  delete pool;
  pool = new Pool(wanted);
  return wanted;
}

int num_threads() { return the_pool().threads(); }

namespace detail {

void run_blocks(int count, void (*call)(void*, int), void* context) {
  if (count > 1) {
    Pool& shared = the_pool();
    if (shared.threads() > 1 && shared.try_run(count, call, context)) return;
  }
  for (int block = 0; block < count; ++block) call(context, block);
}

}  // namespace detail
}  // namespace s3d
