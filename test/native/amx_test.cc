// AMX's products in bf16, at the level that has them: the kernel's machine code, on the processor's tiles or, where it has none, on those
// of amx.h. Held to the bits of its order of sums in plain floats, and to those of AVX-512 BF16 on whole numbers, which every order adds
// exactly.
#include "check.h"

#if !defined(__x86_64__) || !defined(__linux__)
int main() { return 77; }
#else

#include <algorithm>
#include <thread>

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

// Code of the instructions that follow, operands at rax and rcx: what an assembler makes of them.
const uint8_t kConfigure[] = {0xc4, 0xe2, 0x78, 0x49, 0x00};          // ldtilecfg (%rax)
const uint8_t kRelease[] = {0xc4, 0xe2, 0x78, 0x49, 0xc0};            // tilerelease
const uint8_t kZero3[] = {0xc4, 0xe2, 0x7b, 0x49, 0xd8};              // tilezero %tmm3
const uint8_t kLoad1[] = {0xc4, 0xe2, 0x7b, 0x4b, 0x0c, 0x08};        // tileloadd (%rax,%rcx,1), %tmm1
const uint8_t kLoad2At8[] = {0xc4, 0xe2, 0x7b, 0x4b, 0x54, 0x48, 8};  // tileloadd 8(%rax,%rcx,2), %tmm2
const uint8_t kLoad3[] = {0xc4, 0xe2, 0x7b, 0x4b, 0x1c, 0x08};        // tileloadd (%rax,%rcx,1), %tmm3
const uint8_t kStore3[] = {0xc4, 0xe2, 0x7a, 0x4b, 0x1c, 0x08};       // tilestored %tmm3, (%rax,%rcx,1)
const uint8_t kMultiply312[] = {0xc4, 0xe2, 0x6a, 0x5c, 0xd9};        // tdpbf16ps %tmm2, %tmm1, %tmm3: 3 += 1 x 2
const uint8_t kMultiply311[] = {0xc4, 0xe2, 0x72, 0x5c, 0xd9};        // tdpbf16ps %tmm1, %tmm1, %tmm3

struct Config {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// The emulated tiles, one instruction at a time.
struct Tiles {
  amx::Machine machine;
  std::string run(const uint8_t* code, const void* at = nullptr, int64_t stride = 0) {
    uint64_t general[16] = {};
    general[0] = reinterpret_cast<uint64_t>(at), general[1] = static_cast<uint64_t>(stride);
    const amx::Outcome outcome = machine.execute(code, general);
    return outcome.problem ? outcome.problem : outcome.length ? "" : "none of AMX";
  }
};

bool says(const std::string& problem, const char* words) { return problem.find(words) != std::string::npos; }

// What the processor refuses, the emulator does.
void refusals() {
  const auto configured = [](auto change) {
    Config config;
    std::fill_n(config.row_bytes, 8, 64), std::fill_n(config.rows, 8, 16);
    change(config);
    return Tiles{}.run(kConfigure, &config);
  };
  CHECK(configured([](Config&) {}) == "");
  CHECK(says(configured([](Config& c) { c.palette = 2; }), "palette"));
  CHECK(says(configured([](Config& c) { c.start = 1; }), "first row"));
  CHECK(says(configured([](Config& c) { c.reserved[13] = 1; }), "reserved"));
  CHECK(says(configured([](Config& c) { c.row_bytes[8] = 64; }), "reserved"));
  CHECK(says(configured([](Config& c) { c.rows[8] = 16; }), "reserved"));
  CHECK(says(configured([](Config& c) { c.row_bytes[7] = 65; }), "more than 64 bytes"));
  CHECK(says(configured([](Config& c) { c.rows[7] = 17; }), "more than 16 rows"));
  CHECK(says(configured([](Config& c) { c.rows[2] = 0; }), "bytes without rows"));
  CHECK(says(configured([](Config& c) { c.row_bytes[2] = 0; }), "rows without bytes"));

  float memory[16 * 16] = {};
  for (const uint8_t* code : {kZero3, kLoad1, kStore3}) CHECK(says(Tiles{}.run(code, memory, 64), "before LDTILECFG"));
  CHECK(says(Tiles{}.run(kMultiply312), "before LDTILECFG"));
  const auto multiplied = [&](auto change, const uint8_t* code) {
    Config config;
    std::fill_n(config.row_bytes, 8, 64), std::fill_n(config.rows, 8, 16);
    change(config);
    Tiles tiles;
    CHECK(tiles.run(kConfigure, &config) == "");
    return tiles.run(code);
  };
  CHECK(multiplied([](Config&) {}, kMultiply312) == "");
  CHECK(says(multiplied([](Config&) {}, kMultiply311), "must differ"));
  CHECK(says(multiplied([](Config& c) { c.rows[1] = 15; }, kMultiply312), "those of the first operand"));
  CHECK(says(multiplied([](Config& c) { c.row_bytes[2] = 60; }, kMultiply312), "the sums' columns"));
  CHECK(says(multiplied([](Config& c) { c.rows[2] = 15; }, kMultiply312), "second one's rows"));
  CHECK(says(multiplied([](Config& c) { c.row_bytes[1] = 62; }, kMultiply312), "4 bytes"));
  CHECK(says(multiplied([](Config& c) { c.rows[2] = 0, c.row_bytes[2] = 0; }, kMultiply312), "leaves out"));

  Config config;
  std::fill_n(config.row_bytes, 8, 64), std::fill_n(config.rows, 8, 16);
  Tiles tiles;
  CHECK(tiles.run(kConfigure, &config) == "" && says(tiles.run(kConfigure, &config), "in use"));
  CHECK(tiles.run(kRelease) == "" && says(tiles.run(kZero3), "before LDTILECFG"));
  const uint8_t add[] = {0xc5, 0xf8, 0x58, 0xc0, 0x00}, undefined[] = {0x0f, 0x0b, 0x00, 0x00, 0x00};  // vaddps, ud2
  CHECK(tiles.run(add) == "none of AMX" && tiles.run(undefined) == "none of AMX");
}

float bf16(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

// 2 x 3 sums over 4 of k, by hand: shapes, strides, and how TDPBF16PS adds.
void arithmetic() {
  Config config;
  config.rows[1] = 2, config.row_bytes[1] = 8;   // a, 2 x 4
  config.rows[2] = 2, config.row_bytes[2] = 12;  // b, 4 x 3 as 2 rows of pairs
  config.rows[3] = 2, config.row_bytes[3] = 12;  // sums
  const auto product = [&](const uint16_t (&a)[8], const uint16_t (&b)[12], float start) {
    Tiles tiles;
    uint16_t b_rows[4 + 2 * 8 + 2] = {};  // rows of 16 bytes, 8 bytes behind what is loaded from
    std::copy_n(b, 6, b_rows + 4), std::copy_n(b + 6, 6, b_rows + 12);
    float sums[2][4] = {{start, start, start, 7}, {start, start, start, 7}};
    CHECK(tiles.run(kConfigure, &config) == "" && tiles.run(kLoad3, sums, 16) == "");
    CHECK(tiles.run(kLoad1, a, 8) == "" && tiles.run(kLoad2At8, b_rows, 8) == "");
    CHECK(tiles.run(kMultiply312) == "" && tiles.run(kStore3, sums, 16) == "");
    CHECK(sums[0][3] == 7 && sums[1][3] == 7);
    return std::vector<float>{sums[0][0], sums[0][1], sums[0][2], sums[1][0], sums[1][1], sums[1][2]};
  };
  const uint16_t one = 0x3f80, two = 0x4000, three = 0x4040, big = 0x4b80 /* 2^24 */, small = 0x0040 /* subnormal */, tiny = 0x2000;
  // b's columns: (1, 2, 3, 1), (1, 0, 0, 0), (0, 1, 0, 2)
  const uint16_t b[12] = {one, two, one, 0, 0, one, three, one, 0, 0, 0, two};
  CHECK(product({one, two, three, one, two, one, one, two}, b, 10) ==
        std::vector<float>({10 + 15, 10 + 1, 10 + 4, 10 + 9, 10 + 2, 10 + 5}));
  // The even ones are a chain, the odd ones another, and the tile comes last: 2^24 + 1 + 1 would be 2^24 in order, here the two 1 meet
  // first.
  CHECK(product({big, one, 0, one, 0, 0, 0, 0}, {one, one, 0, 0, 0, 0, one, one, 0, 0, 0, 0}, 0)[0] == 16777218);
  CHECK(product({big, 0, one, 0, 0, 0, 0, 0}, {one, one, 0, 0, 0, 0, one, one, 0, 0, 0, 0}, 1)[0] == 16777216);
  // Subnormal numbers are zero: operands, products and what is there.
  CHECK(product({small, 0, 0, 0, 0, 0, 0, 0}, {big, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)[0] == 0);
  CHECK(product({tiny, 0, 0, 0, 0, 0, 0, 0}, {tiny, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)[0] == bf16(tiny) * bf16(tiny));
  CHECK(product({tiny, 0, 0, 0, 0, 0, 0, 0}, {0x1000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)[0] == 0);
  CHECK(product({0, 0, 0, 0, 0, 0, 0, 0}, b, bf16(small))[0] == 0);
}

using Names = std::vector<std::string>;

// What of the processor and the system AMX needs; the system is asked only if the rest is there.
void choice() {
  static int asked;
  static bool grants;
  const auto grant = [] { return ++asked, grants; };
  const heddle::cpu::BF16Features all{1u << 22 | 1u << 24, 1u << 5, uint64_t{3} << 17, grant};
  const auto of = [&](auto change, const char* level = "avx512") {
    heddle::cpu::BF16Features f = all;
    change(f);
    return heddle::cpu::bf16_kernels_of(level, f);
  };
  const Names amx = {"amx", "avx512_bf16", "f32"}, pairs = {"avx512_bf16", "f32"}, none = {"f32"};
  grants = true;
  CHECK(of([](auto&) {}) == amx && asked == 1);
  for (unsigned bit : {22, 24}) CHECK(of([&](auto& f) { f.leaf7_edx &= ~(1u << bit); }) == pairs);
  for (unsigned bit : {17, 18}) CHECK(of([&](auto& f) { f.xcr0 &= ~(uint64_t{1} << bit); }) == pairs);
  CHECK(of([](auto& f) { f.leaf7_1_eax = 0; }) == none);
  for (const char* level : {"avx2", "baseline"}) CHECK(of([](auto&) {}, level) == none);
  CHECK(asked == 1);
  grants = false;
  CHECK(of([](auto&) {}) == pairs && asked == 2);
}

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

}  // namespace

int main() {
  check::backend();
  choice();
  if (heddle::cpu::level() != "avx512" || std::string(heddle::cpu::bf16_kernel().name) == "f32") {
    std::printf("skipped: tiles are packed with AVX-512 BF16\n");
    return 77;
  }
  if (!heddle::cpu::use_bf16_kernel("amx")) {
    std::printf("skipped: the compiler does not know AMX\n");
    return 77;
  }
  refusals();
  arithmetic();
  amx::install();
  shapes();
  random_shapes(7, 150);
  epilogues();
  bits();
  special();
  if (amx::executed)
    std::printf("%lld instructions of AMX were emulated\n", static_cast<long long>(amx::executed));
  else
    std::printf("on the processor's own tiles\n");
  return check::result();
}

#endif
