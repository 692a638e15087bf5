// test_ptx.cu - small kernels for features that the real kernels do not use, and bugs that must be
// reported.  Plain CUDA, compiled for compute_80.
#include <cassert>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>

#include "device_buffer.h"
#include "expect.h"
#include "gpu/gpu.cuh"
#include "sim/control.h"

namespace {

// ---- triple chevrons, __constant__, __device__ variables ----

__constant__ float factor = 2.0f;
__device__ int counter;

__global__ void add_kernel(float* c, const float* a, const float* b, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) c[i] = a[i] + factor * b[i];
  if (i == 0) counter = n;
}

// ---- arithmetic: the device's result against the host's for the same expression ----

__host__ __device__ unsigned mix(unsigned x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  return x ^ x >> 15;
}
__host__ __device__ long long integer_soup(int x, unsigned y) {
  long long r = (long long)x * y;
  r += x / (int)(y % 1000 + 1) + x % 77 + (y >> (x & 31)) + (x >> 3) - (x < (int)y ? 5 : 9);
  r ^= (long long)(unsigned short)y << 20 | (unsigned char)x;
  r += (short)x * (short)y + (r / 1000003) % 97;
  return r ^ (long long)((unsigned long long)r * 0x9e3779b97f4a7c15ull >> 33);
}
__host__ __device__ float float_soup(float x, float y) {
  float r = x * y + x / (fabsf(y) + 1.0f);
  r = fmaxf(r, -x) + fminf(y, 3.0f) + sqrtf(fabsf(x)) - floorf(y) + rintf(x) + truncf(y);
  return r + float(int(x * 100.0f)) + (x < y ? 1.5f : -2.5f) + float((unsigned char)int(x * 10 + 200));
}
__host__ __device__ double double_soup(double x, double y) {
  return x * y + sqrt(fabs(x)) / (1.0 + y * y) + double(float(x)) + double((long long)(y * 1000));
}

__global__ void soup_kernel(long long* i, float* f, double* d) {
  const unsigned t = blockIdx.x * blockDim.x + threadIdx.x;
  const int x = int(mix(t)), y = int(mix(t + 12345));
  i[t] = integer_soup(x, unsigned(y));
  f[t] = float_soup(float(x) * 1e-7f, float(y) * 1e-8f);
  d[t] = double_soup(x * 1e-6, y * 1e-5);
}

void check_soup() {
  const int n = 256;
  DeviceBuffer<long long> di(n);
  DeviceBuffer<float> df(n);
  DeviceBuffer<double> dd(n);
  soup_kernel<<<4, 64>>>(di.get(), df.get(), dd.get());
  auto vi = di.read();
  auto vf = df.read();
  auto vd = dd.read();
  bool ok_i = true, ok_f = true, ok_d = true;
  for (unsigned t = 0; t < n; ++t) {
    const int x = int(mix(t)), y = int(mix(t + 12345));
    ok_i &= vi[t] == integer_soup(x, unsigned(y));
    const float f = float_soup(float(x) * 1e-7f, float(y) * 1e-8f);
    ok_f &= fabsf(vf[t] - f) <= 1e-5f * (1 + fabsf(f));
    const double d = double_soup(x * 1e-6, y * 1e-5);
    ok_d &= fabs(vd[t] - d) <= 1e-12 * (1 + fabs(d));
  }
  expect("integer arithmetic", ok_i);
  expect("float arithmetic", ok_f);
  expect("double arithmetic", ok_d);
}

// ---- 16-bit types ----

__global__ void half_kernel(float* out) {
  const int t = threadIdx.x;
  const float x = t * 0.37f - 3.0f;
  const __half h = __float2half(x);
  const __half2 h2 = __halves2half2(h, __float2half(1.0f));
  const __nv_bfloat162 b2 = __floats2bfloat162_rn(x, 2.0f);
  out[t * 4 + 0] = __half2float(__hadd(h, __float2half(0.5f)));
  out[t * 4 + 1] = __low2float(__hmul2(h2, h2));
  out[t * 4 + 2] = __low2float(__hfma2(b2, b2, b2));
  out[t * 4 + 3] = float(__float2int_rn(x)) + __half2float(__ushort_as_half(0x3c00));
}
void check_half() {
  DeviceBuffer<float> d(32 * 4);
  half_kernel<<<1, 32>>>(d.get());
  const auto v = d.read();
  bool ok = true;
  for (int t = 0; t < 32; ++t) {
    const float x = t * 0.37f - 3.0f, h = __half2float(__float2half(x)), b = __bfloat162float(__float2bfloat16(x));
    ok &= v[t * 4] == __half2float(__float2half(h + 0.5f)) && v[t * 4 + 1] == __half2float(__float2half(h * h)) &&
          v[t * 4 + 2] == __bfloat162float(__float2bfloat16(b * b + b)) && v[t * 4 + 3] == rintf(x) + 1.0f;
  }
  expect("f16 and bf16 arithmetic", ok);
}

// ---- divergence, local memory, a called function ----

__noinline__ __device__ int collatz(int n) {
  int steps = 0;
  while (n != 1) {
    n = n % 2 ? 3 * n + 1 : n / 2;
    ++steps;
  }
  return steps;
}
__global__ void divergence_kernel(int* out, int k) {
  int table[8];
  for (int i = 0; i < 8; ++i) table[i] = i * k;
  const int t = threadIdx.x;
  int v = t % 3 == 0 ? collatz(t + 1) : t % 3 == 1 ? -collatz(2 * t + 1) : 1000;
  switch (t & 7) {
    case 0:
      v += 10;
      break;
    case 3:
      v *= 2;
      break;
    case 5:
      v -= table[(t + k) & 7];
      break;
    default:
      v += table[t & 7];
  }
  out[t] = v;
}
void check_divergence() {
  DeviceBuffer<int> d(64);
  divergence_kernel<<<1, 64>>>(d.get(), 3);
  auto steps = [](int n) {
    int s = 0;
    for (; n != 1; ++s) n = n % 2 ? 3 * n + 1 : n / 2;
    return s;
  };
  bool ok = true;
  const auto got = d.read();
  for (int t = 0; t < 64; ++t) {
    int v = t % 3 == 0 ? steps(t + 1) : t % 3 == 1 ? -steps(2 * t + 1) : 1000;
    switch (t & 7) {
      case 0:
        v += 10;
        break;
      case 3:
        v *= 2;
        break;
      case 5:
        v -= (t + 3 & 7) * 3;
        break;
      default:
        v += (t & 7) * 3;
    }
    ok &= got[t] == v;
  }
  expect("divergence, local memory, calls", ok);
}

// ---- warp collectives ----

__global__ void warp_kernel(int* out) {
  const int lane = threadIdx.x;
  bool ok = __shfl_sync(~0u, lane, 5) == 5 && __shfl_sync(~0u, lane, 1, 8) == (lane & ~7) + 1 &&
            __shfl_down_sync(~0u, lane, 4) == (lane < 28 ? lane + 4 : lane) &&
            __shfl_up_sync(~0u, lane, 1, 16) == (lane % 16 ? lane - 1 : lane);
  ok = ok && __ballot_sync(~0u, lane % 2) == 0xaaaaaaaau;
  ok = ok && __any_sync(~0u, lane == 3) && !__all_sync(~0u, lane == 3);
  ok = ok && __reduce_add_sync(~0u, unsigned(lane)) == 496 && __match_any_sync(~0u, lane % 4) == 0x11111111u << lane % 4;
  ok = ok && __syncthreads_count(lane < 7) == 7 && __syncthreads_or(lane == 9) && !__syncthreads_and(lane == 9);
  out[lane] = ok;
  if (lane < 8) out[lane] &= __shfl_xor_sync(0xffu, lane, 3) == (lane ^ 3);  // part of a warp
}

// ---- mma fragments: f16 and tf32 against a plain product ----

template <bool Tf32>
__global__ void mma_kernel(float* d, const float* a, const float* b) {
  const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  uint32_t fa[4], fb[2];
  float acc[4] = {};
  if constexpr (Tf32) {
    for (int i = 0; i < 4; ++i) fa[i] = __float_as_uint(a[(g + i % 2 * 8) * 8 + t + i / 2 * 4]);
    for (int i = 0; i < 2; ++i) fb[i] = __float_as_uint(b[(t + i * 4) * 8 + g]);
    ptx::mma_m16n8k8_tf32(acc, fa, fb);
  } else {
    auto pack = [](float lo, float hi) {
      __half2 h = __floats2half2_rn(lo, hi);
      return *reinterpret_cast<uint32_t*>(&h);
    };
    for (int i = 0; i < 4; ++i) {
      const float* p = a + (g + i % 2 * 8) * 16 + t * 2 + i / 2 * 8;
      fa[i] = pack(p[0], p[1]);
    }
    for (int i = 0; i < 2; ++i) fb[i] = pack(b[(t * 2 + i * 8) * 8 + g], b[(t * 2 + i * 8 + 1) * 8 + g]);
    ptx::mma_m16n8k16_f16(acc, fa, fb);
  }
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = acc[i];
}
template <bool Tf32>
void check_mma(const char* name) {
  constexpr int k = Tf32 ? 8 : 16;
  std::vector<float> a(16 * k), b(k * 8);
  unsigned s = 1;
  for (float& x : a) x = float(int((s = mix(s + 1)) % 17) - 8);
  for (float& x : b) x = float(int((s = mix(s + 1)) % 17) - 8);
  DeviceBuffer<float> da(a), db(b), dd(128);
  mma_kernel<Tf32><<<1, 32>>>(dd.get(), da.get(), db.get());
  const auto d = dd.read();
  bool ok = true;
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 8; ++n) {
      float want = 0;
      for (int l = 0; l < k; ++l) want += a[m * k + l] * b[l * 8 + n];
      ok &= d[m * 8 + n] == want;
    }
  expect(name, ok);
}

// ---- the last block to finish adds up what the others stored; atomics ----

template <bool Fence>
__global__ void last_block_kernel(float* total, float* partial, unsigned* counter) {
  __shared__ bool last;
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = float(blockIdx.x);
    if (Fence) __threadfence();
    last = atomicAdd(counter, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (last && threadIdx.x == 0) {
    float sum = 0;
    for (unsigned i = 0; i < gridDim.x; ++i) sum += partial[i];
    *total = sum;
  }
}
template <bool Fence>
float last_block() {
  DeviceBuffer<float> total(1), partial(10);
  DeviceBuffer<unsigned> count(std::vector<unsigned>{0});
  last_block_kernel<Fence><<<10, 64>>>(total.get(), partial.get(), count.get());
  gpu::check(cudaGetLastError(), "last_block");
  return total.read()[0];
}
template <bool Atomic>
__global__ void accumulate_kernel(float* sum, __nv_bfloat162* pair, int* highest) {
  if (threadIdx.x != 0) return;
  if (Atomic) {
    atomicAdd(sum, 1.0f);
    // Below sm_90 this is a compare-and-swap loop that starts with an ordinary load: a formal race.
    if (pair) atomicAdd(pair, __floats2bfloat162_rn(1.0f, 2.0f));
    atomicMax(highest, int(blockIdx.x));
  } else {
    *sum += 1.0f;
  }
}
template <bool Atomic>
bool accumulate(bool pairs = false) {
  DeviceBuffer<float> sum(std::vector<float>{0});
  DeviceBuffer<__nv_bfloat162> pair(std::vector<__nv_bfloat162>{__floats2bfloat162_rn(0, 0)});
  DeviceBuffer<int> highest(std::vector<int>{-1});
  accumulate_kernel<Atomic><<<8, 32>>>(sum.get(), pairs ? pair.get() : nullptr, highest.get());
  gpu::check(cudaGetLastError(), "accumulate");
  return sum.read()[0] == 8 && __high2float(pair.read()[0]) == (pairs ? 16 : 0) && highest.read()[0] == 7;
}

// A block waits for a flag that its predecessor sets: needs two resident blocks or the right order.
__global__ void chain_kernel(volatile int* flags, int* sum) {
  if (threadIdx.x == 0) {
    if (blockIdx.x)
      while (flags[blockIdx.x - 1] == 0) {
      }
    __threadfence();
    *sum += int(blockIdx.x);
    __threadfence();
    flags[blockIdx.x] = 1;
  }
}

// ---- warp-private staging through (dynamic) shared memory ----

template <bool Sync>
__global__ void staging_kernel(int* out) {
  extern __shared__ int stage[];
  const int lane = threadIdx.x % 32, base = threadIdx.x - lane;
  stage[base + lane] = lane;
  if (Sync) __syncwarp();
  out[threadIdx.x] = stage[base + (lane + 1) % 32];
}

// ---- bugs that must be reported ----

__global__ void partial_barrier_kernel() {
  if (threadIdx.x < 32) __syncthreads();
  ptx::named_barrier_sync(1, 64);
}
__global__ void diverged_barrier_kernel() {
  if (threadIdx.x < 16)
    __syncthreads();
  else if (threadIdx.x < 20)
    ptx::named_barrier_sync(2, 64);
}
__global__ void diverged_shuffle_kernel(int* out) {
  if (threadIdx.x < 16)
    out[0] = __shfl_sync(~0u, 1, 0);
  else
    out[1] = __any_sync(~0u, true);
}
__global__ void unwaited_copy_kernel(const uint4* p) {
  __shared__ uint4 q;
  ptx::cp_async_16(ptx::smem_addr(&q), p);
  ptx::cp_async_commit();
}
__global__ void spin_kernel(volatile int* flag) {
  while (*flag == 0) {
  }
}
__global__ void overrun_kernel(float* p, int n) { p[threadIdx.x + n] = 1.0f; }
__global__ void shared_overrun_kernel(int* out, int n) {
  __shared__ int a[32];
  a[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = a[threadIdx.x + n];
}
__global__ void misaligned_kernel(const char* p, float4* q) { *q = *reinterpret_cast<const float4*>(p + 4); }
__global__ void assert_kernel(int n) { assert(int(threadIdx.x) < n); }
__global__ void printf_kernel(const char* name) {
  if (threadIdx.x < 2) printf("ok   printf %d %5.2f %s %lld%%\n", int(threadIdx.x), 1.5f, "text", 1ll << 40);
}
__global__ void unknown_kernel() { asm volatile("cp.async.cg.shared.global.L2::512B [%0], [%1], 16;" ::"r"(0), "l"(0ull)); }
__global__ void __launch_bounds__(64) bounded_kernel() {}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && !strcmp(argv[1], "--table")) {
    simPrintInstructions();
    return 0;
  }
  for (int race = 0; race < 2; ++race)
    for (int seed = 0; seed < 6; ++seed) {
      simSetRace(race);
      simSetSeed(unsigned(seed));
      std::vector<float> a(100), b(100);
      for (int i = 0; i < 100; ++i) a[i] = float(i), b[i] = float(i * i);
      DeviceBuffer<float> da(a), db(b), dc(100);
      const float three = 3.0f;
      cudaMemcpyToSymbol(factor, &three, sizeof three);
      add_kernel<<<4, 32>>>(dc.get(), da.get(), db.get(), 100);
      gpu::check(cudaDeviceSynchronize(), "add");
      bool ok = true;
      for (int i = 0; i < 100; ++i) ok &= dc.read()[i] == a[i] + 3 * b[i];
      int n = 0;
      cudaMemcpyFromSymbol(&n, counter, sizeof n);
      expect("vector add", ok && n == 100);
      check_soup();
      check_half();
      check_divergence();
      DeviceBuffer<int> out(32);
      warp_kernel<<<1, 32>>>(out.get());
      ok = true;
      for (int v : out.read()) ok &= v == 1;
      expect("shuffles, votes, reductions", ok);
      check_mma<false>("mma f16");
      check_mma<true>("mma tf32");
      expect("last block", last_block<true>() == 45);
      expect("atomics", accumulate<true>(!race));
      DeviceBuffer<int> flags(std::vector<int>(4, 0)), sum(std::vector<int>{0});
      if (seed == 0) {
        chain_kernel<<<4, 32>>>(flags.get(), sum.get());
        expect("chain of blocks", cudaDeviceSynchronize() == cudaSuccess && sum.read()[0] == 6);
      }
      DeviceBuffer<int> staged(64);
      staging_kernel<true><<<1, 64, 256>>>(staged.get());
      expect("warp staging", staged.read()[0] == 1);
      expect("no error left", cudaGetLastError() == cudaSuccess);
    }

  simSetSeed(0);
  simSetRace(0);
  DeviceBuffer<int> out(64);
  DeviceBuffer<uint4> source(1);
  DeviceBuffer<int> flag(std::vector<int>{0});
  DeviceBuffer<float> floats(40);
  expect_error("partial barrier", "deadlock", [&] { partial_barrier_kernel<<<1, 64>>>(); });
  expect_error("diverged barrier", "divergence", [&] { diverged_barrier_kernel<<<1, 64>>>(); });
  expect_error("diverged shuffle", "divergence", [&] { diverged_shuffle_kernel<<<1, 32>>>(out.get()); });
  expect_error("unwaited cp.async", "never waited", [&] { unwaited_copy_kernel<<<1, 32>>>(source.get()); });
  expect_error("endless spin", "livelock", [&] { spin_kernel<<<1, 32>>>(flag.get()); });
  expect_error("global overrun", "past the end", [&] { overrun_kernel<<<1, 32>>>(floats.get(), 10); });
  expect_error("shared overrun", "in no variable", [&] { shared_overrun_kernel<<<1, 32>>>(out.get(), 1); });
  expect_error("misaligned load", "not aligned",
               [&] { misaligned_kernel<<<1, 1>>>(reinterpret_cast<char*>(floats.get()), reinterpret_cast<float4*>(source.get())); });
  expect_error("unknown instruction form", ".L2::512B", [&] { unknown_kernel<<<1, 32>>>(); });
  expect_error("assert", "< n' failed", [&] { assert_kernel<<<1, 32>>>(31); });
  printf_kernel<<<1, 32>>>(nullptr);
  expect("printf", cudaGetLastError() == cudaSuccess);
  float* dangling;
  cudaMalloc(&dangling, 400);
  cudaFree(dangling);
  expect_error("use after free", "freed memory", [&] { overrun_kernel<<<1, 32>>>(dangling, 0); });
  simSetRace(1);
  expect_error("staging without __syncwarp", "data race", [&] { staging_kernel<false><<<1, 64, 256>>>(out.get()); });
  expect_error("last block without __threadfence", "data race", [] { last_block<false>(); });
  expect_error("non-atomic sum over blocks", "data race", [] { accumulate<false>(); });
  simSetRace(0);
  bounded_kernel<<<1, 128>>>();
  expect("launch bounds", cudaGetLastError() == cudaErrorLaunchOutOfResources);
  add_kernel<<<1, 32, 200 * 1024>>>(nullptr, nullptr, nullptr, 0);
  expect("too much dynamic shared memory", cudaGetLastError() == cudaErrorInvalidValue);
  expect("double free", cudaFree(dangling) == cudaErrorInvalidValue);
  cudaGetLastError();
  return report();
}
