// AMX's products in bf16, at the level that has them: the kernel's machine code, on the processor's tiles or, where it has none, on those
// of amx.h. Held to the bits of its order of sums in plain floats, and to those of AVX-512 BF16 on whole numbers, which every order adds
// exactly.
#include "check.h"

#if !defined(__x86_64__) || !defined(__linux__)
int main() { return 77; }
#else

#include <algorithm>
#include <thread>
#include <tuple>

#include "amx.h"
#include "cpu/host/bf16.h"
#include "cpu/host/thread_pool.h"
#include "matmul_case.h"

namespace {

using check::Case;
using check::Floats;
using check::Rng;
using check::Run;
using heddle::Activation;
using heddle::MatmulArgs;

// One element in AMX's order: 32 of k at a time, the even and the odd ones a chain each.
float sum(const MatmulArgs& g, const float* a, const float* b, float c) {
  for (int64_t low = 0; low < g.K; low += 32) {
    float chain[2] = {};
    for (int64_t k = low; k < std::min(low + 32, g.K); ++k)
      chain[k % 2] = std::fma(check::rounded(a[k * g.a_k]), check::rounded(b[k * g.b_k]), chain[k % 2]);
    c += chain[0] + chain[1];
  }
  return c;
}

void exact(const Case& t, uint64_t seed) {
  Rng rng(seed);
  Run r(t, rng);
  r.run();
  const MatmulArgs& g = r.g;
  int64_t wrong = 0;
  for (int64_t i = 0; i < t.batch[0]; ++i)
    for (int64_t j = 0; j < t.batch[1]; ++j)
      for (int64_t m = 0; m < t.M; ++m)
        for (int64_t n = 0; n < t.N + t.pad; ++n) {
          const int64_t at = i * g.c_batch[0] + j * g.c_batch[1] + m * g.c_m + n;
          float want = t.accumulate ? r.before[at] : n < t.N ? 0 : NAN;
          if (n < t.N) {
            const float* a = r.a.data() + i * g.a_batch[0] + j * g.a_batch[1] + m * g.a_m;
            want = sum(g, a, r.b.data() + i * g.b_batch[0] + j * g.b_batch[1] + n * g.b_n, want);
          }
          wrong += std::isnan(want) ? !std::isnan(r.c[at]) : !(want == r.c[at]);
        }
  CHECK_MSG(wrong == 0, "%s: %ld elements have other bits", t.name().c_str(), long(wrong));
  CHECK_MSG(r.c.guarded(), "%s: wrote outside", t.name().c_str());
  CHECK_MSG(amx::holders == 0, "%s: %d threads kept their tiles", t.name().c_str(), amx::holders.load());
}

Case bf16_case(int64_t M, int64_t N, int64_t K, int layout = 2) {
  Case t{M, N, K, (layout & 1) != 0, (layout & 2) != 0};
  t.bf16 = true;
  return t;
}

// X W^T, dY W, dY^T X and the layout that nobody asks for; every way in which tiles end.
void shapes() {
  const int64_t rows[] = {9, 15, 16, 17, 31, 32, 33, 48, 49, 64, 65, 70}, cols[] = {1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 70},
                depths[] = {1, 2, 3, 31, 32, 33, 63, 64, 65, 70};
  int i = 0;
  for (int64_t M : rows)
    for (int64_t N : cols) {
      Case t = bf16_case(M, N, depths[i % 10], i % 4);
      t.accumulate = i / 4 % 2, t.pad = i % 3;
      exact(t, static_cast<uint64_t>(++i));
    }
  for (int64_t K : depths)
    for (int layout = 0; layout < 4; ++layout) exact(bf16_case(33, 17, K, layout), static_cast<uint64_t>(++i));
  const int64_t large[][3] = {{70, 40, 0},    {70, 70, 255},  {70, 33, 256}, {66, 50, 257},   {200, 45, 513},
                              {130, 420, 40}, {45, 400, 300}, {97, 64, 800}, {129, 33, 1100}, {12, 800, 70}};
  for (const auto& s : large)
    for (int layout = 0; layout < 4; ++layout) {
      Case t = bf16_case(s[0], s[1], s[2], layout);
      t.accumulate = layout % 2;
      exact(t, static_cast<uint64_t>(++i));
    }
  for (int64_t few : {2, 3, 8}) {  // few rows that are not computed in full, as short or scattered ones are (native/cpu/matmul.cc)
    exact(bf16_case(few, 40, 15), static_cast<uint64_t>(++i));
    exact(bf16_case(few, 40, 70, 3), static_cast<uint64_t>(++i));
  }
}

void random_shapes(uint64_t seed, int count) {
  Rng rng(seed);
  for (int i = 0; i < count; ++i) {
    Case t = bf16_case(9 + rng.below(62), 1 + rng.below(70), 1 + rng.below(70), static_cast<int>(rng.below(4)));
    t.batch[0] = 1 + rng.below(3), t.batch[1] = 1 + rng.below(3);
    for (bool* shared : {t.a_shared, t.b_shared})
      for (int d = 0; d < 2; ++d) shared[d] = rng.below(2);
    t.pad = rng.below(2) * rng.below(5);
    t.accumulate = rng.below(2);
    exact(t, rng.next());
  }
}

// Whole numbers, of which every sum is exact in every order: the bits of AVX-512 BF16, epilogues included.
void as_pairs(Case t, uint64_t seed) {
  Rng rng(seed);
  Run r(t, rng);
  for (Floats* x : {&r.a, &r.b, &r.before, &r.bias})
    for (float& v : *x) v = static_cast<float>(rng.below(9) - 4);
  r.run();
  CHECK_MSG(amx::holders == 0, "%s: %d threads kept their tiles", t.name().c_str(), amx::holders.load());
  Floats c(r.c.size()), pre(r.pre.size());
  c.copy(r.c), pre.copy(r.pre);
  CHECK(heddle::cpu::use_bf16_kernel("avx512_bf16"));
  const int64_t executed = amx::executed;
  r.run();
  CHECK(amx::executed == executed);
  CHECK(heddle::cpu::use_bf16_kernel("amx"));
  CHECK_MSG(c.same_bits(r.c) && pre.same_bits(r.pre), "%s: other bits than AVX-512 BF16's on whole numbers", t.name().c_str());
  CHECK_MSG(r.c.guarded() && r.pre.guarded(), "%s: wrote outside", t.name().c_str());
}

void epilogues() {
  uint64_t seed = 0;
  for (int activation = 0; activation < 6; ++activation)
    for (int parts = 0; parts < 16; ++parts)
      for (const auto& [M, N, K] : {std::tuple<int64_t, int64_t, int64_t>{17, 37, 40}, {70, 45, 290}}) {
        if ((parts & 8) && (parts & 7)) continue;
        Case t = bf16_case(M, N, K, static_cast<int>(seed % 4));
        t.bias = parts & 1, t.pre = parts & 2, t.residual = parts & 4, t.derivative = parts & 8;
        t.activation = static_cast<Activation>(activation);
        t.accumulate = seed % 3 == 0;
        as_pairs(t, ++seed);
      }
}

// The first rows, the first columns and any number of threads give the bits of the whole product.
void bits() {
  const int64_t M = 150, N = 135, K = 300;
  Rng rng(11);
  Case whole = bf16_case(M, N, K);
  whole.bias = whole.accumulate = true;
  whole.activation = Activation::gelu_tanh;
  Run r(whole, rng);
  r.run();
  Floats c(r.c.size());
  const auto same = [&](MatmulArgs g, int64_t rows, int64_t cols) {
    g.c = c.data(), g.M = rows, g.N = cols;
    c.copy(r.before);
    check::backend().matmul.run(g);
    for (int64_t m = 0; m < rows; ++m)
      if (std::memcmp(&c[m * N], &r.c[m * N], sizeof(float) * static_cast<size_t>(cols)) != 0) return false;
    return amx::holders == 0;
  };
  for (int64_t rows : {9, 16, 17, 32, 33, 64, 65, 149, 150})
    for (int64_t cols : {1, 16, 33, 135}) CHECK_MSG(same(r.g, rows, cols), "bits of %ld rows, %ld columns differ", long(rows), long(cols));
  for (int threads : {2, 3}) {
    heddle::cpu::ThreadPool pool(threads);
    std::thread([&] {
      pool.make_current();
      for (int64_t rows : {M, int64_t{100}, int64_t{20}})
        CHECK_MSG(same(r.g, rows, N), "bits of %ld rows with %d threads differ", long(rows), threads);
      random_shapes(static_cast<uint64_t>(threads), 30);
      // An item that finds no memory gives its tiles back too.
      for (int64_t fail = 1; fail <= 6; ++fail) {
        pool.fail_scratch_at(fail);
        try {
          same(r.g, fail % 2 ? M : 20, N);
        } catch (const std::bad_alloc&) {
        }
        CHECK_MSG(amx::holders == 0, "%d threads kept their tiles when memory ran out", amx::holders.load());
      }
      pool.fail_scratch_at(0);
    }).join();
  }
}

// NaN and infinity go where they belong, not to the neighbours in a tile; subnormal operands are zero.
void special() {
  for (int layout = 0; layout < 4; ++layout) {
    Rng rng(3);
    Run r(bf16_case(20, 40, 33, layout), rng);
    const auto a = [&](int64_t m, int64_t k) -> float& { return r.a[m * r.g.a_m + k * r.g.a_k]; };
    a(7, 32) = NAN, a(8, 3) = INFINITY;
    for (int64_t k = 0; k < 33; ++k) a(9, k) = k == 5 ? 1e-39f : 0;
    r.run();
    bool right = true;
    for (int64_t m = 0; m < 20; ++m)
      for (int64_t n = 0; n < 40; ++n) {
        const float x = r.c[m * 40 + n];
        right = right && (m == 7 ? std::isnan(x) : m == 8 ? std::isinf(x) : m == 9 ? x == 0 : std::isfinite(x) && x != 0);
      }
    CHECK_MSG(right, "layout %d: NaN in row 7, infinity in row 8, zero in row 9, numbers in the others", layout);
  }
}

// Tiles end in zeros: neither what lies behind k in memory counts, nor what an earlier product left in the panels.
void behind_k() {
  for (int layout = 0; layout < 4; ++layout)
    for (int64_t M : {20, 70})
      for (int64_t K : {1, 15, 17, 31, 33}) {
        Rng rng(1);
        Run before(bf16_case(M, 70, 64, layout), rng);
        before.a.fill(NAN), before.b.fill(NAN);
        before.run();
        Case t = bf16_case(M, 70, K, layout);
        t.pad = 40, t.batch[1] = 2;
        Run r(t, rng);
        r.a.fill(NAN), r.b.fill(NAN);
        MatmulArgs& g = r.g;
        g.batch[1] = 1;  // the second product is what lies behind the first
        for (int64_t k = 0; k < K; ++k) {
          for (int64_t m = 0; m < M; ++m) r.a[m * g.a_m + k * g.a_k] = 1;
          for (int64_t n = 0; n < 70; ++n) r.b[k * g.b_k + n * g.b_n] = 1;
        }
        r.run();
        bool right = true;
        for (int64_t m = 0; m < M; ++m)
          for (int64_t n = 0; n < 70; ++n) right = right && r.c[m * g.c_m + n] == static_cast<float>(K);
        CHECK_MSG(right, "M=%ld K=%ld layout %d: more than k counts", long(M), long(K), layout);
      }
}

}  // namespace

int main() {
  check::backend();
  if (heddle::cpu::level() != "avx512" || std::string(heddle::cpu::bf16_kernel().name) == "f32") {
    std::printf("skipped: tiles are packed with AVX-512 BF16\n");
    return 77;
  }
  if (!heddle::cpu::use_bf16_kernel("amx")) {
    std::printf("skipped: the compiler does not know AMX\n");
    return 77;
  }
  amx::install();
  shapes();
  random_shapes(7, 150);
  epilogues();
  bits();
  special();
  behind_k();
  if (amx::executed)
    std::printf("%lld instructions of AMX were emulated\n", static_cast<long long>(amx::executed));
  else
    std::printf("on the processor's own tiles\n");
  return check::result();
}

#endif
