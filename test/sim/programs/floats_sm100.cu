// Floating-point forms of Blackwell: two floats in a 64-bit register, sums of mixed precision, three inputs, reductions of a warp, fp4 and
// fp6; and a few older ones that no compiler emits by itself.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp4.h>
#include <cuda_fp6.h>
#include <cuda_fp8.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "check.h"

namespace {

constexpr int kResults = 17, kThreads = 32;

__device__ uint64_t pack(float x, float y) { return uint64_t(__float_as_uint(y)) << 32 | __float_as_uint(x); }
__device__ void unpack(uint64_t v, float* to) { to[0] = __uint_as_float(uint32_t(v)), to[1] = __uint_as_float(uint32_t(v >> 32)); }

__global__ void run(const float* in, float* out) {
  const float x = in[threadIdx.x], y = in[threadIdx.x + 1], z = in[threadIdx.x + 2];
  float* o = out + threadIdx.x * kResults;
  const uint64_t a = pack(x, y), b = pack(y, z), c = pack(z, x);
  uint64_t r;
  asm("add.rn.f32x2 %0, %1, %2;" : "=l"(r) : "l"(a), "l"(b));
  unpack(r, o);
  asm("mul.rn.ftz.f32x2 %0, %1, %2;" : "=l"(r) : "l"(a), "l"(b));
  unpack(r, o + 2);
  asm("fma.rz.f32x2 %0, %1, %2, %3;" : "=l"(r) : "l"(a), "l"(b), "l"(c));
  unpack(r, o + 4);
  const unsigned short h = __bfloat16_as_ushort(__float2bfloat16(x)), g = __half_as_ushort(__float2half(y));
  asm("add.f32.bf16 %0, %1, %2;" : "=f"(o[6]) : "h"(h), "f"(z));
  asm("sub.rn.f32.f16 %0, %1, %2;" : "=f"(o[7]) : "h"(g), "f"(z));
  asm("fma.rn.f32.f16 %0, %1, %1, %2;" : "=f"(o[8]) : "h"(g), "f"(z));
  asm("add.sat.f32.bf16 %0, %1, %2;" : "=f"(o[9]) : "h"(h), "f"(z));
  asm("max.f32 %0, %1, %2, %3;" : "=f"(o[10]) : "f"(x), "f"(y), "f"(z));
  asm("min.f32 %0, %1, %2, %3;" : "=f"(o[11]) : "f"(x), "f"(y), "f"(z));
  asm volatile("redux.sync.max.f32 %0, %1, 0xffffffff;" : "=f"(o[12]) : "f"(x));
  asm volatile("redux.sync.min.abs.f32 %0, %1, 0xffffffff;" : "=f"(o[13]) : "f"(x));
  asm("min.xorsign.abs.f32 %0, %1, %2;" : "=f"(o[14]) : "f"(x), "f"(y));
  asm("max.NaN.xorsign.abs.f32 %0, %1, %2;" : "=f"(o[15]) : "f"(x), "f"(y));
  int m;
  asm("mad.hi.sat.s32 %0, %1, %2, %3;" : "=r"(m) : "r"(int(x) << 26), "r"(0x7fffffff), "r"(0x7f000000));
  o[16] = float(m);
}

// The headers' conversions to and from fp4, fp6 and powers of two: instructions on the device, computed by hand on the host.
constexpr int kNarrow = 10;
__host__ __device__ void narrow(float x, float y, float* o) {
  const auto low = [](__half2_raw h) { return __half2float(__half(__half_raw{h.x})); };
  const auto high = [](__half2_raw h) { return __half2float(__half(__half_raw{h.y})); };
  const float2 v = make_float2(x, y);
  const auto a = __nv_cvt_float2_to_fp4x2(v, __NV_E2M1, cudaRoundNearest);
  const auto b = __nv_cvt_float2_to_fp6x2(v, __NV_E2M3, cudaRoundNearest);
  const auto c = __nv_cvt_float2_to_fp6x2(v, __NV_E3M2, cudaRoundNearest);
  const auto up = __nv_cvt_float_to_e8m0(x, __NV_SATFINITE, cudaRoundPosInf),
             down = __nv_cvt_float_to_e8m0(y, __NV_SATFINITE, cudaRoundZero);
  o[0] = a, o[1] = low(__nv_cvt_fp4x2_to_halfraw2(a, __NV_E2M1)), o[2] = high(__nv_cvt_fp4x2_to_halfraw2(a, __NV_E2M1));
  o[3] = b, o[4] = low(__nv_cvt_fp6x2_to_halfraw2(b, __NV_E2M3)), o[5] = c, o[6] = high(__nv_cvt_fp6x2_to_halfraw2(c, __NV_E3M2));
  o[7] = up, o[8] = down, o[9] = __bfloat162float(__nv_bfloat16(__nv_cvt_e8m0_to_bf16raw(up)));
}
__global__ void narrow_kernel(const float* in, float* out) { narrow(in[threadIdx.x], in[threadIdx.x + 1], out + threadIdx.x * kNarrow); }

}  // namespace

int main() {
  std::vector<float> in(kThreads + 2), got(kThreads * kResults);
  for (size_t i = 0; i < in.size(); ++i) in[i] = float(int(i * 37 % 61) - 30) / 4 + (i % 3 ? 0.0f : 1e-3f);
  float *d, *out;
  CHECK(cudaMalloc(&d, in.size() * 4));
  CHECK(cudaMalloc(&out, got.size() * 4));
  CHECK(cudaMemcpy(d, in.data(), in.size() * 4, cudaMemcpyHostToDevice));
  run<<<1, kThreads>>>(d, out);
  CHECK(cudaGetLastError());
  CHECK(cudaMemcpy(got.data(), out, got.size() * 4, cudaMemcpyDeviceToHost));
  int bad = 0;
  auto toward_zero = [](double exact) {
    const float f = float(exact);
    return std::fabs(double(f)) > std::fabs(exact) ? std::nextafter(f, 0.0f) : f;
  };
  const auto [low, high] = std::minmax_element(in.begin(), in.begin() + kThreads, [](float a, float b) { return a < b; });
  const float least =
      std::fabs(*std::min_element(in.begin(), in.begin() + kThreads, [](float a, float b) { return std::fabs(a) < std::fabs(b); }));
  (void)low;
  for (int t = 0; t < kThreads; ++t) {
    const float x = in[t], y = in[t + 1], z = in[t + 2];
    const float h = __bfloat162float(__float2bfloat16(x)), g = __half2float(__float2half(y));
    auto sign = [&](float v) { return std::signbit(x) != std::signbit(y) ? -v : v; };
    const float ax = std::fabs(x), ay = std::fabs(y);
    const long long wide = ((long long)(int32_t(uint32_t(int(x)) << 26)) * 0x7fffffff >> 32) + 0x7f000000;
    const float want[kResults] = {x + y,
                                  y + z,
                                  x * y,
                                  y * z,
                                  toward_zero(double(x) * y + z),
                                  toward_zero(double(y) * z + x),
                                  h + z,
                                  g - z,
                                  std::fma(g, g, z),
                                  std::clamp(h + z, 0.0f, 1.0f),
                                  std::max({x, y, z}),
                                  std::min({x, y, z}),
                                  *high,
                                  least,
                                  sign(std::min(ax, ay)),
                                  sign(std::max(ax, ay)),
                                  float(std::clamp<long long>(wide, INT32_MIN, INT32_MAX))};
    for (int k = 0; k < kResults; ++k)
      if (got[t * kResults + k] != want[k] && ++bad < 10)
        printf("FAIL result %d of thread %d: %g, want %g\n", k, t, got[t * kResults + k], want[k]);
  }
  narrow_kernel<<<1, kThreads>>>(d, out);
  CHECK(cudaGetLastError());
  CHECK(cudaMemcpy(got.data(), out, kThreads * kNarrow * 4, cudaMemcpyDeviceToHost));
  for (int t = 0; t < kThreads; ++t) {
    float want[kNarrow];
    narrow(in[t], in[t + 1], want);
    for (int k = 0; k < kNarrow; ++k)
      if (got[t * kNarrow + k] != want[k] && ++bad < 10)
        printf("FAIL narrow %d of thread %d: %g, want %g\n", k, t, got[t * kNarrow + k], want[k]);
  }
  printf(bad ? "%d FAILED\n" : "ok   floats\n", bad);
  return bad != 0;
}
