#pragma once
// The softmax of attention's forward on Hopper: a thread's scores of its two rows become weights, 128 keys at a time.
//
// The running maximum is of unscaled scores, and weights are 2^(scale log2(e) (s - max)); scale is positive (config.h).
#include "attention/hopper_rows.cuh"

namespace heddle::cuda {

constexpr int kForwardKeys = 128;
constexpr int kForwardScores = kForwardKeys / 2;  // a thread's: rows lane / 4 and lane / 4 + 8 of the warp's

// What a thread knows of its two rows. Sums are of this thread's keys.
struct ForwardRows {
  QueryRows of;
  float scale_log2;
  float max[2], sum[2], rescale[2];

  __device__ ForwardRows(const QueryRows& rows, float scale) : of(rows), scale_log2(scale), max{kNoScore, kNoScore}, sum{0, 0} {}

  // Maxima move on with scores: the base of the exponents, and in `rescale` what sums so far count.
  __device__ void raise(float (&base)[2], const float (&s)[kForwardScores]) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      float most[2] = {s[row * 2], s[row * 2 + 1]};  // two chains: one's latency would be in the way
#pragma unroll
      for (int i = row * 2 + 4; i < kForwardScores; i += 4)
#pragma unroll
        for (int j = 0; j < 2; ++j) most[j] = fmaxf(most[j], s[i + j]);
      float top = fmaxf(most[0], most[1]);
      top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
      top = fmaxf(fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2)), max[row]);
      base[row] = top == kNoScore ? 0.0f : top * scale_log2;  // nothing seen yet: 2^(-inf - 0) = 0
      rescale[row] = exp2_fast(fmaf(max[row], scale_log2, -base[row]));
      max[row] = top;
      sum[row] *= rescale[row];
    }
  }

  // s becomes weights, of keys of which some may be hidden.
  template <bool Hides, bool Drops>
  __device__ void softmax(float (&s)[kForwardScores], int key, const AttentionDropout& dropout) {
    if constexpr (Hides) hide_keys<kForwardKeys>(s, of, key);
    float base[2];
    raise(base, s);
#pragma unroll
    for (int i = 0; i < kForwardScores; ++i) {
      const int row = i / 2 % 2;
      s[i] = exp2_fast(fmaf(s[i], scale_log2, -base[row]));
      sum[row] += s[i];
    }
    // Weights of what is dropped become 0; what the others count instead comes in the end.
    if constexpr (Drops) {
      uint32_t kept[2];
      draw_kept<kForwardKeys>(kept, dropout, of, key);
#pragma unroll
      for (int i = 0; i < kForwardScores; ++i)
        if (!keeps(kept, i)) s[i] = 0;
    }
  }

  // Of the blocks of keys above `first`, the warpgroup sees those in (below, above] whole.
  __device__ void whole(int& above, int& below, int first) const {
    const AttentionMask& mask = of.mask;
    const int low = ::max(0, mask.position(of.first + 63) - mask.behind), high = min(mask.Tk, mask.position(of.first) + mask.ahead);
    above = mask.q_documents ? first : ::max(high / kForwardKeys - 1, first);  // documents: none
    below = ::max((low + kForwardKeys - 1) / kForwardKeys - 1, first);
    asm volatile("" : "+r"(above), "+r"(below));  // computed once, not in every step
  }
};

}  // namespace heddle::cuda
