// The half, bf16 and fp8 headers and directed rounding: device results against the host's own, value by value.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cfenv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>
#define CHECK(c_)                                                    \
  do {                                                               \
    cudaError_t e = (c_);                                            \
    if (e != cudaSuccess) {                                          \
      printf("FAIL line %d: %s\n", __LINE__, cudaGetErrorString(e)); \
      return 1;                                                      \
    }                                                                \
  } while (0)
constexpr int kOps = 33;
__host__ __device__ unsigned bits(__half h) {
  __half_raw r = h;
  return r.x;
}
__host__ __device__ unsigned bits(__nv_bfloat16 h) {
  __nv_bfloat16_raw r = h;
  return r.x;
}
__host__ __device__ unsigned bits(float f) {
  unsigned u;
  memcpy(&u, &f, 4);
  return u;
}
__host__ __device__ void all(float x, float y, float z, unsigned* o) {
  const __half a = __float2half(x), b = __float2half(y), c = __float2half(z);
  const __nv_bfloat16 p = __float2bfloat16(x), q = __float2bfloat16(y), r = __float2bfloat16(z);
  int k = 0;
  o[k++] = bits(a);
  o[k++] = bits(__float2half_rz(x));
  o[k++] = bits(__float2half_rd(x));
  o[k++] = bits(__float2half_ru(x));
  o[k++] = bits(p);
  o[k++] = bits(__float2bfloat16_rz(x));
  o[k++] = bits(__float2bfloat16_rd(x));
  o[k++] = bits(__float2bfloat16_ru(x));
  o[k++] = __hlt(a, b) | __hge(a, b) << 1 | __heq(a, b) << 2 | __hneu(a, c) << 3 | __hisnan(a) << 4 | __hgtu(b, c) << 5;
  o[k++] = __hlt(p, q) | __hge(p, q) << 1 | __hltu(q, r) << 2;
  o[k++] = __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
  o[k++] = __nv_cvt_float_to_fp8(y, __NV_SATFINITE, __NV_E5M2);
  o[k++] = __nv_cvt_halfraw_to_fp8(a, __NV_SATFINITE, __NV_E5M2);
  o[k++] = __nv_cvt_halfraw_to_fp8(b, __NV_SATFINITE, __NV_E4M3);
  o[k++] = __nv_cvt_float2_to_fp8x2(make_float2(x, z), __NV_SATFINITE, __NV_E4M3);
  __half2_raw h2 = __nv_cvt_fp8x2_to_halfraw2((__nv_fp8x2_storage_t)(bits(x) & 0x7f7f), __NV_E5M2);
  o[k++] = (h2.x & 0x7c00) == 0x7c00 ? 0 : h2.x;
  __half_raw h1 = __nv_cvt_fp8_to_halfraw((__nv_fp8_storage_t)(bits(y) >> 3), __NV_E4M3);
  o[k++] = (h1.x & 0x7c00) == 0x7c00 ? 0 : h1.x;
  o[k++] = bits(__half2float(a));
  o[k++] = bits(__bfloat162float(q));
  o[k++] = bits(float(double(x) * 1.1));
  o[k++] = unsigned(long(x * 1e3f));
#ifdef __CUDA_ARCH__
  o[k++] = __half2int_rn(a);
  o[k++] = __half2uint_rd(a);
  o[k++] = bits(__int2half_rn(int(fminf(fabsf(x), 600) * 100)));
  o[k++] = bits(__ll2float_rz((long long)(fminf(fabsf(y), 9e9f) * 1e9f)));
  o[k++] = bits(__hadd(a, b));
  o[k++] = bits(__hmul(a, b));
  o[k++] = bits(__hfma(a, b, c));
  o[k++] = bits(__hadd(p, q));
  o[k++] = bits(__hfma(p, q, r));
  o[k++] = bits(__fadd_rz(x, y));
  o[k++] = bits(__fmul_ru(x, y));
  o[k++] = bits(__double2float_rd(double(x) * y));
#else
  const float af = __half2float(a);
  o[k++] = std::isinf(af) ? unsigned(af > 0 ? 0x7fffffff : 0x80000000) : unsigned(int(rintf(af)));
  o[k++] = std::isinf(af) ? (af > 0 ? ~0u : 0) : unsigned(fmaxf(0, floorf(af)));
  o[k++] = bits(__float2half(float(int(fminf(fabsf(x), 600) * 100))));
  const long long big = (long long)(fminf(fabsf(y), 9e9f) * 1e9f);
  float bf = float(big);
  if ((long double)bf > (long double)big) bf = nextafterf(bf, 0);
  o[k++] = bits(bf);
  auto half_exact = [](double v) { return bits(__double2half(v)); };
  o[k++] = half_exact(double(__half2float(a)) + __half2float(b));
  o[k++] = half_exact(double(__half2float(a)) * __half2float(b));
  o[k++] = half_exact(double(__half2float(a)) * __half2float(b) + __half2float(c));
  o[k++] = bits(__double2bfloat16(double(__bfloat162float(p)) + __bfloat162float(q)));
  o[k++] = bits(__double2bfloat16(double(__bfloat162float(p)) * __bfloat162float(q) + __bfloat162float(r)));
  const volatile float vx = x, vy = y;
  const volatile double vd = double(x) * y;
  volatile float directed;
  std::fesetround(FE_TOWARDZERO);
  directed = vx + vy;
  o[k++] = bits(directed);
  std::fesetround(FE_UPWARD);
  directed = vx * vy;
  o[k++] = bits(directed);
  std::fesetround(FE_DOWNWARD);
  directed = float(vd);
  o[k++] = bits(directed);
  std::fesetround(FE_TONEAREST);
#endif
}
__global__ void kernel(const float* in, unsigned* out, int n) {
  const int t = blockIdx.x * blockDim.x + threadIdx.x;
  if (t < n) all(in[t], in[(t + 1) % n], in[(t + 7) % n], out + t * kOps);
}
__global__ void pairs(const float* in, __half2* h, __nv_bfloat162* b, unsigned* m) {
  const int t = threadIdx.x;
  const __half2 x = __floats2half2_rn(in[t], in[t + 1]), y = __floats2half2_rn(in[t + 2], in[t]);
  const __nv_bfloat162 u = __floats2bfloat162_rn(in[t], in[t + 1]), v = __floats2bfloat162_rn(in[t + 2], in[t]);
  h[t] = __hfma2(__hmax2(x, y), __hmin2(x, y), __hneg2(__habs2(x)));
  b[t] = __hfma2(__hmax2(u, v), __hmin2(u, v), __hneg2(__habs2(u)));
  m[t] = __hlt2_mask(x, y) ^ __hge2_mask(u, v) ^ (__hbeq2(x, x) ? 1 : 2) ^ bits(__low2half(__hgt2(x, y)));
  h[t + 32] = __hadd2(h2exp2(__floats2half2_rn(1.0f, 3.0f)), h2sqrt(__floats2half2_rn(4.0f, 9.0f)));
}
int main() {
  std::vector<float> in;
  unsigned s = 1;
  const float special[] = {0.0f,  -0.0f,    1.0f,         -1.0f,         65504.0f,      65519.0f, 65520.0f, 1e-7f,
                           6e-8f, 2.98e-8f, 5.96e-8f,     448.0f,        464.0f,        465.0f,   57344.0f, 61440.0f,
                           1e10f, -1e-10f,  0.001953125f, 0.0009765625f, 0.0029296875f, 1e-5f};
  for (float f : special) in.push_back(f);
  while (in.size() < 1500) {
    s = s * 1664525u + 1013904223u;
    const int e = int(s >> 8 & 31) - 20;
    in.push_back(ldexpf(1.0f + float(s >> 13 & 1023) / 1024 + (s & 1 ? 0x1p-11f : 0) + (s & 2 ? 0x1p-15f : 0), e) * (s & 4 ? -1 : 1));
  }
  const int n = int(in.size());
  float* d;
  unsigned* o;
  CHECK(cudaMalloc(&d, n * 4));
  CHECK(cudaMalloc(&o, n * kOps * 4));
  CHECK(cudaMemcpy(d, in.data(), n * 4, cudaMemcpyHostToDevice));
  kernel<<<(n + 127) / 128, 128>>>(d, o, n);
  CHECK(cudaDeviceSynchronize());
  std::vector<unsigned> got(n * kOps), want(kOps);
  CHECK(cudaMemcpy(got.data(), o, got.size() * 4, cudaMemcpyDeviceToHost));
  int bad[kOps] = {}, total = 0;
  for (int t = 0; t < n; ++t) {
    all(in[t], in[(t + 1) % n], in[(t + 7) % n], want.data());
    for (int k = 0; k < kOps; ++k)
      if (got[t * kOps + k] != want[k]) {
        if (++bad[k] < 3)
          printf("op %d of (%a, %a, %a): %x, want %x\n", k, in[t], in[(t + 1) % n], in[(t + 7) % n], got[t * kOps + k], want[k]);
        ++total;
      }
  }
  __half2* h;
  __nv_bfloat162* b;
  CHECK(cudaMalloc(&h, 64 * 4));
  CHECK(cudaMalloc(&b, 32 * 4));
  pairs<<<1, 32>>>(d + 30, h, b, o);
  CHECK(cudaDeviceSynchronize());
  __half2 hh[64];
  CHECK(cudaMemcpy(hh, h, sizeof hh, cudaMemcpyDeviceToHost));
  const float* x = &in[30];
  auto r16 = [](float f) { return double(__half2float(__float2half(f))); };
  for (int t = 0; t < 32; ++t) {
    const double a = r16(x[t]), c = r16(x[t + 2]);
    const unsigned w = bits(__double2half(fmax(a, c) * fmin(a, c) - fabs(a)));
    total += bits(__low2half(hh[t])) != w;
  }
  total += __low2float(hh[32]) != 4 || __high2float(hh[40]) != 11;
  printf(total ? "FAIL %d\n" : "ok halves\n", total);
  return total != 0;
}
