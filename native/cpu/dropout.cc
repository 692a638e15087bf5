// Dropout: an element's fate depends on (seed, step, stream, its index) alone, so the backward pass draws the same mask again
// by running on the gradient.
#include "cpu/kernels.h"
#include "cpu/output.h"
#include "cpu/philox.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

struct Fate {
  PhiloxKeys keys;
  uint32_t stream, step;
  vu threshold;
  vf scale;
};

// y (+)= dropout(x) for elements [low, high), low a multiple of 4.
template <bool kAdd, bool kPast>
void drop(const Fate& fate, const float* from, float* to, int64_t low, int64_t high) {
  constexpr int kBlocks = 4, kVectors = 4 * kBlocks;
  for (int64_t i = low; i < high; i += kVectors * VW) {
    Philox bits[kBlocks];
    philox_blocks(fate.keys, static_cast<uint64_t>(i) / 4, fate.stream, fate.step, bits);
    for (auto& b : bits) interleave(b.x);
    const auto dropped = [&](int j, vf x) { return select((vi)(bits[j / 4].x[j % 4] >= fate.threshold), x * fate.scale, vf{}); };
    if (i + kVectors * VW <= high) {
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) {
        const int64_t at = i + j * VW;
        vf y = dropped(j, load(from + at));
        if (kAdd) y = load(to + at) + y;
        if (kPast) fetch(from + at);
        put(kPast, to + at, y, VW);
      }
    } else {
      for (int j = 0; i + j * VW < high; ++j) {
        const int64_t at = i + j * VW;
        const int rest = high - at < VW ? static_cast<int>(high - at) : VW;
        vf y = dropped(j, load_part(from + at, rest));
        if (kAdd) y = load_part(to + at, rest) + y;
        store_part(to + at, y, rest);
      }
    }
  }
}

}  // namespace

void dropout(const DropoutArgs& a) {
  const RandomState random = *a.random;
  const float* from = f32(a.x);
  float* to = f32(a.y);
  if (a.p >= 1) {  // the threshold would leave 2^-32 of the elements, and 1 / (1 - p) is infinite
    parallel_range(a.n, 1 << 16, [&](int64_t low, int64_t high) {
      for (int64_t i = low; i < high; ++i) to[i] = a.accumulate ? to[i] + 0.0f : 0.0f;
    });
    return;
  }
  const Fate fate{{random.seed_low, random.seed_high}, a.stream, random.step, drop_threshold(a.p) - vu{}, splat(1.0f / (1.0f - a.p))};
  const bool past = !a.accumulate && from != to && to_line(to) == 0 && past_caches(a.n * 4);
  const auto rows = a.accumulate ? drop<true, false> : past ? drop<false, true> : drop<false, false>;
  parallel_range(a.n, 8192, [&](int64_t low, int64_t high) { rows(fate, from, to, low, high); });
}

}  // namespace heddle::cpu::HEDDLE_ISA
