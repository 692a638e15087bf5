// test_math.cu - mathematical functions and integer intrinsics: what nvcc emits for them must run, and
// must agree with the host's libm.  Plain CUDA, compiled for compute_80.
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>

#include "device_buffer.h"
#include "expect.h"
#include "gpu/gpu.cuh"

namespace {

template <class F>
__global__ void map_kernel(float* y, const float* x, int n, F f) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = f(x[i]);
}

// Runs f on the device and compares with `want` on the host.
template <class F>
void check(const char* name, F f, double (*want)(double), float low, float high, double tolerance = 2e-6) {
  const int n = 333;
  std::vector<float> x(n);
  for (int i = 0; i < n; ++i) x[i] = low + (high - low) * float(i) / float(n - 1);
  DeviceBuffer<float> dx(x), dy(n);
  map_kernel<<<(n + 127) / 128, 128>>>(dy.get(), dx.get(), n, f);
  if (cudaGetLastError() != cudaSuccess) {
    expect(name, false, simLastMessage());
    return simReset();
  }
  const auto y = dy.read();
  double worst = 0;
  for (int i = 0; i < n; ++i) {
    const double w = want(x[i]), e = fabs(y[i] - w) / (fabs(w) + 1e-3);
    if (!(e <= worst)) worst = std::isnan(w) && std::isnan(y[i]) ? worst : e;
  }
  expect(name, worst <= tolerance, "error " + std::to_string(worst));
}

__global__ void integer_kernel(uint64_t* out) {
  const uint32_t x = threadIdx.x * 2654435761u + 12345, y = x * 1664525u + 1013904223u;
  const uint64_t z = uint64_t(x) << 32 | y;
  uint64_t h = 0;
  auto add = [&](uint64_t v) { h = h * 1099511628211ull + v; };
  add(__umulhi(x, y));
  add(uint64_t(__mulhi(int(x), int(y))));
  add(__umul64hi(z, z ^ 12345));
  add(__popc(x)), add(__popcll(z)), add(__clz(int(x))), add(__clzll(int64_t(z))), add(__ffs(int(x))), add(__brev(x)), add(__brevll(z));
  add(__byte_perm(x, y, 0x5140)), add(__funnelshift_l(x, y, 7)), add(__funnelshift_r(x, y, 39));
  add(uint64_t(__dp4a(int(x), int(y), 3)));
  add(z / (y | 1)), add(z % (x | 1)), add(uint64_t(int64_t(z) / int32_t(y | 1))), add(x / 7), add(uint64_t(int(x) % 10));
  add(__vadd4(x, y)), add(uint64_t(__sad(int(x), int(y), 5u)));
  add(uint64_t(min(int(x), int(y)))), add(max(x, y)), add(uint64_t(abs(int(x)))), add(uint64_t(llabs(int64_t(z))));
  add(uint64_t(__float2ll_rz(float(int(x)) * 3.7f))), add(__float2uint_rn(float(x))), add(uint64_t(__double2int_rd(double(int(x)) * 0.3)));
  out[threadIdx.x] = h;
}
void check_integers() {
  DeviceBuffer<uint64_t> d(64);
  integer_kernel<<<1, 64>>>(d.get());
  if (cudaGetLastError() != cudaSuccess) {
    expect("integer intrinsics", false, simLastMessage());
    return simReset();
  }
  const auto got = d.read();
  bool ok = true;
  for (uint32_t t = 0; t < 64; ++t) {
    const uint32_t x = t * 2654435761u + 12345, y = x * 1664525u + 1013904223u;
    const uint64_t z = uint64_t(x) << 32 | y;
    uint64_t h = 0;
    auto add = [&](uint64_t v) { h = h * 1099511628211ull + v; };
    add(uint64_t(x) * y >> 32);
    add(uint64_t(int(int64_t(int(x)) * int(y) >> 32)));
    add(uint64_t((unsigned __int128)z * (z ^ 12345) >> 64));
    auto reverse = [](uint64_t v, int n) {
      uint64_t r = 0;
      for (int i = 0; i < n; ++i) r |= (v >> i & 1) << (n - 1 - i);
      return r;
    };
    add(__builtin_popcount(x)), add(__builtin_popcountll(z)), add(x ? __builtin_clz(x) : 32), add(z ? __builtin_clzll(z) : 64),
        add(__builtin_ffs(int(x)));
    add(reverse(x, 32)), add(reverse(z, 64));
    const uint64_t both = uint64_t(y) << 32 | x;
    uint32_t perm = 0;
    for (int k = 0; k < 4; ++k) perm |= uint32_t(both >> 8 * (0x5140 >> 4 * k & 7) & 0xff) << 8 * k;
    add(perm), add(uint32_t(both << 7 >> 32)), add(uint32_t(both >> 7));
    int dot = 3;
    for (int k = 0; k < 32; k += 8) dot += int8_t(x >> k) * int8_t(y >> k);
    add(uint64_t(dot));
    add(z / (y | 1)), add(z % (x | 1)), add(uint64_t(int64_t(z) / int32_t(y | 1))), add(x / 7), add(uint64_t(int(x) % 10));
    uint32_t bytes = 0;
    for (int k = 0; k < 32; k += 8) bytes |= (((x >> k) + (y >> k)) & 0xff) << k;
    add(bytes), add(uint64_t(uint32_t(std::abs(int64_t(int(x)) - int(y)) + 5)));
    add(uint64_t(std::min(int(x), int(y)))), add(std::max(x, y)), add(uint64_t(std::abs(int(x)))), add(uint64_t(std::llabs(int64_t(z))));
    add(uint64_t(int64_t(float(int(x)) * 3.7f))), add(uint32_t(std::min(4294967295.0, std::rint(double(float(x)))))),
        add(uint64_t(int(std::floor(double(int(x)) * 0.3))));
    ok &= got[t] == h;
  }
  expect("integer intrinsics", ok);
}

}  // namespace

#define CHECK(call, reference, ...) \
  check(#call, [] __device__(float x) { return call; }, [](double x) -> double { return reference; }, __VA_ARGS__)

int main() {
  CHECK(expf(x), exp(x), -20, 20);
  CHECK(__expf(x), exp(x), -5, 5, 1e-5);
  CHECK(exp2f(x), exp2(x), -20, 20);
  CHECK(logf(x), log(x), 0.01f, 100);
  CHECK(log2f(x), log2(x), 0.01f, 100);
  CHECK(log1pf(x), log1p(x), -0.9f, 10);
  CHECK(expm1f(x), expm1(x), -2, 3);
  CHECK(tanhf(x), tanh(x), -6, 6);
  CHECK(erff(x), erf(x), -4, 4);
  CHECK(normcdff(x), 0.5 * erfc(-x / sqrt(2.0)), -3, 3, 1e-5);
  CHECK(sinf(x), sin(x), -10, 10, 1e-4);
  CHECK(sinf(x), sin(x), 2e5f, 3e5f, 1e-3);
  CHECK(cosf(x), cos(x), -10, 10, 1e-4);
  CHECK(powf(fabsf(x), 1.7f), pow(fabs(x), double(1.7f)), -9, 9, 1e-5);
  CHECK(rsqrtf(x), 1 / sqrt(x), 0.01f, 100);
  CHECK(sqrtf(x), sqrt(x), 0, 100);
  CHECK(cbrtf(x), cbrt(x), -50, 50);
  CHECK(fmodf(x, 0.7f), fmod(x, double(0.7f)), -30, 30, 1e-3);
  CHECK(__fdividef(x, 3.0f), x / 3, -30, 30);
  CHECK(x / 3.0f, x / 3, -30, 30);
  CHECK(__frcp_rn(x), 1 / x, 0.1f, 30);
  CHECK(roundf(x) + ceilf(x), round(x) + ceil(x), -30, 30);
  CHECK(float(exp(double(x)) * log(double(x) + 40)), exp(x) * log(x + 40), -30, 10);
  CHECK(__saturatef(x), x < 0 ? 0 : x > 1 ? 1 : x, -2, 2);
  CHECK(copysignf(2.0f, x) * isfinite(x), copysign(2.0, x), -3, 3);
  CHECK(0.5f * x * (1 + tanhf(0.79788456f * (x + 0.044715f * x * x * x))), 0.5 * x * (1 + tanh(0.79788456 * (x + 0.044715 * x * x * x))),
        -5, 5, 1e-4);
  check_integers();
  return report();
}
