// SPDX-License-Identifier: Apache-2.0
// The thread pool of one extension module.
//
// for_blocks(n, f) calls f(block) for block = 0 .. n-1, each exactly once, on any thread and in any order, and
// returns when all are done. Results must not depend on which thread ran what: a block writes only its own output.
// A second caller (another Python thread) runs its blocks alone, on its own thread, and never waits for the first.
// Idle threads spin for at most 50 us, then sleep. After a fork the child starts with a pool of its own.
#pragma once

#include <functional>

namespace s3d {

// 0: one thread for each processor that this process may use. Returns the number now in force, the caller's included.
int set_num_threads(int count);
int num_threads();

namespace detail {
void run_blocks(int count, void (*call)(void*, int), void* context);
}

template <class F>
void for_blocks(int count, F&& f) {
  auto* context = const_cast<void*>(static_cast<const void*>(&f));
  detail::run_blocks(count, [](void* c, int block) { (*static_cast<std::remove_reference_t<F>*>(c))(block); }, context);
}

}  // namespace s3d
