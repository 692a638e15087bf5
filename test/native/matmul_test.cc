// matmul against a double loop: layouts, tiles' edges, batches, accumulation, epilogues; and the rule on bits: an element
// depends on its row of a, its column of b and K, not on M, N, the batch, the layout or the threads.
#include <algorithm>
#include <cmath>
#include <thread>
#include <tuple>
#include <utility>

#include "check.h"
#include "cpu/host/bf16.h"
#include "cpu/host/thread_pool.h"
#include "matmul_case.h"

namespace {

using check::Case;
using check::Floats;
using check::Rng;
using check::rounded;
using check::Run;
using heddle::Activation;
using heddle::MatmulArgs;

const heddle::Backend* kernels;

double activate(Activation f, double x) {
  switch (f) {
    case Activation::none:
      return x;
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::gelu_erf:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::relu:
      return x > 0 ? x : 0;
    case Activation::relu2:
      return x > 0 ? x * x : 0;
    case Activation::silu:
      return x / (1 + std::exp(-x));
  }
  return x;
}

// By a central difference; at 0, where there is one, that from the left.
double derivative(Activation f, double x) {
  if (f == Activation::relu || f == Activation::relu2) return x <= 0 ? 0 : f == Activation::relu ? 1 : 2 * x;
  return (activate(f, x + 1e-5) - activate(f, x - 1e-5)) / 2e-5;
}

// Each element against its own scale, 1 + |the sum|, times the slope of the activation.
void compare(const Case& t) {
  Rng rng(static_cast<uint64_t>(t.M * 1000003 + t.N * 1009 + t.K));
  Run r(t, rng);
  r.run();
  const MatmulArgs& g = r.g;
  const bool few = t.M <= 8 && t.K >= 16 && (g.b_n == 1 || (g.a_k == 1 && g.b_k == 1));  // computed in full
  const auto operand = [half = t.bf16 && heddle::cpu::bf16_kernel().matmul && !few](float x) { return half ? rounded(x) : x; };
  const double tolerance = 2e-6 * std::sqrt(static_cast<double>(t.K) + 1);
  double worst = 0, worst_pre = 0;
  bool gaps = true;
  for (int64_t i = 0; i < t.batch[0]; ++i)
    for (int64_t j = 0; j < t.batch[1]; ++j) {
      const float* a = r.a.data() + i * g.a_batch[0] + j * g.a_batch[1];
      const float* b = r.b.data() + i * g.b_batch[0] + j * g.b_batch[1];
      const int64_t c = i * g.c_batch[0] + j * g.c_batch[1], dense = (i * t.batch[1] + j) * t.M * t.N;
      for (int64_t m = 0; m < t.M; ++m) {
        for (int64_t n = 0; n < t.N; ++n) {
          double sum = t.accumulate ? r.before[c + m * g.c_m + n] : 0;
          for (int64_t k = 0; k < t.K; ++k)
            sum += static_cast<double>(operand(a[m * g.a_m + k * g.a_k])) * operand(b[k * g.b_k + n * g.b_n]);
          if (t.bias) sum += r.bias[n];
          const double slope = t.activation == Activation::relu2 ? 1 + 2 * std::fabs(sum) : 1.2;
          const auto error = [&](double got, double want, double scale) {
            return std::isfinite(got) ? std::fabs(got - want) / scale : std::numeric_limits<double>::infinity();
          };
          if (t.pre) worst_pre = std::fmax(worst_pre, error(r.pre[dense + m * t.N + n], sum, 1 + std::fabs(sum)));
          double want = t.derivative ? sum * derivative(t.activation, r.at[dense + m * t.N + n]) : activate(t.activation, sum);
          if (t.residual) want += r.residual[dense + m * t.N + n];
          worst = std::fmax(worst, error(r.c[c + m * g.c_m + n], want, (1 + std::fabs(sum)) * slope));
        }
        for (int64_t n = t.N; n < t.N + t.pad; ++n) {  // between the rows: as it was
          const float x = r.c[c + m * g.c_m + n];
          gaps = gaps && (t.accumulate ? x == r.before[c + m * g.c_m + n] : std::isnan(x));
        }
      }
    }
  CHECK_MSG(worst <= tolerance, "%s: error %.3g > %.3g", t.name().c_str(), worst, tolerance);
  CHECK_MSG(worst_pre <= tolerance, "%s: error of pre %.3g > %.3g", t.name().c_str(), worst_pre, tolerance);
  CHECK_MSG(gaps && r.c.guarded() && r.pre.guarded(), "%s: wrote outside", t.name().c_str());
}

void shapes() {
  // The last three: whole vectors of columns, which may be read in place; an odd number of them, rows of whole pages.
  const int64_t sizes[][3] = {{1, 1, 1},     {1, 1, 300},    {3, 1, 17},     {1, 17, 16},    {2, 31, 33},   {4, 33, 257},   {5, 16, 5},
                              {6, 16, 256},  {7, 47, 511},   {8, 64, 0},     {13, 97, 31},   {14, 32, 8},   {15, 65, 64},   {28, 48, 100},
                              {29, 127, 7},  {64, 64, 32},   {97, 13, 53},   {150, 61, 40},  {293, 37, 3},  {331, 401, 19}, {145, 33, 515},
                              {3, 1300, 70}, {7, 1100, 259}, {150, 48, 270}, {90, 400, 300}, {40, 1024, 40}};
  for (const auto& s : sizes)
    for (int layout = 0; layout < 4; ++layout)
      for (int64_t pad : {0, 3}) {
        Case t{s[0], s[1], s[2], (layout & 1) != 0, (layout & 2) != 0};
        t.pad = pad;
        compare(t);
        t.accumulate = true;
        compare(t);
      }
}

void random_shapes() {
  Rng rng(7);
  for (int i = 0; i < 150; ++i) {
    Case t{1 + rng.below(rng.below(3) ? 40 : 200), 1 + rng.below(rng.below(3) ? 70 : 300), 1 + rng.below(rng.below(3) ? 50 : 600)};
    t.a_transposed = rng.below(2), t.b_transposed = rng.below(2);
    t.batch[0] = 1 + rng.below(3), t.batch[1] = 1 + rng.below(3);
    for (bool* shared : {t.a_shared, t.b_shared})
      for (int d = 0; d < 2; ++d) shared[d] = rng.below(2);
    t.pad = rng.below(2) * rng.below(5);
    t.accumulate = rng.below(2), t.bias = rng.below(2), t.pre = rng.below(2), t.residual = rng.below(2);
    t.activation = static_cast<Activation>(rng.below(6));
    compare(t);
  }
}

void epilogues() {
  for (int activation = 0; activation < 6; ++activation)
    for (const auto& [M, N] : {std::pair<int64_t, int64_t>{3, 37}, {17, 70}, {200, 45}})
      for (int parts = 0; parts < 8; ++parts) {
        Case t{M, N, 300};
        t.b_transposed = true;
        t.bias = parts & 1, t.pre = parts & 2, t.residual = parts & 4;
        t.activation = static_cast<Activation>(activation);
        compare(t);
      }
}

void derivatives() {
  for (int activation = 0; activation < 6; ++activation)
    for (const auto& [M, N, K] : {std::tuple<int64_t, int64_t, int64_t>{3, 37, 40}, {17, 70, 300}, {200, 45, 520}}) {
      Case t{M, N, K};
      t.derivative = true;
      t.activation = static_cast<Activation>(activation);
      compare(t);
    }
}

// Layouts, ends of tiles, odd and even K, epilogues.
void in_bf16() {
  Rng rng(5);
  for (int i = 0; i < 150; ++i) {
    Case t{1 + rng.below(rng.below(3) ? 40 : 200), 1 + rng.below(rng.below(3) ? 70 : 300), 1 + rng.below(rng.below(3) ? 50 : 600)};
    t.a_transposed = rng.below(2), t.b_transposed = rng.below(2);
    t.batch[0] = 1 + rng.below(3), t.batch[1] = 1 + rng.below(3);
    t.pad = rng.below(2) * rng.below(5);
    t.accumulate = rng.below(2), t.bias = rng.below(2), t.residual = rng.below(2);
    t.bf16 = true;
    compare(t);
  }
  std::printf("%s: products in bf16 by %s\n", heddle::cpu::level().c_str(), heddle::cpu::bf16_kernel().name);
}

// B too deep to be packed at once: wide, and on more rows than columns.
void large() {
  for (const auto& [M, N] : {std::pair<int64_t, int64_t>{150, 400}, {400, 150}}) {
    Case t{M, N, 4200};
    t.b_transposed = t.bias = t.accumulate = true;
    compare(t);
  }
}

void wide_batch() {
  for (int layout = 0; layout < 4; ++layout) {
    Case t{160, 500, 270, (layout & 1) != 0, (layout & 2) != 0, {2, 3}};
    t.b_shared[1] = layout == 3;
    compare(t);
  }
}

void empty() {
  for (const auto& s : {std::pair<int64_t, int64_t>{0, 5}, {5, 0}}) {
    Rng rng(1);
    Run r({s.first, s.second, 4}, rng);
    r.run();
    CHECK(r.c.guarded());
  }
}

void nan_spreads() {  // from an input only where it belongs
  Rng rng(3);
  Run r({20, 40, 30}, rng);
  r.a[7 * 30 + 3] = NAN;
  r.run();
  bool right = true;
  for (int64_t m = 0; m < 20; ++m)
    for (int64_t n = 0; n < 40; ++n) right = right && std::isnan(r.c[m * 40 + n]) == (m == 7);
  CHECK_MSG(right, "NaN in row 7 of a: row 7 of c and no other must be NaN");
}

// The first rows, the first columns, any layout and any number of threads give the bits of the whole product.
void bits() {
  const int64_t M = 301, N = 135, K = 700;
  Rng rng(11);
  Case whole{M, N, K};
  whole.b_transposed = whole.bias = whole.accumulate = true;
  whole.activation = Activation::gelu_tanh;
  Run r(whole, rng);
  r.run();
  const auto same = [&](const Floats& c, int64_t rows, int64_t cols) {
    for (int64_t m = 0; m < rows; ++m)
      if (std::memcmp(&c[m * N], &r.c[m * N], sizeof(float) * static_cast<size_t>(cols)) != 0) return false;
    return true;
  };
  Floats c(r.c.size()), a_transposed(M * K), b_straight(K * N);
  for (int64_t m = 0; m < M; ++m)
    for (int64_t k = 0; k < K; ++k) a_transposed[k * M + m] = r.a[m * K + k];
  for (int64_t n = 0; n < N; ++n)
    for (int64_t k = 0; k < K; ++k) b_straight[k * N + n] = r.b[n * K + k];
  for (int layout = 0; layout < 4; ++layout)
    for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 15, 16, 27, 28, 29, 143, 144, 145, 300, 301})
      for (int64_t cols : {1, 15, 16, 17, 33, 135}) {
        MatmulArgs g = r.g;
        g.c = c.data(), g.M = rows, g.N = cols;
        if (layout & 1) g.a = a_transposed.data(), g.a_m = 1, g.a_k = M;
        if (layout & 2) g.b = b_straight.data(), g.b_n = 1, g.b_k = N;
        c.copy(r.before);
        kernels->matmul.run(g);
        CHECK_MSG(same(c, rows, cols), "bits of %ld rows, %ld columns, layout %d differ", long(rows), long(cols), layout);
      }
  for (int threads : {2, 3, 5}) {
    heddle::cpu::ThreadPool pool(threads);
    std::thread([&] {  // a thread of its own, so that the pool does not outlive its use here
      pool.make_current();
      MatmulArgs g = r.g;
      g.c = c.data();
      for (int64_t rows : {M, int64_t{100}, int64_t{3}}) {  // cut by rows, by columns, and in columns that an item packs
        c.copy(r.before);
        g.M = rows;
        kernels->matmul.run(g);
        CHECK_MSG(same(c, rows, N), "bits of %ld rows with %d threads differ", long(rows), threads);
      }
    })
        .join();
  }
  // The same order in plain floats, so that levels agree: blocks of 256, fused where the level fuses.
  const bool fused = heddle::cpu::level() != "baseline";
  Run plain({5, 37, 700}, rng);
  plain.run();
  bool equal = true;
  for (int64_t m = 0; m < 5; ++m)
    for (int64_t n = 0; n < 37; ++n) {
      float total = 0;
      for (int64_t low = 0; low < 700; low += 256) {
        float sum = 0;
        for (int64_t k = low; k < std::min<int64_t>(low + 256, 700); ++k) {
          const float x = plain.a[m * 700 + k], y = plain.b[k * 37 + n];
          volatile float product = x * y;
          sum = fused ? std::fma(x, y, sum) : product + sum;
        }
        total = low ? total + sum : sum;
      }
      equal = equal && total == plain.c[m * 37 + n];
    }
#if defined(__x86_64__)
  CHECK_MSG(equal, "the sums are not chains of 256 in order of k");
#endif
  uint64_t hash = 1469598103934665603u;
  for (float x : r.c) {
    uint32_t word;
    std::memcpy(&word, &x, 4);
    hash = (hash ^ word) * 1099511628211u;
  }
  std::printf("%s: bits %016llx\n", heddle::cpu::level().c_str(), static_cast<unsigned long long>(hash));
}

}  // namespace

int main() {
  kernels = &check::backend();
  shapes();
  random_shapes();
  epilogues();
  derivatives();
  in_bf16();
  large();
  wide_batch();
  empty();
  nan_spreads();
  bits();
  for (int threads : {3, 8}) {
    heddle::cpu::ThreadPool pool(threads);
    std::thread([&] {
      pool.make_current();
      large();  // its sides are enough for three threads to pack for themselves, and too short for eight
      if (threads == 8) return;
      random_shapes();
      in_bf16();
      wide_batch();
    }).join();
  }
  return check::result();
}
