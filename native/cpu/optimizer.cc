// Optimizer steps over flat buffers: one pass, elements independent of each other. Everything that changes from step to step
// is read from the StepState when the kernel runs.
#include "cpu/convert.h"
#include "cpu/kernels.h"
#include "cpu/output.h"
#include "cpu/philox.h"
#include "cpu/vecmath.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int64_t kGrain = 16384;

// One flat array of a step, loaded and stored by vectors; `count` < VW at the end of a piece.
inline vf take(const float* p, int count) { return count == VW ? load(p) : load_part(p, count); }
inline void put(float* p, vf v, int count) { count == VW ? store(p, v) : store_part(p, v, count); }

// f(i, count) for vectors of elements in [low, high).
template <class F>
inline void vectors(int64_t low, int64_t high, F&& f) {
  int64_t i = low;
  for (; i + VW <= high; i += VW) f(i, VW);
  if (i < high) f(i, static_cast<int>(high - i));
}

// The piece [low, high) of p, still in the cache, rounded into the copy.
template <class Args>
inline void round_copy(const Args& a, int64_t low, int64_t high) {
  if (a.copy) from_f32(f32(a.p) + low, a.copy_type, static_cast<uint16_t*>(a.copy) + low, high - low);
}

// Where a step finds its elements in f32. Null: there is none.
struct Place {
  float *p, *m, *v;
  const float* g;

  Place at(int64_t i) const { return {p + i, m ? m + i : m, v ? v + i : v, g + i}; }
};

// step(place, count, decay) for the elements [low, high), of which `first` is the place of the first: decay_n of all with weight_decay,
// the others with 0.
template <class F>
inline void steps(const OptimizerArgs& a, const Place& first, int64_t low, int64_t high, F&& step) {
  const int64_t middle = a.decay_n < low ? low : a.decay_n > high ? high : a.decay_n;
  vectors(low, middle, [&](int64_t i, int count) { step(first.at(i - low), count, a.weight_decay); });
  vectors(middle, high, [&](int64_t i, int count) { step(first.at(i - low), count, 0.0f); });
}

constexpr int64_t kGroup = 64;  // elements that are widened at a time where something is kept in bf16

// Elements [low, low + n) of an array of that type, in f32: themselves, or widened into `wide`.
inline float* widen(void* array, DType type, int64_t low, int64_t n, float* wide) {
  if (type == DType::f32 || !array) return array ? f32(array) + low : nullptr;
  to_f32(type, static_cast<const uint16_t*>(array) + low, wide, n);
  return wide;
}

// Back again, rounded with those of the random bits that begin at bit `shift`.
inline void narrow(const float* wide, const uint32_t* bits, int shift, void* array, int64_t low, int64_t n) {
  uint16_t* out = static_cast<uint16_t*>(array) + low;
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<uint16_t>(round_at_random(bits_of(wide[i]), bits[i] >> shift));
}

// A word for each element from `low`, a multiple of the group.
inline void draw(const PhiloxKeys& keys, uint32_t stream, uint32_t step, int64_t low, uint32_t (&bits)[kGroup]) {
  for (int64_t i = 0; i < kGroup; i += 4 * VW) {
    Philox words = philox_blocks(keys, static_cast<uint64_t>(low + i) / 4, stream, step);
    interleave(words.x);
    __builtin_memcpy(bits + i, words.x, sizeof words.x);
  }
}

// step(place, count, decay) over [0, n).
template <class F>
inline void each_parameter(const OptimizerArgs& a, const StepState& s, F&& step) {
  const bool p16 = a.p_type == DType::bf16, m16 = a.moment_type == DType::bf16;
  const auto updates = static_cast<uint32_t>(s.updates);
  const PhiloxKeys keys(a.seed_low, a.seed_high);
  parallel_range(a.n, kGrain, [&](int64_t low, int64_t high) {
    const int64_t group = p16 || m16 ? kGroup : high - low;
    for (int64_t i = low; i < high; i += group) {
      const int64_t end = i + group < high ? i + group : high, n = end - i;
      float p[kGroup], m[kGroup], v[kGroup];
      steps(a, {widen(a.p, a.p_type, i, n, p), widen(a.m, a.moment_type, i, n, m), widen(a.v, a.moment_type, i, n, v), a.g + i}, i, end,
            step);
      uint32_t bits[kGroup];
      if (m16) {
        draw(keys, kMomentStream, updates, i, bits);
        narrow(m, bits, 0, a.m, i, n);
        if (a.v) narrow(v, bits, 16, a.v, i, n);
      }
      if (p16) {
        draw(keys, kWeightStream, updates, i, bits);
        narrow(p, bits, 0, a.p, i, n);
      }
    }
    round_copy(a, low, high);
  });
}

inline float gradient_scale(const StepState& s) { return s.clip / s.loss_scale; }

// 1 - lr * weight_decay
inline float shrink(const StepState& s, float weight_decay) {
  return static_cast<float>(1 - static_cast<double>(s.lr) * static_cast<double>(weight_decay));
}

// adamw and adam; decoupled: weight decay acts on p, otherwise on the gradient
template <bool decoupled>
void adam(const OptimizerArgs& a, const StepState s) {
  const double c1 = 1 - __builtin_pow(a.beta1, s.updates), c2 = 1 - __builtin_pow(a.beta2, s.updates);
  const vf scale = splat(gradient_scale(s)), eps = splat(a.eps);
  const vf beta1 = splat(static_cast<float>(a.beta1)), beta2 = splat(static_cast<float>(a.beta2));
  const vf rest1 = splat(static_cast<float>(1 - a.beta1)), rest2 = splat(static_cast<float>(1 - a.beta2));
  const vf minus_rate = splat(static_cast<float>(-static_cast<double>(s.lr) / c1));
  const vf root_c2 = splat(static_cast<float>(1 / __builtin_sqrt(c2)));
  const float kept = shrink(s, a.weight_decay);
  each_parameter(a, s, [&](const Place& at, int count, float decay) {
    vf p = take(at.p, count), g = take(at.g, count) * scale;
    if (decoupled)
      p = decay != 0 ? p * splat(kept) : p;
    else
      g = fma(splat(decay), p, g);
    const vf m = fma(beta1, take(at.m, count), rest1 * g);
    const vf v = fma(beta2, take(at.v, count), rest2 * g * g);
    put(at.m, m, count);
    put(at.v, v, count);
    put(at.p, fma(minus_rate, m / fma(sqrt(v), root_c2, eps), p), count);
  });
}

void sgd(const OptimizerArgs& a, const StepState s) {
  const bool momentum = a.beta1 != 0, first = s.updates == 1;
  const vf scale = splat(gradient_scale(s)), minus_rate = splat(-s.lr), beta = splat(static_cast<float>(a.beta1));
  const vf undamped = splat(static_cast<float>(1 - static_cast<double>(a.dampening)));
  each_parameter(a, s, [&](const Place& at, int count, float decay) {
    const vf p = take(at.p, count);
    const vf g = fma(splat(decay), p, take(at.g, count) * scale);
    vf step = g;
    if (momentum) {
      const vf m = first ? g : fma(beta, take(at.m, count), undamped * g);
      put(at.m, m, count);
      step = a.nesterov ? fma(beta, m, g) : m;
    }
    put(at.p, fma(minus_rate, step, p), count);
  });
}

void lion(const OptimizerArgs& a, const StepState s) {
  const vf scale = splat(gradient_scale(s)), rate = splat(s.lr);
  const vf beta1 = splat(static_cast<float>(a.beta1)), beta2 = splat(static_cast<float>(a.beta2));
  const vf rest1 = splat(static_cast<float>(1 - a.beta1)), rest2 = splat(static_cast<float>(1 - a.beta2));
  const float kept = shrink(s, a.weight_decay);
  each_parameter(a, s, [&](const Place& at, int count, float decay) {
    const vf g = take(at.g, count) * scale, m = take(at.m, count);
    const vf direction = fma(beta1, m, rest1 * g);
    const vf step = select(direction > vf{}, rate, select(direction < vf{}, -rate, direction));  // lr * sign; 0 and NaN stay
    const vf p = take(at.p, count);
    put(at.p, (decay != 0 ? p * splat(kept) : p) - step, count);
    put(at.m, fma(beta2, m, rest2 * g), count);
  });
}

}  // namespace

void step_begin(const StepBeginArgs& a) {
  StepState& s = *a.state;
  s.lr = s.next_lr;
  if (!a.keep_clip) {
    s.clip = 1;
    s.skip = 0;
  }
  if (!s.skip) ++s.updates;
}

// Squares are summed in double, where they neither overflow nor need care: 16 partial sums a piece, then the pieces in order.
void grad_norm(const GradNormArgs& a) {
  typedef double vd __attribute__((vector_size(VW * 8)));
  constexpr int64_t kPiece = 65536;
  const int64_t pieces = (a.n + kPiece - 1) / kPiece;
  double* const sums = reinterpret_cast<double*>(pool_scratch(0, static_cast<size_t>(2 * pieces)));
  parallel_range(a.n, kPiece, [&](int64_t low, int64_t high) {
    constexpr int N = 16 / VW;
    vd part[N] = {};
    for (int64_t i = low; i < high; i += 16) {
      fetch(a.g + i);
      for (int j = 0; j < N && i + j * VW < high; ++j) {
        const int64_t at = i + j * VW;
        const vd g = __builtin_convertvector(take(a.g + at, high - at < VW ? static_cast<int>(high - at) : VW), vd);
        part[j] = part[j] + g * g;
      }
    }
    double sum[16];
    for (int j = 0; j < 16; ++j) sum[j] = part[j / VW][j % VW];
    for (int w = 8; w; w /= 2)
      for (int j = 0; j < w; ++j) sum[j] += sum[j + w];
    sums[low / kPiece] = sum[0];
  });
  double total = 0;
  for (int64_t i = 0; i < pieces; ++i) total += sums[i];

  StepState& s = *a.state;
  const double norm = __builtin_sqrt(total) / static_cast<double>(s.loss_scale);
  s.grad_norm = static_cast<float>(norm);
  s.skip = __builtin_isfinite(s.grad_norm) ? 0 : 1;
  const double clip = static_cast<double>(a.max_norm) / (norm + 1e-6);
  s.clip = a.max_norm > 0 && clip < 1 ? static_cast<float>(clip) : 1.0f;
}

void optimizer(const OptimizerArgs& a) {
  const StepState s = *a.state;
  if (s.skip) return;
  switch (a.kind) {
    case Optimizer::adamw:
      return adam<true>(a, s);
    case Optimizer::adam:
      return adam<false>(a, s);
    case Optimizer::sgd:
      return sgd(a, s);
    case Optimizer::lion:
      return lion(a, s);
  }
}

void muon_momentum(const MuonMomentumArgs& a) {
  const StepState s = *a.state;
  // Skipped: m stays; x, which the Newton-Schulz steps read all the same, becomes 0.
  const vf scale = splat(gradient_scale(s)), beta = splat(static_cast<float>(a.beta)), rest = splat(static_cast<float>(1 - a.beta));
  parallel_range(a.n, kGrain, [&](int64_t low, int64_t high) {
    vectors(low, high, [&](int64_t i, int count) {
      if (s.skip) return put(a.x + i, vf{}, count);
      const vf new_part = rest * (take(a.g + i, count) * scale);
      const vf m = fma(beta, take(a.m + i, count), new_part);
      put(a.m + i, m, count);
      put(a.x + i, a.nesterov ? fma(beta, m, new_part) : m, count);
    });
  });
}

void muon_apply(const MuonApplyArgs& a) {
  const StepState s = *a.state;
  if (s.skip) return;
  const vf kept = splat(shrink(s, a.weight_decay)), minus_rate = splat(-s.lr * a.ratio);
  parallel_range(a.n, kGrain, [&](int64_t low, int64_t high) {
    vectors(low, high,
            [&](int64_t i, int count) { put(a.p + i, fma(minus_rate, take(a.x + i, count), take(a.p + i, count) * kept), count); });
    round_copy(a, low, high);
  });
}

}  // namespace heddle::cpu::HEDDLE_ISA
