// Rotary positions (Su et al. 2021): the pair (a, b) at position t turns by t * theta^(-2i / rotary).
//   y_a = a cos - b sin,  y_b = b cos + a sin
// Angles are in double, since t * frequency in float is off by 6e-8 * t. The sines of t = anchor + low, low in [0, kAnchor), come from
// those of anchor and low by the addition theorem: a few calls of sin for a sequence, and bits that depend on t alone.
#include "cpu/kernels.h"
#include "cpu/vec.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int64_t kAnchor = 32;

inline void sines(double t, const double* frequency, int64_t pairs, double* sine, double* cosine) {
  for (int64_t i = 0; i < pairs; ++i) {
    sine[i] = __builtin_sin(t * frequency[i]);
    cosine[i] = __builtin_cos(t * frequency[i]);
  }
}

// Neighbours change places: lanes 1 0 3 2 ...
inline vf swap_neighbours(vf v) {
  typedef uint64_t pairs_of_lanes __attribute__((vector_size(VW * 4)));
  const pairs_of_lanes p = (pairs_of_lanes)v;
  return (vf)((p << 32) | (p >> 32));
}

inline void put(float* y, vf v, int n, bool accumulate) {
  if (n == VW) {
    store(y, accumulate ? load(y) + v : v);
  } else {
    store_part(y, accumulate ? load_part(y, n) + v : v, n);
  }
}
inline vf get(const float* x, int n) { return n == VW ? load(x) : load_part(x, n); }
inline int lanes_left(int64_t n) { return static_cast<int>(n < VW ? n : VW); }

class Rope {
 public:
  // tables: frequency[pairs], then sine and cosine of low * frequency, [kAnchor][pairs] each (all_low) or none.
  Rope(const RopeArgs& a, double* tables, bool all_low)
      : a_(a), pairs_(a.rotary / 2), frequency_(tables), low_(all_low ? tables + pairs_ : nullptr) {
    for (int64_t i = 0; i < pairs_; ++i)
      tables[i] = scaled_frequency(
          a.scaling, __builtin_pow(static_cast<double>(a.theta), -2.0 * static_cast<double>(i) / static_cast<double>(a.rotary)));
    if (all_low)
      for (int64_t t = 0; t < kAnchor; ++t) {
        double* sine = tables + (2 * t + 1) * pairs_;
        sines(static_cast<double>(t), frequency_, pairs_, sine, sine + pairs_);
      }
  }

  // Rows [from, to) of B * T.
  void run(int64_t from, int64_t to) const {
    // In this thread's scratch: sine and cosine of the anchor and of the low part in double, then the row's factors.
    double* const anchor = reinterpret_cast<double*>(pool_scratch(1, static_cast<size_t>(8 * pairs_ + 2 * a_.rotary)));
    double* const own_low = anchor + 2 * pairs_;
    float* const cosine = reinterpret_cast<float*>(own_low + 2 * pairs_);
    float* const sine = cosine + a_.rotary;
    int64_t at = 1;  // no multiple of kAnchor: none yet
    for (int64_t row = from; row < to; ++row) {
      const int64_t b = row / a_.T, t = row % a_.T;
      const int64_t position = a_.positions ? a_.positions[row] : a_.first + t;
      const int64_t low = position & (kAnchor - 1), high = position - low;
      if (high != at) sines(static_cast<double>(high), frequency_, pairs_, anchor, anchor + pairs_);
      at = high;
      const double* part = low_ ? low_ + 2 * low * pairs_ : own_low;
      if (!low_) sines(static_cast<double>(low), frequency_, pairs_, own_low, own_low + pairs_);
      factors(anchor, part, cosine, sine);
      for (int64_t h = 0; h < a_.H; ++h) {
        const float* x = f32(a_.x) + b * a_.x_stride[0] + t * a_.x_stride[1] + h * a_.x_stride[2];
        float* y = f32(a_.y) + b * a_.y_stride[0] + t * a_.y_stride[1] + h * a_.y_stride[2];
        if (a_.interleaved) {
          turn_neighbours(x, y, cosine, sine);
        } else {
          turn_halves(x, y, cosine, sine);
        }
        if (x != y || a_.accumulate)
          for (int64_t d = a_.rotary; d < a_.D; d += VW) put(y + d, get(x + d, lanes_left(a_.D - d)), lanes_left(a_.D - d), a_.accumulate);
      }
    }
  }

 private:
  // cosine[rotary] and sine[rotary] in the order of the elements; the sign of the sine is that of the element.
  void factors(const double* anchor, const double* low, float* cosine, float* sine) const {
    const double *sa = anchor, *ca = anchor + pairs_, *sl = low, *cl = low + pairs_;
    const float direction = a_.inverse ? -1.0f : 1.0f;
    for (int64_t i = 0; i < pairs_; ++i) {
      const float c = static_cast<float>(ca[i] * cl[i] - sa[i] * sl[i]);
      const float s = static_cast<float>(sa[i] * cl[i] + ca[i] * sl[i]) * direction;
      const int64_t first = a_.interleaved ? 2 * i : i, second = a_.interleaved ? 2 * i + 1 : i + pairs_;
      cosine[first] = cosine[second] = c;
      sine[first] = -s;
      sine[second] = s;
    }
  }

  void turn_halves(const float* x, float* y, const float* cosine, const float* sine) const {
    for (int64_t i = 0; i < pairs_; i += VW) {
      const int n = lanes_left(pairs_ - i);
      const vf a = get(x + i, n), b = get(x + pairs_ + i, n), c = get(cosine + i, n), s = get(sine + pairs_ + i, n);
      put(y + i, fma(a, c, -(b * s)), n, a_.accumulate);
      put(y + pairs_ + i, fma(b, c, a * s), n, a_.accumulate);
    }
  }

  void turn_neighbours(const float* x, float* y, const float* cosine, const float* sine) const {
    for (int64_t d = 0; d < a_.rotary; d += VW) {
      const int n = lanes_left(a_.rotary - d);
      const vf v = get(x + d, n);
      put(y + d, fma(v, get(cosine + d, n), swap_neighbours(v) * get(sine + d, n)), n, a_.accumulate);
    }
  }

  const RopeArgs& a_;
  const int64_t pairs_;
  const double *frequency_, *low_;
};

}  // namespace

void rope(const RopeArgs& a) {
  const int64_t rows = a.B * a.T, pairs = a.rotary / 2;
  const bool all_low = rows > kAnchor;  // few rows: only what they need
  double* tables = reinterpret_cast<double*>(pool_scratch(0, static_cast<size_t>(2 * pairs * (1 + (all_low ? 2 * kAnchor : 0)))));
  const Rope turn(a, tables, all_low);
  parallel_range(rows, kAnchor, [&](int64_t from, int64_t to) { turn.run(from, to); });
}

}  // namespace heddle::cpu::HEDDLE_ISA
