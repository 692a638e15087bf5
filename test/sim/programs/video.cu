// CUDA's SIMD intrinsics and PTX's video instructions, several small integers in a register, against a computation lane by lane.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "check.h"

namespace {

constexpr int kPoints = 256;

template <class F>
__global__ void map(F f, const uint32_t* a, const uint32_t* b, uint32_t* out) {
  const int t = int(threadIdx.x);
  out[t] = f(a[t], b[t]);
}

// f on the device; on the host `lane` of every pair of lanes, truncated, or summed onto `start`.
template <class F, class G>
void check(const char* name, int bits, bool is_signed, F f, G lane, bool sum = false, uint32_t start = 0) {
  std::mt19937 random(9);
  std::vector<uint32_t> a(kPoints), b(kPoints), got(kPoints);
  for (int t = 0; t < kPoints; ++t) a[t] = random(), b[t] = t % 5 ? random() : a[t];
  uint32_t *da, *db, *out;
  for (uint32_t** p : {&da, &db, &out}) CHECK(cudaMalloc(p, kPoints * 4));
  CHECK(cudaMemcpy(da, a.data(), kPoints * 4, cudaMemcpyHostToDevice));
  CHECK(cudaMemcpy(db, b.data(), kPoints * 4, cudaMemcpyHostToDevice));
  map<<<1, kPoints>>>(f, da, db, out);
  CHECK(cudaGetLastError());
  CHECK(cudaMemcpy(got.data(), out, kPoints * 4, cudaMemcpyDeviceToHost));
  const uint32_t mask = bits == 32 ? ~0u : (1u << bits) - 1;
  for (int t = 0; t < kPoints; ++t) {
    uint32_t want = sum ? start : 0;
    for (int k = 0; k < 32; k += bits) {
      long long x = a[t] >> k & mask, y = b[t] >> k & mask;
      if (is_signed && x >> (bits - 1)) x -= 1ll << bits;
      if (is_signed && y >> (bits - 1)) y -= 1ll << bits;
      const long long r = lane(x, y);
      want = sum ? want + uint32_t(r) : want | (uint32_t(r) & mask) << k;
    }
    if (got[t] != want) {
      printf("FAIL %s of %08x and %08x: %08x, want %08x\n", name, a[t], b[t], got[t], want);
      ++bad;
      break;
    }
  }
  for (uint32_t* p : {da, db, out}) CHECK(cudaFree(p));
}

#define INTRINSIC(name, bits, is_signed, ...) \
  check(#name, bits, is_signed, [] __device__(uint32_t a, uint32_t b) { return uint32_t(name(a, b)); }, __VA_ARGS__)
#define VIDEO(form, bits, is_signed, ...)                                   \
  check(                                                                    \
      form, bits, is_signed,                                                \
      [] __device__(uint32_t a, uint32_t b) {                               \
        uint32_t d;                                                         \
        asm(form " %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(1000)); \
        return d;                                                           \
      },                                                                    \
      __VA_ARGS__)

long long clamp(long long v, int bits, bool is_signed) {
  const long long low = is_signed ? -(1ll << (bits - 1)) : 0;
  return std::clamp(v, low, low + (1ll << bits) - 1);
}

}  // namespace

int main() {
  auto add = [](long long x, long long y) { return x + y; };
  auto sub = [](long long x, long long y) { return x - y; };
  auto distance = [](long long x, long long y) { return std::abs(x - y); };
  auto smaller = [](long long x, long long y) { return std::min(x, y); };
  auto larger = [](long long x, long long y) { return std::max(x, y); };
  auto average = [](long long x, long long y) { return x + y >= 0 ? (x + y + 1) >> 1 : (x + y) >> 1; };
  INTRINSIC(__vadd2, 16, false, add);
  INTRINSIC(__vadd4, 8, false, add);
  INTRINSIC(__vsub4, 8, false, sub);
  INTRINSIC(__vaddss2, 16, true, [](long long x, long long y) { return clamp(x + y, 16, true); });
  INTRINSIC(__vaddus4, 8, false, [](long long x, long long y) { return clamp(x + y, 8, false); });
  INTRINSIC(__vsubss4, 8, true, [](long long x, long long y) { return clamp(x - y, 8, true); });
  INTRINSIC(__vsubus2, 16, false, [](long long x, long long y) { return clamp(x - y, 16, false); });
  INTRINSIC(__vavgu4, 8, false, average);
  INTRINSIC(__vavgs2, 16, true, average);
  INTRINSIC(__vhaddu4, 8, false, [](long long x, long long y) { return (x + y) >> 1; });
  INTRINSIC(__vabsdiffu4, 8, false, distance);
  INTRINSIC(__vabsdiffs2, 16, true, distance);
  INTRINSIC(__vmaxs4, 8, true, larger);
  INTRINSIC(__vminu2, 16, false, smaller);
  INTRINSIC(__vcmpeq4, 8, false, [](long long x, long long y) { return x == y ? -1ll : 0; });
  INTRINSIC(__vcmpgts2, 16, true, [](long long x, long long y) { return x > y ? -1ll : 0; });
  INTRINSIC(__vsetleu4, 8, false, [](long long x, long long y) { return (long long)(x <= y); });
  INTRINSIC(__vsadu4, 8, false, distance, true);
  INTRINSIC(__vsads2, 16, true, distance, true);
  INTRINSIC(__hadd, 32, true, [](long long x, long long y) { return (x + y) >> 1; });
  INTRINSIC(__rhadd, 32, true, [](long long x, long long y) { return (x + y + 1) >> 1; });
  INTRINSIC(__mulhi, 32, true, [](long long x, long long y) { return (x * y) >> 32; });
  INTRINSIC(__umul24, 32, false, [](long long x, long long y) { return (x & 0xffffff) * (y & 0xffffff); });

  VIDEO("vadd2.s32.s32.s32.sat", 16, true, [](long long x, long long y) { return clamp(x + y, 16, true); });
  VIDEO("vadd4.u32.u32.u32", 8, false, add);
  VIDEO("vsub4.u32.u32.u32.sat", 8, false, [](long long x, long long y) { return clamp(x - y, 8, false); });
  VIDEO("vsub2.s32.s32.s32.add", 16, true, sub, true, 1000);
  VIDEO("vavrg4.s32.s32.s32", 8, true, average);
  VIDEO("vabsdiff2.u32.u32.u32.add", 16, false, distance, true, 1000);
  VIDEO("vabsdiff4.u32.s32.s32", 8, true, distance);
  VIDEO("vmin4.s32.s32.s32", 8, true, smaller);
  VIDEO("vmax2.u32.u32.u32", 16, false, larger);
  VIDEO("vset4.s32.s32.lt", 8, true, [](long long x, long long y) { return (long long)(x < y); });
  VIDEO("vset2.u32.u32.ne.add", 16, false, [](long long x, long long y) { return (long long)(x != y); }, true, 1000);
  printf(bad ? "%d FAILED\n" : "ok   video\n", bad);
  return bad != 0;
}
