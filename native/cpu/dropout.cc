// Dropout: an element's fate depends on (seed, step, stream, its index) alone, so the backward pass draws the same mask again
// by running on the gradient.
#include "cpu/kernels.h"
#include "cpu/output.h"
#include "cpu/philox.h"

namespace heddle::cpu::HEDDLE_ISA {

void dropout(const DropoutArgs& a) {
  const RandomState random = *a.random;
  const PhiloxKeys keys(random.seed_low, random.seed_high);
  const vu threshold = drop_threshold(a.p) - vu{};
  const bool none_kept = a.p >= 1;  // the threshold leaves 2^-32 of them, and 1 / (1 - p) is infinite
  const vi some = vi{} - (none_kept ? 0 : 1);
  const vf scale = splat(none_kept ? 0.0f : 1.0f / (1.0f - a.p));
  const float* from = f32(a.x);
  float* to = f32(a.y);
  constexpr int64_t kStep = 4 * VW;
  const bool past = !a.accumulate && from != to && to_line(to) == 0 && past_caches(a.n * 4);
  parallel_range(a.n, 8192, [&](int64_t low, int64_t high) {
    for (int64_t i = low; i < high; i += kStep) {
      Philox bits = philox_blocks(keys, static_cast<uint64_t>(i) / 4, a.stream, random.step);
      interleave(bits.x);
      for (int w = 0; w < 4; ++w) {
        const int64_t at = i + w * VW;
        if (at >= high) break;
        const int rest = high - at < VW ? static_cast<int>(high - at) : VW;
        const vi keep = (vi)(bits.x[w] >= threshold) & some;
        const vf x = rest == VW ? load(from + at) : load_part(from + at, rest);
        vf y = select(keep, x * scale, vf{});
        if (a.accumulate) y = (rest == VW ? load(to + at) : load_part(to + at, rest)) + y;
        if (past) fetch(from + at);
        put(past, to + at, y, rest);
      }
    }
  });
}

}  // namespace heddle::cpu::HEDDLE_ISA
