// SPDX-License-Identifier: Apache-2.0
// Clustering of many short vectors (the SH coefficients of splats) around a palette of entries.
//
// Rows are padded with zeros to a stride that is a multiple of 16 floats. The caller owns every buffer. Results are the
// same bits for any number of threads: a vector's entry, an entry's mean and a node's split are each found by one
// thread, in a fixed order. Vectors should be centred, for scores are |c|^2 / 2 - x . c in float (math/kmeans.h).
#pragma once

#include <cstdint>

namespace s3d {

inline constexpr int kKmeansPad = 16;
// Vectors that share one list of candidate entries, on every instruction set.
inline constexpr int kKmeansGroup = 32;

struct Rows {
  const float* data;  // [count, stride]
  std::int64_t count;
  int dim, stride;

  const float* operator[](std::int64_t i) const { return data + i * stride; }
};

// labels[i]: the nearest entry of vector i, the first of equals; errors[i]: its squared distance. half_norms[p] is half
// the squared length of entry p. Every entry is compared with every vector.
void kmeans_assign(const Rows& vectors, const Rows& entries, const float* half_norms, std::int32_t* labels,
                   float* errors);

// The same from earlier labels: kKmeansGroup vectors at a time along `order` (a permutation in which neighbours are
// alike) are compared with the entries that can be nearest to one of them, at most `cap` of these, those nearest to the
// group's centre. Exact where no list reaches the cap; no vector's entry gets worse. Returns how many lists did.
std::int64_t kmeans_assign_near(const Rows& vectors, const Rows& entries, const float* half_norms,
                                const std::int32_t* order, int cap, std::int32_t* labels, float* errors);

// entries[p] = the weighted mean of the vectors order[starts[p] .. starts[p + 1]), summed in that order in double. An
// entry without vectors, or whose weights are all 0, keeps its value. weights may be null: all 1.
void kmeans_update(const Rows& vectors, const float* weights, const std::int32_t* order, const std::int32_t* starts,
                   std::int64_t num_entries, float* entries);

// Splits the vectors into at most `count` cells, the ones with the largest squared error first, each across its
// principal axis where the two halves' errors about their projected means are least. order: the vectors, cell after
// cell, alike cells side by side; starts [count + 1]: where a cell begins. Returns the number of cells, fewer than
// `count` where no cell has an error left.
std::int64_t kmeans_split(const Rows& vectors, const float* weights, std::int64_t count, std::uint32_t seed,
                          std::int32_t* order, std::int32_t* starts);

}  // namespace s3d
