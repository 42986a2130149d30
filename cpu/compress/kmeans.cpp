// SPDX-License-Identifier: Apache-2.0
// Nearest entries: lanes are vectors, a block of entries is broadcast against them, and scores never reach memory.
#include "cpu/compress/kmeans.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/base/pool.h"
#include "cpu/compress/kmeans_rows.h"
#include "math/kmeans.h"

namespace s3d {
namespace {

using Ints = LaneTypes<kLanes>::I;

constexpr int kTile = 2 * kLanes;
// Entries at once: two accumulators each, in 32 or 16 registers.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kBlock = 8;
#else
constexpr int kBlock = 6;
#endif
constexpr float kInfinity = std::numeric_limits<float>::infinity();
static_assert(kKmeansGroup % kTile == 0);

// kTile vectors side by side, [dim][kTile], with the best score and entry of each so far.
struct Tile {
  std::vector<float> columns;
  float best[kTile] = {};
  std::int32_t label[kTile] = {};

  explicit Tile(int dim) : columns(static_cast<std::size_t>(dim) * kTile) {}

  void clear() { std::fill(columns.begin(), columns.end(), 0.0f); }
  void set(int lane, const float* row, int dim) {
    for (int d = 0; d < dim; ++d) columns[static_cast<std::size_t>(d) * kTile + lane] = row[d];
  }
};

// Scores of kBlock entries; rows[e] points at entry e.
struct Scores {
  Lane low[kBlock], high[kBlock];
};

inline void score(const Tile& tile, int dim, const float* const* rows, const float* half_norms, Scores& out) {
  Lane low[kBlock], high[kBlock];
#pragma GCC unroll 8
  for (int e = 0; e < kBlock; ++e) low[e] = high[e] = Lane(0.0f);
  const float* column = tile.columns.data();
  for (int d = 0; d < dim; ++d, column += kTile) {
    const Lane x0 = Lane::load(column), x1 = Lane::load(column + kLanes);
#pragma GCC unroll 8
    for (int e = 0; e < kBlock; ++e) {
      const Lane c(rows[e][d]);
      low[e] += x0 * c;
      high[e] += x1 * c;
    }
  }
#pragma GCC unroll 8
  for (int e = 0; e < kBlock; ++e) {
    const Lane norm(half_norms[e]);
    out.low[e] = entry_score(norm, low[e]);
    out.high[e] = entry_score(norm, high[e]);
  }
}

inline bool any_below(const Lane* scores, Lane limit) {
  Lane least = scores[0];
#pragma GCC unroll 8
  for (int e = 1; e < kBlock; ++e) least = min(least, scores[e]);
  return bits(least < limit) != 0;
}

// Keeps what is nearer than the best so far; entries come in rising order, so the first of equals stays.
inline void keep_best(const Lane* scores, const std::int32_t* names, float* best, std::int32_t* label) {
  Lane low = Lane::load(best);
  if (!any_below(scores, low)) return;
  Ints name;
  std::memcpy(&name, label, sizeof(name));
  for (int e = 0; e < kBlock; ++e) {
    const Mask nearer = scores[e] < low;
    low = select(nearer, scores[e], low);
    name = nearer.v ? Ints{} + names[e] : name;
  }
  low.store(best);
  std::memcpy(label, &name, sizeof(name));
}

// Compares a tile with `count` entries named by name(i), in rising order.
template <class Name>
void search(Tile& tile, const Rows& entries, const float* half_norms, std::int64_t count, const Name& name) {
  const float* rows[kBlock];
  float norms[kBlock];
  std::int32_t names[kBlock];
  Scores scores;
  for (std::int64_t i = 0; i < count; i += kBlock) {
    for (int e = 0; e < kBlock; ++e) {
      // The last block repeats the last entry, which cannot win against itself.
      const std::int32_t p = name(std::min(i + e, count - 1));
      names[e] = p;
      rows[e] = entries[p];
      norms[e] = half_norms[p];
    }
    score(tile, entries.dim, rows, norms, scores);
    keep_best(scores.low, names, tile.best, tile.label);
    keep_best(scores.high, names, tile.best + kLanes, tile.label + kLanes);
  }
}

struct Candidate {
  float score;
  std::int32_t entry;
};

bool nearer(const Candidate& a, const Candidate& b) {
  return a.score < b.score || (a.score == b.score && a.entry < b.entry);
}

// Entries that can be nearest to a vector of one group; when there are too many the farther half is dropped.
struct Candidates {
  std::vector<Candidate> list;
  bool cut = false;

  void clear() {
    list.clear();
    cut = false;
  }
  // Returns the score that a further entry must be below.
  float add(Candidate c, std::size_t cap, float limit) {
    list.push_back(c);
    if (list.size() < 2 * cap) return limit;
    shrink(cap);
    return list[cap - 1].score;
  }
  void shrink(std::size_t cap) {
    if (list.size() <= cap) return;
    std::nth_element(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(cap) - 1, list.end(), nearer);
    list.resize(cap);
    cut = true;
  }
  void finish(std::size_t cap) {
    shrink(cap);
    std::sort(list.begin(), list.end(), [](const Candidate& a, const Candidate& b) { return a.entry < b.entry; });
  }
};

// Fills the lists of kTile centres; limits[lane] is the largest score that still counts.
void collect(const Tile& centres, const Rows& entries, const float* half_norms, std::size_t cap, float* limits,
             Candidates* lists) {
  const float* rows[kBlock];
  float norms[kBlock];
  Scores scores;
  for (std::int64_t p = 0; p < entries.count; p += kBlock) {
    const int block = static_cast<int>(std::min<std::int64_t>(kBlock, entries.count - p));
    for (int e = 0; e < kBlock; ++e) {
      const std::int64_t at = std::min(p + e, entries.count - 1);
      rows[e] = entries[at];
      norms[e] = half_norms[at];
    }
    score(centres, entries.dim, rows, norms, scores);
    for (int half = 0; half < 2; ++half) {
      const Lane* s = half == 0 ? scores.low : scores.high;
      float* limit = limits + half * kLanes;
      if (!any_below(s, Lane::load(limit))) continue;
      for (int e = 0; e < block; ++e) {
        for (std::uint32_t m = bits(s[e] < Lane::load(limit)); m != 0; m &= m - 1) {
          const int lane = __builtin_ctz(m);
          Candidates& list = lists[half * kLanes + lane];
          limit[lane] = list.add({s[e][lane], static_cast<std::int32_t>(p + e)}, cap, limit[lane]);
        }
      }
    }
  }
}

// Groups that are worked on together: their centres fill whole tiles.
constexpr int kGroupsAtOnce = 32;
static_assert(kGroupsAtOnce % kTile == 0);

class NearSearch {
 public:
  NearSearch(const Rows& vectors, const Rows& entries, const float* half_norms, int cap)
      : vectors_(vectors),
        entries_(entries),
        half_norms_(half_norms),
        cap_(static_cast<std::size_t>(cap)),
        centres_(vectors.dim),
        members_(vectors.dim),
        centre_(vectors.stride),
        lists_(kGroupsAtOnce) {}

  // The groups of order[0 .. count); returns how many of their lists were cut.
  int run(const std::int32_t* order, std::int64_t count, std::int32_t* labels, float* errors) {
    const auto groups = static_cast<int>((count + kKmeansGroup - 1) / kKmeansGroup);
    for (int first = 0; first < groups; first += kTile) {
      const int last = std::min(first + kTile, groups);
      float limits[kTile];
      std::fill_n(limits, kTile, -kInfinity);
      centres_.clear();
      for (int g = first; g < last; ++g) {
        lists_[g].clear();
        limits[g - first] = describe(order + g * kKmeansGroup, size(g, count), labels);
        centres_.set(g - first, centre_.data(), vectors_.dim);
      }
      collect(centres_, entries_, half_norms_, cap_, limits, lists_.data() + first);
    }
    int cut = 0;
    for (int g = 0; g < groups; ++g) {
      lists_[g].finish(cap_);
      cut += lists_[g].cut ? 1 : 0;
      assign(order + g * kKmeansGroup, size(g, count), lists_[g].list, labels, errors);
    }
    return cut;
  }

 private:
  static int size(int group, std::int64_t count) {
    return static_cast<int>(std::min<std::int64_t>(kKmeansGroup, count - group * kKmeansGroup));
  }

  // Sets centre_ to the mean of the members and returns the limit of their candidates' scores.
  float describe(const std::int32_t* members, int count, const std::int32_t* labels) {
    std::fill(centre_.begin(), centre_.end(), 0.0f);
    for (int i = 0; i < count; ++i) add_row(centre_.data(), vectors_[members[i]], vectors_.stride);
    for (float& x : centre_) x /= static_cast<float>(count);
    float reach = 0.0f;
    for (int i = 0; i < count; ++i) {
      const float* x = vectors_[members[i]];
      const float to_centre = squared_distance(x, centre_.data(), vectors_.stride);
      const float to_entry = squared_distance(x, entries_[labels[members[i]]], vectors_.stride);
      reach = std::max(reach, std::sqrt(to_centre) + std::sqrt(to_entry));
    }
    return score_limit(reach, dot(centre_.data(), centre_.data(), vectors_.stride));
  }

  void assign(const std::int32_t* members, int count, const std::vector<Candidate>& list, std::int32_t* labels,
              float* errors) {
    for (int first = 0; first < count; first += kTile) {
      const int size = std::min(kTile, count - first);
      members_.clear();
      std::fill_n(members_.best, kTile, -kInfinity);
      std::fill_n(members_.label, kTile, 0);
      for (int lane = 0; lane < size; ++lane) {
        const std::int32_t i = members[first + lane], p = labels[i];
        members_.set(lane, vectors_[i], vectors_.dim);
        members_.best[lane] = entry_score(half_norms_[p], dot(vectors_[i], entries_[p], vectors_.stride));
        members_.label[lane] = p;
      }
      if (!list.empty())
        search(members_, entries_, half_norms_, static_cast<std::int64_t>(list.size()),
               [&](std::int64_t k) { return list[static_cast<std::size_t>(k)].entry; });
      for (int lane = 0; lane < size; ++lane) {
        const std::int32_t i = members[first + lane];
        labels[i] = members_.label[lane];
        errors[i] = squared_distance(vectors_[i], entries_[labels[i]], vectors_.stride);
      }
    }
  }

  const Rows &vectors_, &entries_;
  const float* half_norms_;
  std::size_t cap_;
  Tile centres_, members_;
  std::vector<float> centre_;
  std::vector<Candidates> lists_;
};

}  // namespace

void kmeans_assign(const Rows& vectors, const Rows& entries, const float* half_norms, std::int32_t* labels,
                   float* errors) {
  // Tiles of one block stay in the second-level cache while the entries pass by, kEntries at a time.
  constexpr int kTiles = 8;
  constexpr std::int64_t kEntries = 40 * kBlock;
  const std::int64_t step = kTiles * kTile;
  for_blocks(static_cast<int>((vectors.count + step - 1) / step), [&](int block) {
    const std::int64_t begin = block * step, end = std::min(begin + step, vectors.count);
    std::vector<Tile> tiles(static_cast<std::size_t>((end - begin + kTile - 1) / kTile), Tile(vectors.dim));
    for (Tile& tile : tiles) {
      std::fill_n(tile.best, kTile, kInfinity);
      std::fill_n(tile.label, kTile, 0);
    }
    for (std::int64_t i = begin; i < end; ++i)
      tiles[static_cast<std::size_t>((i - begin) / kTile)].set(static_cast<int>((i - begin) % kTile), vectors[i],
                                                               vectors.dim);
    for (std::int64_t p = 0; p < entries.count; p += kEntries)
      for (Tile& tile : tiles)
        search(tile, entries, half_norms, std::min(kEntries, entries.count - p),
               [p](std::int64_t k) { return static_cast<std::int32_t>(p + k); });
    for (std::int64_t i = begin; i < end; ++i) {
      labels[i] = tiles[static_cast<std::size_t>((i - begin) / kTile)].label[(i - begin) % kTile];
      errors[i] = squared_distance(vectors[i], entries[labels[i]], vectors.stride);
    }
  });
}

std::int64_t kmeans_assign_near(const Rows& vectors, const Rows& entries, const float* half_norms,
                                const std::int32_t* order, int cap, std::int32_t* labels, float* errors) {
  constexpr std::int64_t kStep = kGroupsAtOnce * kKmeansGroup;
  std::atomic<std::int64_t> cut{0};
  for_blocks(static_cast<int>((vectors.count + kStep - 1) / kStep), [&](int block) {
    const std::int64_t begin = block * kStep;
    NearSearch near(vectors, entries, half_norms, cap);
    cut += near.run(order + begin, std::min(kStep, vectors.count - begin), labels, errors);
  });
  return cut;
}

void kmeans_update(const Rows& vectors, const float* weights, const std::int32_t* order, const std::int32_t* starts,
                   std::int64_t num_entries, float* entries) {
  constexpr std::int64_t kStep = 256;
  for_blocks(static_cast<int>((num_entries + kStep - 1) / kStep), [&](int block) {
    std::vector<double> sum(static_cast<std::size_t>(vectors.dim));
    for (std::int64_t p = block * kStep; p < std::min((block + 1) * kStep, num_entries); ++p) {
      std::fill(sum.begin(), sum.end(), 0.0);
      double total = 0.0;
      for (std::int32_t k = starts[p]; k < starts[p + 1]; ++k) {
        const double w = weights != nullptr ? weights[order[k]] : 1.0;
        const float* x = vectors[order[k]];
        for (int d = 0; d < vectors.dim; ++d) sum[d] += w * x[d];
        total += w;
      }
      if (!(total > 0.0)) continue;
      for (int d = 0; d < vectors.dim; ++d) entries[p * vectors.stride + d] = static_cast<float>(sum[d] / total);
    }
  });
}

}  // namespace s3d
