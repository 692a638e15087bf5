// LayerNorm and RMSNorm against plain double loops.
#include "check.h"

using namespace heddle;
using check::Floats;
using check::Rng;
using Reference = std::vector<double>;

namespace {

struct Case {
  bool rms, residual, weight, bias;
  int64_t rows, cols;
  double scale, shift, eps;
  std::string name() const {
    return check::text("rms=%d residual=%d w=%d b=%d rows=%d cols=%d scale=%g shift=%g", rms, residual, weight, bias,
                       static_cast<int>(rows), static_cast<int>(cols), scale, shift);
  }
};

void run_case(const Case& t, uint64_t seed) {
  const Backend& k = check::backend();
  Rng rng(seed);
  const std::string name = t.name();
  const int64_t R = t.rows, C = t.cols, n = R * C;
  Floats x(n), residual(n), w(C), b(C), h(n), y(n), mean(R), rstd(R), dy(n), dx(n), dw(C), db(C);
  x.normal(rng, t.scale, t.shift);
  residual.normal(rng, t.scale);
  w.normal(rng, 0.3, 1);
  b.normal(rng);
  dy.normal(rng);

  Reference ry(n), rdx(n), rdw(C, 0), rdb(C, 0), rh(n);
  for (int64_t r = 0; r < R; ++r) {
    // The kernel's h is rounded to f32 before anything else happens to it.
    for (int64_t c = 0; c < C; ++c) rh[r * C + c] = t.residual ? x[r * C + c] + residual[r * C + c] : x[r * C + c];
    double m = 0, v = 0;
    if (!t.rms)
      for (int64_t c = 0; c < C; ++c) m += rh[r * C + c] / static_cast<double>(C);
    for (int64_t c = 0; c < C; ++c) v += (rh[r * C + c] - m) * (rh[r * C + c] - m) / static_cast<double>(C);
    const double s = 1 / std::sqrt(v + static_cast<double>(static_cast<float>(t.eps)));
    double mean_g = 0, mean_gx = 0;
    for (int64_t c = 0; c < C; ++c) {
      const int64_t i = r * C + c;
      const double xhat = (rh[i] - m) * s, g = dy[i] * (t.weight ? static_cast<double>(w[c]) : 1.0);
      ry[i] = xhat * (t.weight ? static_cast<double>(w[c]) : 1.0) + (t.bias ? static_cast<double>(b[c]) : 0.0);
      if (!t.rms) mean_g += g / static_cast<double>(C);
      mean_gx += g * xhat / static_cast<double>(C);
      rdw[c] += dy[i] * xhat;
      rdb[c] += dy[i];
    }
    for (int64_t c = 0; c < C; ++c) {
      const int64_t i = r * C + c;
      rdx[i] = s * (dy[i] * (t.weight ? static_cast<double>(w[c]) : 1.0) - mean_g - (rh[i] - m) * s * mean_gx);
    }
  }

  const float* const weight = t.weight ? w.data() : nullptr;
  k.norm.run({t.rms, DType::f32, x.data(), t.residual ? residual.data() : nullptr, weight, t.bias ? b.data() : nullptr,
              t.residual ? h.data() : nullptr, y.data(), t.rms ? nullptr : mean.data(), rstd.data(), R, C, static_cast<float>(t.eps)});
  CHECK_CLOSE(y, ry, 2e-6, "%s", name.c_str());
  CHECK(mean.guarded() && rstd.guarded() && x.guarded());
  if (t.residual) CHECK_CLOSE(h, rh, 0, "%s", name.c_str());
  const Floats& input = t.residual ? h : x;

  // With C = 1 (rms) or 2 (LayerNorm) dx is the difference of two numbers equal to 5 digits: its error is that of rstd's rounding.
  const double tolerance = C <= 2 ? 1e-3 : 2e-6;
  NormBackwardArgs back{t.rms,       DType::f32, input.data(), weight,    dy.data(), t.rms ? nullptr : mean.data(),
                        rstd.data(), dx.data(),  dw.data(),    db.data(), R,         C,
                        false,       false,      false,        nullptr};
  k.norm_backward.run(back);
  CHECK_CLOSE(dx, rdx, tolerance, "%s", name.c_str());
  CHECK_CLOSE(dw, rdw, 2e-6, "%s", name.c_str());
  CHECK_CLOSE(db, rdb, 2e-6, "%s", name.c_str());

  // Again on top, and with one gradient at a time.
  const Floats* const once[] = {&dx, &dw, &db};
  for (int which = 0; which < 3; ++which) {
    Floats sum(which == 0 ? n : C);
    sum.copy(*once[which]);
    NormBackwardArgs one = back;
    one.dx = which == 0 ? sum.data() : nullptr;
    one.dw = which == 1 ? sum.data() : nullptr;
    one.db = which == 2 ? sum.data() : nullptr;
    one.accumulate_dx = one.accumulate_dw = one.accumulate_db = true;
    k.norm_backward.run(one);
    bool doubled = sum.guarded();
    for (int64_t i = 0; i < sum.size(); ++i) doubled = doubled && sum[i] == 2 * (*once[which])[i];
    CHECK_MSG(doubled, "accumulate %d, %s", which, name.c_str());
  }
}

}  // namespace

int main() {
  uint64_t seed = 1;
  for (const int64_t cols : {1, 2, 7, 16, 31, 33, 64, 65, 129, 768, 1025})
    for (const int64_t rows : {1, 3, 4, 37, 300})
      for (const bool rms : {false, true})
        run_case({rms, seed % 2 == 0, seed % 3 != 0, seed % 5 != 0 && !rms, rows, cols, 1, 0, 1e-5}, seed), ++seed;
  for (const bool rms : {false, true}) {
    run_case({rms, false, true, true, 5000, 5, 1, 0, 1e-5}, seed++);
    run_case({rms, false, true, true, 5, 48, 1e-3, 10, 1e-5}, seed++);  // the mean dwarfs the deviations
    run_case({rms, false, true, true, 9, 768, 1e-3, 10, 1e-5}, seed++);
    run_case({rms, false, true, true, 9, 768, 1e-2, -300, 1e-5}, seed++);
    run_case({rms, false, true, true, 40, 100, 1e8, 1e9, 1e-5}, seed++);
    run_case({rms, false, true, false, 7, 33, 30, 0, 1e-6}, seed++);
  }
  for (int i = 0; i < 60; ++i) {
    Rng rng(1000 + seed);
    run_case(
        {rng.below(2) == 0, rng.below(2) == 0, rng.below(2) == 0, rng.below(2) == 0, 1 + rng.below(90), 2 + rng.below(300), 2, 1, 1e-5},
        seed);
    ++seed;
  }
  // A row of equal numbers has no deviation, whatever its mean rounds to (a tiny eps would show it); no rows give zero gradients.
  const Backend& k = check::backend();
  Floats x(7), y(7), mean(1), rstd(1), dw(7), db(7);
  for (int i = 0; i < 50; ++i) {
    x.fill(10.1f + 0.37f * static_cast<float>(i));
    k.norm.run({false, DType::f32, x.data(), nullptr, nullptr, nullptr, nullptr, y.data(), mean.data(), rstd.data(), 1, 7, 1e-14f});
    CHECK(std::fabs(rstd[0] - 1e7f) < 1e4f && mean[0] == x[0]);
  }
  x.fill(10.1f);
  k.norm.run({false, DType::f32, x.data(), nullptr, nullptr, nullptr, nullptr, y.data(), mean.data(), rstd.data(), 1, 7, 1e-5f});
  for (const float v : y) CHECK(std::fabs(v) < 1e-3f);
  CHECK(mean[0] == 10.1f && std::isfinite(rstd[0]));
  k.norm_backward.run({false, DType::f32, x.data(), nullptr, x.data(), mean.data(), rstd.data(), nullptr, dw.data(), db.data(), 0, 7, false,
                       false, false, nullptr});
  for (int i = 0; i < 7; ++i) CHECK(dw[i] == 0 && db[i] == 0);
  return check::result();
}
