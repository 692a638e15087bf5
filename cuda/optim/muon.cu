// The elementwise halves of a Muon step; the Newton-Schulz steps between them are products of matrices.
#include "kernels.h"
#include "optim/flat.cuh"

namespace heddle::cuda {
namespace {

// m = beta*m + (1-beta)*g'; x = nesterov ? (1-beta)*g' + beta*m : m. Skipped: m stays; x, which the Newton-Schulz steps read all the same,
// becomes 0.
__global__ void __launch_bounds__(kFlatThreads, 2) momentum_step(MuonMomentumArgs a, bool aligned) {
  const StepState& s = *a.state;
  const bool skip = s.skip;
  const float scale = gradient_scale(s), beta = static_cast<float>(a.beta), rest = static_cast<float>(1 - a.beta);
  each_place(a.n, aligned, [&](const FlatPlace& place) {
    float g[kFlat] = {}, m[kFlat], x[kFlat] = {};
    if (!skip) {
      load_flat(a.g, place, g);
      load_flat(a.m, place, m);
#pragma unroll
      for (int j = 0; j < kFlat; ++j) {
        const float part = rest * (g[j] * scale);
        m[j] = fmaf(beta, m[j], part);
        x[j] = a.nesterov ? fmaf(beta, m[j], part) : m[j];
      }
      store_flat(a.m, place, m);
    }
    store_flat(a.x, place, x);
  });
}

// p = p * (1 - lr*wd) - lr * ratio * x
template <class Copy>
__global__ void __launch_bounds__(kFlatThreads, 2) apply_step(MuonApplyArgs a, bool aligned) {
  const StepState& s = *a.state;
  if (s.skip) return;
  const float kept = shrink(s, a.weight_decay), minus_rate = -s.lr * a.ratio;
  each_place(a.n, aligned, [&](const FlatPlace& place) {
    float p[kFlat], x[kFlat];
    load_flat(a.p, place, p);
    load_flat(a.x, place, x);
#pragma unroll
    for (int j = 0; j < kFlat; ++j) p[j] = fmaf(minus_rate, x[j], p[j] * kept);
    store_flat(a.p, place, p);
    if (a.copy) store_flat(static_cast<Copy*>(a.copy), place, p);
  });
}

}  // namespace

void muon_momentum(const MuonMomentumArgs& a) {
  if (a.n == 0) return;
  const bool aligned = aligned16(a.g) && aligned16(a.m) && aligned16(a.x);
  launch("muon_momentum", momentum_step, flat_blocks(a.n), kFlatThreads, 0, a, aligned);
}

void muon_apply(const MuonApplyArgs& a) {
  if (a.n == 0) return;
  const bool aligned = aligned16(a.p) && aligned16(a.x) && aligned16(a.copy);
  dispatch_float(a.copy ? a.copy_type : DType::f32,
                 [&](auto copy) { launch("muon_apply", apply_step<decltype(copy)>, flat_blocks(a.n), kFlatThreads, 0, a, aligned); });
}

}  // namespace heddle::cuda
