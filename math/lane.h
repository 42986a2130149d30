// SPDX-License-Identifier: Apache-2.0
// A fixed number of floats worked on together: all that the formulas of math/ know of SIMD.
//
// Lanes<N> behaves as a float in the formulas of math/ (arithmetic, comparison, select, exp2, log2, sqrt). It rests
// on GNU vector extensions (gcc or clang, no other compiler) at the native width of the target (16, 8 or 4). kLanes is
// the native width: never use wider lanes than that, g++ 12 then works through the stack. Two loops use intrinsics of
// their own: cpu/raster/lane_sums.h adds across lanes, cpu/mvs/mvs_patch.h gathers.
#pragma once

#include <cstdint>
#include <cstring>

#include "math/scalar.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace s3d {

#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
#elif defined(__AVX2__)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif

#if defined(__GNUC__)

// g++ ignores a vector_size that depends on a template parameter, so the widths are spelled out.
template <int N>
struct LaneTypes;
template <>
struct LaneTypes<4> {
  typedef float F __attribute__((vector_size(16)));
  typedef std::int32_t I __attribute__((vector_size(16)));
};
template <>
struct LaneTypes<8> {
  typedef float F __attribute__((vector_size(32)));
  typedef std::int32_t I __attribute__((vector_size(32)));
};
template <>
struct LaneTypes<16> {
  typedef float F __attribute__((vector_size(64)));
  typedef std::int32_t I __attribute__((vector_size(64)));
};

template <int N>
struct LaneMask {
  using V = typename LaneTypes<N>::I;
  V v;
};

template <int N>
struct Lanes {
  using V = typename LaneTypes<N>::F;
  V v;

  Lanes() = default;
  S3D_HD Lanes(V x) : v(x) {}
  S3D_HD Lanes(float x) : v(x - V{}) {}
  S3D_HD Lanes(double x) : Lanes(static_cast<float>(x)) {}

  S3D_HD static Lanes load(const float* p) {
    Lanes out;
    std::memcpy(&out.v, p, sizeof(V));
    return out;
  }
  S3D_HD void store(float* p) const { std::memcpy(p, &v, sizeof(V)); }
  S3D_HD float operator[](int i) const { return v[i]; }
};

template <int N>
S3D_HD Lanes<N> operator+(Lanes<N> a, Lanes<N> b) {
  return {a.v + b.v};
}
template <int N>
S3D_HD Lanes<N> operator-(Lanes<N> a, Lanes<N> b) {
  return {a.v - b.v};
}
template <int N>
S3D_HD Lanes<N> operator*(Lanes<N> a, Lanes<N> b) {
  return {a.v * b.v};
}
template <int N>
S3D_HD Lanes<N> operator/(Lanes<N> a, Lanes<N> b) {
  return {a.v / b.v};
}
template <int N>
S3D_HD Lanes<N> operator-(Lanes<N> a) {
  return {-a.v};
}
template <int N>
S3D_HD Lanes<N>& operator+=(Lanes<N>& a, Lanes<N> b) {
  a.v += b.v;
  return a;
}
template <int N>
S3D_HD Lanes<N>& operator-=(Lanes<N>& a, Lanes<N> b) {
  a.v -= b.v;
  return a;
}
template <int N>
S3D_HD Lanes<N>& operator*=(Lanes<N>& a, Lanes<N> b) {
  a.v *= b.v;
  return a;
}

template <int N>
S3D_HD LaneMask<N> operator<(Lanes<N> a, Lanes<N> b) {
  return {a.v < b.v};
}
template <int N>
S3D_HD LaneMask<N> operator>(Lanes<N> a, Lanes<N> b) {
  return {a.v > b.v};
}
template <int N>
S3D_HD LaneMask<N> operator<=(Lanes<N> a, Lanes<N> b) {
  return {a.v <= b.v};
}
template <int N>
S3D_HD LaneMask<N> operator>=(Lanes<N> a, Lanes<N> b) {
  return {a.v >= b.v};
}
template <int N>
S3D_HD LaneMask<N> operator==(Lanes<N> a, Lanes<N> b) {
  return {a.v == b.v};
}
template <int N>
S3D_HD LaneMask<N> operator&(LaneMask<N> a, LaneMask<N> b) {
  return {a.v & b.v};
}
template <int N>
S3D_HD LaneMask<N> operator|(LaneMask<N> a, LaneMask<N> b) {
  return {a.v | b.v};
}
template <int N>
S3D_HD LaneMask<N> operator~(LaneMask<N> a) {
  return {~a.v};
}

template <int N>
S3D_HD Lanes<N> select(LaneMask<N> mask, Lanes<N> a, Lanes<N> b) {
  return {mask.v ? a.v : b.v};
}
// x86 has instructions for exactly a < b ? a : b, which compilers use only where NaN is ruled out.
template <int N>
S3D_HD Lanes<N> min(Lanes<N> a, Lanes<N> b) {
#if defined(__AVX512F__)
  if constexpr (N == 16) return {(typename Lanes<N>::V)_mm512_min_ps((__m512)a.v, (__m512)b.v)};
#endif
#if defined(__AVX2__)
  if constexpr (N == 8) return {(typename Lanes<N>::V)_mm256_min_ps((__m256)a.v, (__m256)b.v)};
#endif
  return {a.v < b.v ? a.v : b.v};
}
template <int N>
S3D_HD Lanes<N> max(Lanes<N> a, Lanes<N> b) {
#if defined(__AVX512F__)
  if constexpr (N == 16) return {(typename Lanes<N>::V)_mm512_max_ps((__m512)a.v, (__m512)b.v)};
#endif
#if defined(__AVX2__)
  if constexpr (N == 8) return {(typename Lanes<N>::V)_mm256_max_ps((__m256)a.v, (__m256)b.v)};
#endif
  return {a.v > b.v ? a.v : b.v};
}
template <int N>
S3D_HD Lanes<N> abs(Lanes<N> a) {
  typedef typename LaneMask<N>::V I;
  return {(typename Lanes<N>::V)((I)a.v & (I{} + 0x7fffffff))};
}
template <int N>
S3D_HD Lanes<N> negative(Lanes<N> a) {
  typedef typename LaneMask<N>::V I;
  return {(typename Lanes<N>::V)((I)a.v | (I{} + static_cast<std::int32_t>(0x80000000u)))};
}
template <int N>
S3D_HD LaneMask<N> is_finite(Lanes<N> a) {
  // Compares bits: an optimiser that assumes finite values cannot remove it.
  typedef typename LaneMask<N>::V I;
  return {((I)a.v & (I{} + 0x7f800000)) != (I{} + 0x7f800000)};
}

template <int N>
S3D_HD Lanes<N> sqrt(Lanes<N> a) {
  Lanes<N> out;
#if defined(__AVX512F__)
  if constexpr (N == 16) {
    out.v = (typename Lanes<N>::V)_mm512_sqrt_ps((__m512)a.v);
    return out;
  }
#endif
#if defined(__AVX2__)
  if constexpr (N == 8) {
    out.v = (typename Lanes<N>::V)_mm256_sqrt_ps((__m256)a.v);
    return out;
  }
#endif
  for (int i = 0; i < N; ++i) out.v[i] = __builtin_sqrtf(a.v[i]);
  return out;
}

// One bit a lane, lane 0 lowest, from the sign bits.
template <int N>
S3D_HD std::uint32_t bits(LaneMask<N> m) {
#if defined(__AVX512DQ__)
  if constexpr (N == 16) return static_cast<std::uint32_t>(_mm512_movepi32_mask((__m512i)m.v));
#endif
#if defined(__AVX2__)
  if constexpr (N == 8) return static_cast<std::uint32_t>(_mm256_movemask_ps((__m256)m.v));
#endif
  std::uint32_t out = 0;
  for (int i = 0; i < N; ++i) out |= (static_cast<std::uint32_t>(m.v[i]) >> 31) << i;
  return out;
}

namespace detail {
inline constexpr float kExp2Shift = 12582912.0f;

// 2^f for |f| <= 1/2 in Estrin's order: three multiplications deep instead of five. The fit is exact at 0, so that
// factors near 1 can be multiplied many times over.
template <class T>
S3D_HD T exp2_polynomial(T f) {
  const T f2 = f * f;
  const T high = T(0.001326472731307149f) * f + T(0.009671512991189957f);
  const T middle = T(0.05550733581185341f) * f + T(0.24022242426872253f);
  const T low = T(0.6931470036506653f) * f + T(1.0f);
  return (high * f2 + middle) * f2 + low;
}

template <int N>
S3D_HD Lanes<N> add_exponent(Lanes<N> x, typename LaneMask<N>::V n) {
  typedef typename LaneMask<N>::V I;
  return {(typename Lanes<N>::V)((I)x.v + (n << 23))};
}
}  // namespace detail

// 2^x for -126 <= x <= 126 to 2e-7 of its value; outside that the result is meaningless (callers mask or clamp it).
// x = n + f with |f| <= 1/2; a polynomial of degree 5 fitted here for the least relative error; n added to the
// exponent.
template <int N>
S3D_HD Lanes<N> exp2(Lanes<N> x) {
  typedef typename LaneMask<N>::V I;
  // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
  const Lanes<N> shifted = x + Lanes<N>(detail::kExp2Shift);
  const Lanes<N> f = x - (shifted - Lanes<N>(detail::kExp2Shift));
  return detail::add_exponent(detail::exp2_polynomial(f), (I)shifted.v);
}

// log2(x) for normal positive x to 3e-7 absolute + relative: exponent bits plus the atanh series of the mantissa.
template <int N>
S3D_HD Lanes<N> log2(Lanes<N> x) {
  typedef typename LaneMask<N>::V I;
  typedef typename Lanes<N>::V F;
  // The offset makes the mantissa fall into [sqrt(1/2), sqrt(2)).
  const I b = (I)x.v - (I{} + 0x3f3504f3);
  const I e = b >> 23;
  const Lanes<N> m{(F)((I)x.v - (e << 23))};
  const Lanes<N> s = (m - Lanes<N>(1.0f)) / (m + Lanes<N>(1.0f));
  const Lanes<N> s2 = s * s;
  Lanes<N> y = Lanes<N>(1.0f / 9.0f);
  y = y * s2 + Lanes<N>(1.0f / 7.0f);
  y = y * s2 + Lanes<N>(1.0f / 5.0f);
  y = y * s2 + Lanes<N>(1.0f / 3.0f);
  y = y * s2 + Lanes<N>(1.0f);
  return Lanes<N>{__builtin_convertvector(e, F)} + s * y * Lanes<N>(2.8853900817779268f);
}

#else
#error "math/lane.h needs GNU vector extensions (gcc or clang; on Windows use clang-cl)"
#endif

template <int N>
S3D_HD float horizontal_sum(Lanes<N> a) {
  // A fixed tree, so that the result does not depend on the compiler's choice.
  float t[N];
  a.store(t);
  for (int half = N / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) t[i] += t[i + half];
  return t[0];
}

using Lane = Lanes<kLanes>;
using Mask = LaneMask<kLanes>;

}  // namespace s3d
