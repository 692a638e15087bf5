// AdamW, Adam, SGD and Lion over flat buffers: one pass, elements independent of each other. Everything that changes from step to step
// is read from the StepState when the kernel runs.
#include "kernels.h"
#include "optim/flat.cuh"

namespace heddle::cuda {
namespace {

// What all elements of a step share. Each optimizer uses some of it.
struct Factors {
  float scale;       // of the gradient
  float minus_rate;  // adam: -lr / c1; otherwise -lr
  float root_c2;     // adam: 1 / sqrt(c2)
  float kept;        // 1 - lr * weight_decay
  float beta1, beta2, rest1, rest2;
  bool first;  // the first update
};

// x^n by squaring.
__device__ inline double power(double x, int n) {
  double y = 1;
  for (; n > 0; n /= 2, x *= x)
    if (n % 2) y *= x;
  return y;
}

template <Optimizer kind>
__device__ inline Factors factors_of(const OptimizerArgs& a) {
  const StepState& s = *a.state;
  Factors f{};
  f.scale = gradient_scale(s);
  f.minus_rate = -s.lr;
  f.kept = shrink(s, a.weight_decay);
  f.beta1 = static_cast<float>(a.beta1);
  f.beta2 = static_cast<float>(a.beta2);
  f.rest1 = kind == Optimizer::sgd ? static_cast<float>(1 - static_cast<double>(a.dampening)) : static_cast<float>(1 - a.beta1);
  f.rest2 = static_cast<float>(1 - a.beta2);
  f.first = s.updates == 1;
  if constexpr (kind == Optimizer::adamw || kind == Optimizer::adam) {
    f.minus_rate = static_cast<float>(-static_cast<double>(s.lr) / (1 - power(a.beta1, s.updates)));
    f.root_c2 = static_cast<float>(1 / sqrt(1 - power(a.beta2, s.updates)));
  }
  return f;
}

// One element. `decay` is its weight decay, `momentum`: SGD has an m.
template <Optimizer kind>
__device__ inline void step(const OptimizerArgs& a, const Factors& f, float decay, bool momentum, float g, float& p, float& m, float& v) {
  g *= f.scale;
  if constexpr (kind == Optimizer::adamw || kind == Optimizer::adam) {
    if constexpr (kind == Optimizer::adamw)
      p = decay != 0 ? p * f.kept : p;
    else
      g = fmaf(decay, p, g);
    m = fmaf(f.beta1, m, f.rest1 * g);
    v = fmaf(f.beta2, v, f.rest2 * g * g);
    p = fmaf(f.minus_rate, m / fmaf(sqrtf(v), f.root_c2, a.eps), p);
  } else if constexpr (kind == Optimizer::sgd) {
    g = fmaf(decay, p, g);
    float direction = g;
    if (momentum) {
      m = f.first ? g : fmaf(f.beta1, m, f.rest1 * g);
      direction = a.nesterov ? fmaf(f.beta1, m, g) : m;
    }
    p = fmaf(f.minus_rate, direction, p);
  } else {
    const float direction = fmaf(f.beta1, m, f.rest1 * g);
    const float change = direction > 0 ? f.minus_rate : direction < 0 ? -f.minus_rate : direction;  // 0 and NaN stay
    p = (decay != 0 ? p * f.kept : p) + change;
    m = fmaf(f.beta2, m, f.rest2 * g);
  }
}

// Of what types p, its copy (f32: none) and the moments are.
template <class P_, class Copy_, class Moment_>
struct Mixed {};
template <class Copy_>
struct Types {  // in f32, with such a copy
  using P = float;
  using Copy = Copy_;
  using Moment = float;
};
template <class P_, class Copy_, class Moment_>
struct Types<Mixed<P_, Copy_, Moment_>> {
  using P = P_;
  using Copy = Copy_;
  using Moment = Moment_;
};

template <Optimizer kind, class Kept>
__global__ void __launch_bounds__(kFlatThreads, 2) optimizer_step(OptimizerArgs a, bool aligned) {
  using P = typename Types<Kept>::P;
  using Copy = typename Types<Kept>::Copy;
  using Moment = typename Types<Kept>::Moment;
  __shared__ Factors shared;
  if (a.state->skip) return;
  if (threadIdx.x == 0) shared = factors_of<kind>(a);
  __syncthreads();
  const Factors f = shared;
  constexpr bool has_v = kind == Optimizer::adamw || kind == Optimizer::adam;
  const bool momentum = kind != Optimizer::sgd || a.beta1 != 0, old_m = kind != Optimizer::sgd || (momentum && !f.first);
  P* const all_p = static_cast<P*>(a.p);
  Moment *const all_m = static_cast<Moment*>(a.m), *const all_v = static_cast<Moment*>(a.v);
  const auto updates = static_cast<uint32_t>(a.state->updates);
  each_place(a.n, aligned, [&](const FlatPlace& place) {
    float p[kFlat], g[kFlat], m[kFlat] = {}, v[kFlat] = {};
    load_flat(all_p, place, p);
    load_flat(a.g, place, g);
    if (old_m) load_flat(all_m, place, m);
    if (has_v) load_flat(all_v, place, v);
#pragma unroll
    for (int j = 0; j < kFlat; ++j) step<kind>(a, f, place.at(j) < a.decay_n ? a.weight_decay : 0.0f, momentum, g[j], p[j], m[j], v[j]);
    if constexpr (sizeof(Moment) == 2) {
      const FlatBits bits(a.seed_low, a.seed_high, kMomentStream, updates, place);
      round_flat<0>(bits, m);
      round_flat<16>(bits, v);
    }
    if constexpr (sizeof(P) == 2) round_flat<0>({a.seed_low, a.seed_high, kWeightStream, updates, place}, p);
    store_flat(all_p, place, p);
    if (momentum) store_flat(all_m, place, m);
    if (has_v) store_flat(all_v, place, v);
    if (a.copy) store_flat(static_cast<Copy*>(a.copy), place, p);
  });
}

template <Optimizer kind, class Kept>
void launch_step(const OptimizerArgs& a) {
  const bool aligned = aligned16(a.p) && aligned16(a.m) && aligned16(a.v) && aligned16(a.g) && aligned16(a.copy);
  launch("optimizer", optimizer_step<kind, Kept>, flat_blocks(a.n), kFlatThreads, 0, a, aligned);
}

template <Optimizer kind>
void step_with(const OptimizerArgs& a) {
  const bool half_moments = a.moment_type == DType::bf16;
  if (a.p_type == DType::bf16)
    return half_moments ? launch_step<kind, Mixed<bf16, float, bf16>>(a) : launch_step<kind, Mixed<bf16, float, float>>(a);
  dispatch_float(a.copy ? a.copy_type : DType::f32, [&](auto copy) {
    using Copy = decltype(copy);
    half_moments ? launch_step<kind, Mixed<float, Copy, bf16>>(a) : launch_step<kind, Copy>(a);
  });
}

}  // namespace

void optimizer(const OptimizerArgs& a) {
  if (a.n == 0) return;
  switch (a.kind) {
    case Optimizer::adamw:
      return step_with<Optimizer::adamw>(a);
    case Optimizer::adam:
      return step_with<Optimizer::adam>(a);
    case Optimizer::sgd:
      return step_with<Optimizer::sgd>(a);
    case Optimizer::lion:
      return step_with<Optimizer::lion>(a);
  }
}

}  // namespace heddle::cuda
