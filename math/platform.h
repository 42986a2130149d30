// SPDX-License-Identifier: Apache-2.0
// What a compiler must be told so that the same formula serves a CPU loop and a CUDA kernel.
#pragma once

#if defined(__CUDACC__)
#define S3D_HD __host__ __device__ __forceinline__
#elif defined(_MSC_VER) && !defined(__clang__)
#define S3D_HD __forceinline
#else
#define S3D_HD inline __attribute__((always_inline))
#endif

// For lambdas: the inner loops' captured values must end up in registers.
#if defined(_MSC_VER) && !defined(__clang__)
#define S3D_INLINE
#else
#define S3D_INLINE __attribute__((always_inline))
#endif
