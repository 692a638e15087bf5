#pragma once
// What the fused kernels are told.
#include "attention/config.h"
#include "attention/mask.cuh"
#include "tile/heads.cuh"

namespace heddle::cuda {

// An operand (B, T, H, D), D dense.
template <class T>
struct HeadsOf {
  T* data;
  int64_t stride[3];
  __device__ HeadRows<T> head(int b, int h, int rows, int D) const { return {data + b * stride[0] + h * stride[2], stride[1], rows, D}; }
};
template <class T, class P>
HeadsOf<T> heads_of(P* data, const int64_t (&stride)[3]) {
  return {static_cast<T*>(data), {stride[0], stride[1], stride[2]}};
}

constexpr float kLog2e = 1.44269504088896341f, kLn2 = 0.693147180559945309f;

// Whether the kernels of this head size exist on the architecture that is compiled (config.h asks for no others).
template <class T, int Head>
constexpr bool has_fused() {
#if __CUDA_ARCH__ >= 800
  return true;
#else
  return ptx::has_mma<T>() && Head <= kMostHeadBefore80;
#endif
}
template <class T, int Head>
constexpr bool has_fused_backward() {
#if __CUDA_ARCH__ >= 800
  return true;
#else
  return ptx::has_mma<T>() && Head <= kMostBackwardHeadBefore80;
#endif
}

struct FusedShape {
  AttentionMask mask;
  AttentionDropout dropout;
  int H, group, D;
  int tiles;                // of a head
  float scale, scale_log2;  // scale * log2 e

  FusedShape() = default;
  FusedShape(const AttentionShape& s, int count)
      : mask(s),
        dropout(s),
        H(static_cast<int>(s.H)),
        group(static_cast<int>(s.H / s.Hkv)),
        D(static_cast<int>(s.D)),
        tiles(count),
        scale(s.scale),
        scale_log2(s.scale * kLog2e) {}
  // Neither documents nor dropout: the usual case, for which kernels of the usual head sizes, 64 and 128, are made.
  bool plain() const { return !mask.q_documents && !dropout.random; }
};

template <class T>
struct FusedForward {
  FusedShape s;
  HeadsOf<const T> q, k, v;
  HeadsOf<T> o;
  float* lse;
  int chunk;                // keys of a block
  float *parts, *part_lse;  // where there are several chunks: [chunk][B][H][Tq][D] and [chunk][B][H][Tq], in place of o and lse
};

}  // namespace heddle::cuda
