// LayerNorm and RMSNorm. Both directions read their operands from memory once; the further passes over a row hit the cache.
#include "cpu/kernels.h"
#include "cpu/output.h"
#include "cpu/rows.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int kGroup = 4;  // rows whose weight gradients are added in registers before they go to memory
constexpr int64_t kMinPiece = 32, kMaxPieces = 128;

// Two passes over h. The first gives the mean to f32 rounding; the second sums the deviations d from it, whose mean is the
// rounding error `low`, and their squares. mean + low and the variance are then right even where |mean| >> deviation.
template <bool rms>
HEDDLE_ROW_KERNEL void norm_row(const NormArgs& a, int64_t row, bool past) {
  const int64_t C = a.cols, at = row * C;
  const float* h = f32(a.x) + at;
  Partials sum;
  const auto take = [&](int j, vf v) {
    if (rms)
      sum.add_product(j, v, v);
    else
      sum.add(j, v);
  };
  if (a.residual) {
    const float *x = f32(a.x) + at, *residual = f32(a.residual) + at;
    float *const out = f32(a.h) + at, *kept = out;  // what the passes below read: past the caches, a copy
    const bool out_past = past && to_line(out) == 0;
    if (out_past) kept = pool_scratch(1, static_cast<size_t>(C));
    each_partial(C, [&](int64_t i, int j, int n) {
      const vf v = load_n(x + i, n) + load_n(residual + i, n);
      store_n(kept + i, v, n);
      if (out_past) {
        put(true, out + i, v, n);
        fetch(next_row(residual + i, C));
      }
      take(j, v);
    });
    h = kept;
  } else {
    each_partial(C, [&](int64_t i, int j, int n) { take(j, load_n(h + i, n)); });
  }

  float mean = 0;
  double low = 0, variance = 0;
  if (rms) {
    variance = sum.total() / static_cast<double>(C);
  } else {
    mean = sum.total() / static_cast<float>(C);
    Partials deviations, squares;
    const vf m = splat(mean);
    each_partial(C, [&](int64_t i, int j, int n) {
      const vf d = first_n(load_n(h + i, n) - m, n);
      deviations.add(j, d);
      squares.add_product(j, d, d);
    });
    low = deviations.total() / static_cast<double>(C);
    variance = squares.total() / static_cast<double>(C) - low * low;
    if (variance < 0) variance = 0;
    a.mean[row] = static_cast<float>(mean + low);
  }
  const double rstd = 1 / __builtin_sqrt(variance + static_cast<double>(a.eps));
  a.rstd[row] = static_cast<float>(rstd);

  const vf m = splat(mean), r = splat(static_cast<float>(rstd)), shift = splat(static_cast<float>(-low * rstd));
  const float *w = f32(a.w), *b = f32(a.b);
  const auto normed = [&](int64_t i, int n) {
    vf v = load_n(h + i, n);
    v = rms ? v * r : fma(v - m, r, shift);
    if (w && b)
      v = fma(v, load_n(w + i, n), load_n(b + i, n));
    else if (w)
      v = v * load_n(w + i, n);
    else if (b)
      v = v + load_n(b + i, n);
    return v;
  };
  write_vectors(past, f32(a.y) + at, C, normed, next_row(f32(a.x) + at, C));
}

// With d = h - mean and g = dy * w: dx = rstd * (g - mean(g) - d * k), k = rstd^2 * mean(g * d). `low` is what rounding the
// mean to f32 lost, mean(d): it is taken off again.
struct RowTerms {
  float mean, rstd, k, c, shift;  // c = mean(g) - low * k, shift = -low * rstd
};

template <bool rms>
HEDDLE_ROW_KERNEL RowTerms row_terms(const NormBackwardArgs& a, int64_t row) {
  const int64_t C = a.cols;
  const float *h = f32(a.h) + row * C, *dy = f32(a.dy) + row * C, *w = f32(a.w);
  RowTerms t{rms ? 0 : a.mean[row], a.rstd[row], 0, 0, 0};
  const vf m = splat(t.mean);
  Partials sum_g, sum_d, sum_gd;
  each_partial(C, [&](int64_t i, int j, int n) {
    vf g = load_n(dy + i, n), d = load_n(h + i, n);
    if (w) g = g * load_n(w + i, n);
    if (!rms) {
      d = first_n(d - m, n);
      sum_g.add(j, g);
      sum_d.add(j, d);
    }
    sum_gd.add_product(j, g, d);
  });
  const double size = static_cast<double>(C), rstd = t.rstd;
  double mean_g = 0, low = 0;
  if (!rms) {
    mean_g = sum_g.total() / size;
    low = sum_d.total() / size;
  }
  const double k = rstd * rstd * (sum_gd.total() / size - low * mean_g);
  t.k = static_cast<float>(k);
  t.c = static_cast<float>(mean_g - low * k);
  t.shift = static_cast<float>(-low * rstd);
  return t;
}

// R rows from `row` on: dx, and the rows' share of the weight gradients added to dw and db (which the first group sets).
template <bool rms, int R>
HEDDLE_ROW_KERNEL void backward_group(const NormBackwardArgs& a, int64_t row, float* dw, float* db, bool first, bool past) {
  const int64_t C = a.cols;
  RowTerms t[R];
  for (int r = 0; r < R; ++r) t[r] = row_terms<rms>(a, row + r);
  const float *h = f32(a.h) + row * C, *dy = f32(a.dy) + row * C, *w = f32(a.w);
  float* dx = a.dx ? f32(a.dx) + row * C : nullptr;
  const bool add_dx = a.accumulate_dx;
  each_vector(C, [&](int64_t i, int n) {
    const vf scale = w ? load_n(w + i, n) : splat(1.0f);
    vf sum_w{}, sum_b{};
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const vf up = load_n(dy + r * C + i, n), rstd = splat(t[r].rstd);
      const vf d = rms ? load_n(h + r * C + i, n) : load_n(h + r * C + i, n) - splat(t[r].mean);
      if (dx) {
        float* to = dx + r * C + i;
        vf g = up * scale;
        if (!rms) g = g - splat(t[r].c);
        const vf v = rstd * fma(splat(-t[r].k), d, g);
        put(past, to, add_dx ? load_n(to, n) + v : v, n);
      }
      if (past) {
        fetch(next_row(dy + r * C + i, R * C));
        fetch(next_row(h + r * C + i, R * C));
      }
      sum_w = fma(up, rms ? d * rstd : fma(d, rstd, splat(t[r].shift)), sum_w);
      sum_b = sum_b + up;
    }
    if (dw) store_n(dw + i, first ? sum_w : load_n(dw + i, n) + sum_w, n);
    if (db) store_n(db + i, first ? sum_b : load_n(db + i, n) + sum_b, n);
  });
}

template <bool rms>
void backward_piece(const NormBackwardArgs& a, int64_t low, int64_t high, float* dw, float* db, bool past) {
  int64_t row = low;
  for (; row + kGroup <= high; row += kGroup) backward_group<rms, kGroup>(a, row, dw, db, row == low, past);
  for (; row < high; ++row) backward_group<rms, 1>(a, row, dw, db, row == low, past);
}

// out (+)= the sum of the pieces' rows, in their order.
void add_pieces(const float* partial, int64_t pieces, int64_t stride, float* out, int64_t low, int64_t high, bool accumulate) {
  each_vector(high - low, [&](int64_t i, int n) {
    vf sum = load_n(partial + low + i, n);
    for (int64_t p = 1; p < pieces; ++p) sum = sum + load_n(partial + p * stride + low + i, n);
    float* to = out + low + i;
    store_n(to, accumulate ? load_n(to, n) + sum : sum, n);
  });
}

}  // namespace

void norm(const NormArgs& a) {
  const bool past = past_caches(a.rows * a.cols * 4);
  parallel_range(a.rows, rows_per_item(a.cols), [&](int64_t low, int64_t high) {
    for (int64_t row = low; row < high; ++row) {
      if (a.rms)
        norm_row<true>(a, row, past);
      else
        norm_row<false>(a, row, past);
    }
  });
}

void norm_backward(const NormBackwardArgs& a) {
  const int64_t C = a.cols;
  int64_t piece = (a.rows + kMaxPieces - 1) / kMaxPieces;
  piece = (piece + kGroup - 1) / kGroup * kGroup;
  if (piece < kMinPiece) piece = kMinPiece;
  const int64_t pieces = (a.rows + piece - 1) / piece;
  if (C == 0) return;
  if (pieces == 0) {  // no rows: the weight gradients are zero
    for (int64_t i = 0; a.dw && !a.accumulate_dw && i < C; ++i) a.dw[i] = 0;
    for (int64_t i = 0; a.db && !a.accumulate_db && i < C; ++i) a.db[i] = 0;
    return;
  }
  const bool past =
      a.dx && !a.accumulate_dx && a.dx != a.dy && C % (kLine / 4) == 0 && to_line(f32(a.dx)) == 0 && past_caches(a.rows * C * 4);
  const int64_t stride = C * ((a.dw ? 1 : 0) + (a.db ? 1 : 0));
  float* const partial = stride ? pool_scratch(0, static_cast<size_t>(pieces * stride)) : nullptr;
  parallel_range(a.rows, piece, [&](int64_t low, int64_t high) {
    float* const mine = partial + low / piece * stride;
    float* const dw = a.dw ? mine : nullptr;
    float* const db = a.db ? mine + (a.dw ? C : 0) : nullptr;
    if (a.rms)
      backward_piece<true>(a, low, high, dw, db, past);
    else
      backward_piece<false>(a, low, high, dw, db, past);
  });
  if (!stride) return;
  parallel_range(C, 256, [&](int64_t low, int64_t high) {
    if (a.dw) add_pieces(partial, pieces, stride, a.dw, low, high, a.accumulate_dw);
    if (a.db) add_pieces(partial + (a.dw ? C : 0), pieces, stride, a.db, low, high, a.accumulate_db);
  });
}

}  // namespace heddle::cpu::HEDDLE_ISA
