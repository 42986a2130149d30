// SPDX-License-Identifier: Apache-2.0
// The thread pools of one extension module.
//
// for_blocks(n, f) calls f(block) for block = 0 .. n-1, each exactly once, on any thread and in any order, and
// returns when all are done. Results must not depend on which thread ran what: a block writes only its own output.
// A block that calls for_blocks itself runs the inner blocks alone.
//
// Who runs on which threads, when several Python threads call at once:
// - All callers have one pool of set_num_threads() threads in common. They take turns, one for_blocks at a time, in
//   the order in which they came: none of them is left with one thread by chance.
// - A caller with a share of its own (set_caller_threads; a viewer beside the trainer) never uses or waits for that
//   pool. It has as many threads as it asked for, itself included; with 1 it runs everything itself.
// - set_num_threads leaves running calls the threads that they began with. Later calls get the new pool, and the last
//   caller to leave the old one ends it.
// Idle threads spin for at most 50 us, then sleep. After a fork the child starts with pools of its own.
#pragma once

#include <type_traits>

namespace s3d {

// Threads of the common pool; 0: one for each processor that this process may use. Returns the number now in force,
// the caller's thread included: fewer than asked where the system starts no more.
int set_num_threads(int count);
// Threads that the calling thread's next for_blocks has at most.
int num_threads();

// From now on the calling thread has `count` threads of its own; 0: it uses the common pool again, as every thread does
// at first. Returns what it had before.
int set_caller_threads(int count);

// The fewest threads that any for_blocks of the calling thread with two blocks or more was given since this was last
// asked; 0: it made no such call. For tests.
int take_fewest_threads();

namespace detail {
void run_blocks(int count, void (*call)(void*, int), void* context);
}

template <class F>
void for_blocks(int count, F&& f) {
  auto* context = const_cast<void*>(static_cast<const void*>(&f));
  detail::run_blocks(count, [](void* c, int block) { (*static_cast<std::remove_reference_t<F>*>(c))(block); }, context);
}

}  // namespace s3d
