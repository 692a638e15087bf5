// Matrix products on tensor cores: a tiled GEMM in half precision (wmma, shared memory, cp.async), and mma.sync of every type by hand:
// half, bf16, tf32, double, 8-bit and 4-bit integers, bits, fp8 where the card has it.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_pipeline.h>
#include <mma.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "check.h"

namespace {

// ---- wmma: c [m][n] = alpha * a [m][k] * b [k][n] + beta * c, tiles of 64 x 64 x 32, two stages ----

constexpr int kTile = 64, kDepth = 32, kPad = 8;

__global__ void __launch_bounds__(128) gemm(const __half* a, const __half* b, float* c, int n, int k, float alpha, float beta) {
  using namespace nvcuda;
  extern __shared__ __half stages[];
  constexpr int lda = kDepth + kPad, ldb = kTile + kPad, stage = kTile * lda + kDepth * ldb;
  const int warp = int(threadIdx.x) / 32, row = int(blockIdx.y) * kTile, column = int(blockIdx.x) * kTile;
  auto load = [&](int tile) {
    __half *sa = stages + tile % 2 * stage, *sb = sa + kTile * lda;
    for (int i = int(threadIdx.x) * 8; i < kTile * kDepth; i += 1024) {
      const int ar = i / kDepth, ac = i % kDepth, br = i / kTile, bc = i % kTile;
      __pipeline_memcpy_async(sa + ar * lda + ac, a + (row + ar) * k + tile * kDepth + ac, 16);
      __pipeline_memcpy_async(sb + br * ldb + bc, b + (tile * kDepth + br) * n + column + bc, 16);
    }
    __pipeline_commit();
  };
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> sums[4];
  for (auto& s : sums) wmma::fill_fragment(s, 0.0f);
  const int tiles = k / kDepth;
  load(0);
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) {
      load(tile + 1);
      __pipeline_wait_prior(1);
    } else {
      __pipeline_wait_prior(0);
    }
    __syncthreads();
    const __half *sa = stages + tile % 2 * stage + warp * 16 * lda, *sb = stages + tile % 2 * stage + kTile * lda;
    for (int kk = 0; kk < kDepth; kk += 16) {
      wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> fa;
      wmma::load_matrix_sync(fa, sa + kk, lda);
      for (int j = 0; j < 4; ++j) {
        wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::row_major> fb;
        wmma::load_matrix_sync(fb, sb + kk * ldb + j * 16, ldb);
        wmma::mma_sync(sums[j], fa, fb, sums[j]);
      }
    }
    __syncthreads();
  }
  for (int j = 0; j < 4; ++j) {
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> old;
    float* tile = c + (row + warp * 16) * n + column + j * 16;
    wmma::load_matrix_sync(old, tile, unsigned(n), wmma::mem_row_major);
    for (int e = 0; e < old.num_elements; ++e) old.x[e] = alpha * sums[j].x[e] + beta * old.x[e];
    wmma::store_matrix_sync(tile, old, unsigned(n), wmma::mem_row_major);
  }
}

void check_gemm() {
  const int m = 128, n = 192, k = 160;
  std::mt19937 random(1);
  std::vector<__half> a(m * k), b(k * n);
  std::vector<float> c(m * n), want;
  for (auto* v : {&a, &b})
    for (__half& x : *v) x = __float2half(float(int(random() % 65) - 32) / 16);
  for (float& x : c) x = float(int(random() % 9) - 4);
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      float s = 0;
      for (int l = 0; l < k; ++l) s += __half2float(a[i * k + l]) * __half2float(b[l * n + j]);
      want.push_back(0.5f * s + 2 * c[i * n + j]);
    }
  float* dc = device(c);
  const size_t bytes = 2 * sizeof(__half) * (kTile * (kDepth + kPad) + kDepth * (kTile + kPad));
  gemm<<<dim3(n / kTile, m / kTile), 128, bytes>>>(device(a), device(b), dc, n, k, 0.5f, 2.0f);
  CHECK(cudaGetLastError());
  expect("GEMM, wmma", host(dc, m * n) == want);
}

// ---- mma.sync: d [16][8] = a [16][k] * b [8][k]^T + c ----
// A register holds 32 / bits elements, consecutive along k.

template <class In, class Out, class Mma>
__global__ void product(const uint32_t* a, const uint32_t* b, Out* d, Mma mma) {
  mma(a, b, d, int(threadIdx.x) / 4, int(threadIdx.x) % 4);
}

// Words of A (rows of `words` 32-bit words) in the order of the fragment: rows g and g + 8, then the second half of k.
__device__ void fragments(const uint32_t* a, const uint32_t* b, int g, int t, uint32_t* fa, uint32_t* fb) {
  for (int k = 0; k < 4; ++k) fa[k] = a[(g + k % 2 * 8) * 8 + t + k / 2 * 4];
  for (int k = 0; k < 2; ++k) fb[k] = b[g * 8 + t + k * 4];
}
template <class Out, class R>
__device__ void deliver(Out* d, int g, int t, const R* r) {
  for (int k = 0; k < 4; ++k) d[(g + k / 2 * 8) * 8 + 2 * t + k % 2] = r[k];
}

#define FLOAT_MMA(shape)                                                                                \
  [] __device__(const uint32_t* a, const uint32_t* b, float* d, int g, int t) {                         \
    uint32_t fa[4], fb[2];                                                                              \
    fragments(a, b, g, t, fa, fb);                                                                      \
    float r[4];                                                                                         \
    asm volatile("mma.sync.aligned." shape " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};" \
                 : "=f"(r[0]), "=f"(r[1]), "=f"(r[2]), "=f"(r[3])                                       \
                 : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]), "f"(1.0f));  \
    deliver(d, g, t, r);                                                                                \
  }
#define INTEGER_MMA(shape)                                                                              \
  [] __device__(const uint32_t* a, const uint32_t* b, int* d, int g, int t) {                           \
    uint32_t fa[4], fb[2];                                                                              \
    fragments(a, b, g, t, fa, fb);                                                                      \
    int r[4];                                                                                           \
    asm volatile("mma.sync.aligned." shape " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};" \
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])                                       \
                 : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]), "r"(1));     \
    deliver(d, g, t, r);                                                                                \
  }

template <int E5m2>
struct Fp8 {
  __device__ void operator()(const uint32_t* a, const uint32_t* b, float* d, int g, int t) const {
#if __CUDA_ARCH__ >= 890
    if constexpr (E5m2)
      FLOAT_MMA("m16n8k32.row.col.f32.e5m2.e5m2.f32")(a, b, d, g, t);
    else
      FLOAT_MMA("m16n8k32.row.col.f32.e4m3.e4m3.f32")(a, b, d, g, t);
#endif
  }
};

// A row has 8 words; `get` gives element k of a row, `multiply` the product of two.
template <class Out, class Mma, class Get>
void check(const char* name, int bits, Mma mma, Get get, bool population = false) {
  std::mt19937 random(7);
  std::vector<uint32_t> a(16 * 8), b(8 * 8);
  for (auto* v : {&a, &b})
    for (uint32_t& x : *v) x = random();
  if (std::is_same_v<Out, float>)  // small exact numbers: keep sign, small exponents
    for (auto* v : {&a, &b})
      for (uint32_t& x : *v) {
        if (bits == 32) {
          const float f = float(int(x % 33) - 16) / 4;
          memcpy(&x, &f, 4);
        } else if (bits == 16 && get(0x3f80u, 0) == 1.0f) {
          const __nv_bfloat162 f = __floats2bfloat162_rn(float(int(x % 33) - 16) / 4, float(int(x >> 8) % 33 - 16) / 4);
          memcpy(&x, &f, 4);
        } else if (bits == 16) {
          const __half2 f = __floats2half2_rn(float(int(x % 33) - 16) / 4, float(int(x >> 8) % 33 - 16) / 4);
          memcpy(&x, &f, 4);
        } else {
          x = (x & 0x83838383u) | 0x38383838u;
        }
      }
  Out* d = device(std::vector<Out>(128));
  product<uint32_t, Out><<<1, 32>>>(device(a), device(b), d, mma);
  CHECK(cudaGetLastError());
  const auto got = host(d, 128);
  bool ok = true;
  const int per = 32 / bits;
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) {
      Out s = 1;
      for (int k = 0; k < 8 * per; ++k) {
        const auto x = get(a[i * 8 + k / per], k % per), y = get(b[j * 8 + k / per], k % per);
        s += population ? Out(int(x) & int(y)) : Out(x) * Out(y);
      }
      if (s != got[i * 8 + j] && ok) printf("     [%d][%d] is %g, want %g\n", i, j, double(got[i * 8 + j]), double(s)), ok = false;
    }
  expect(name, ok);
}

__global__ void double_product(const double* a, const double* b, double* d) {
  const int g = int(threadIdx.x) / 4, t = int(threadIdx.x) % 4;
  double r[2] = {1, 1};
  for (int k = 0; k < 8; k += 4)
    asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};"
                 : "+d"(r[0]), "+d"(r[1])
                 : "d"(a[g * 8 + k + t]), "d"(b[g * 8 + k + t]));
  d[g * 8 + 2 * t] = r[0], d[g * 8 + 2 * t + 1] = r[1];
}
void check_double() {
  std::vector<double> a(64), b(64), want;
  for (int i = 0; i < 64; ++i) a[i] = i * 37 % 19 - 9.5, b[i] = i * 11 % 23 - 4.25;
  for (int i = 0; i < 8; ++i)
    for (int j = 0; j < 8; ++j) {
      want.push_back(1);
      for (int k = 0; k < 8; ++k) want.back() += a[i * 8 + k] * b[j * 8 + k];
    }
  double* d = device(std::vector<double>(64));
  double_product<<<1, 32>>>(device(a), device(b), d);
  CHECK(cudaGetLastError());
  expect("mma, double", host(d, 64) == want);
}

__global__ void dots(const int* a, const int* b, int* out) {
  const int t = int(threadIdx.x);
  out[t * 4] = __dp4a(a[t], b[t], 5), out[t * 4 + 1] = int(__dp4a(unsigned(a[t]), unsigned(b[t]), 5u));
  out[t * 4 + 2] = __dp2a_lo(a[t], b[t], 5), out[t * 4 + 3] = __dp2a_hi(a[t], b[t], 5);
}
void check_dots() {
  std::mt19937 random(3);
  std::vector<int> a(32), b(32), want;
  for (int t = 0; t < 32; ++t) {
    a[t] = int(random()), b[t] = int(random());
    int s = 5, u = 5, lo = 5, hi = 5;
    for (int k = 0; k < 4; ++k) s += int8_t(a[t] >> 8 * k) * int8_t(b[t] >> 8 * k), u += uint8_t(a[t] >> 8 * k) * uint8_t(b[t] >> 8 * k);
    for (int k = 0; k < 2; ++k)
      lo += int16_t(a[t] >> 16 * k) * int8_t(b[t] >> 8 * k), hi += int16_t(a[t] >> 16 * k) * int8_t(b[t] >> (16 + 8 * k));
    for (int v : {s, u, lo, hi}) want.push_back(v);
  }
  int* out = device(std::vector<int>(128));
  dots<<<1, 32>>>(device(a), device(b), out);
  expect("dp4a and dp2a", host(out, 128) == want);
}

float from_bits(uint32_t bits) {
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

}  // namespace

int main() {
  check_gemm();
  check_dots();
  auto half = [](uint32_t w, int k) {
    __half_raw r;
    r.x = uint16_t(w >> 16 * k);
    return __half2float(__half(r));
  };
  auto bf16 = [](uint32_t w, int k) { return from_bits(w >> 16 * k << 16); };
  auto tf32 = [](uint32_t w, int) { return from_bits(w); };
  auto s8 = [](uint32_t w, int k) { return int8_t(w >> 8 * k); };
  auto u8 = [](uint32_t w, int k) { return uint8_t(w >> 8 * k); };
  auto s4 = [](uint32_t w, int k) { return int(w << (28 - 4 * k)) >> 28; };
  auto u4 = [](uint32_t w, int k) { return int(w >> 4 * k & 15); };
  auto b1 = [](uint32_t w, int k) { return int(w >> k & 1); };
  check<float>("mma, half", 16, FLOAT_MMA("m16n8k16.row.col.f32.f16.f16.f32"), half);
  check<float>("mma, bf16", 16, FLOAT_MMA("m16n8k16.row.col.f32.bf16.bf16.f32"), bf16);
  check<float>("mma, tf32", 32, FLOAT_MMA("m16n8k8.row.col.f32.tf32.tf32.f32"), tf32);
  check<int>("mma, s8", 8, INTEGER_MMA("m16n8k32.row.col.s32.s8.s8.s32"), s8);
  check<int>("mma, u8", 8, INTEGER_MMA("m16n8k32.row.col.s32.u8.u8.s32"), u8);
  check<int>("mma, s4", 4, INTEGER_MMA("m16n8k64.row.col.s32.s4.s4.s32"), s4);
  check<int>("mma, u4", 4, INTEGER_MMA("m16n8k64.row.col.s32.u4.u4.s32"), u4);
  check<int>("mma, bits", 1, INTEGER_MMA("m16n8k256.row.col.s32.b1.b1.s32.and.popc"), b1, true);
  check_double();
  cudaDeviceProp prop;
  CHECK(cudaGetDeviceProperties(&prop, 0));
  if (prop.major < 9) return bad != 0;
  auto e4m3 = [](uint32_t w, int k) { return __half2float(__nv_cvt_fp8_to_halfraw(uint8_t(w >> 8 * k), __NV_E4M3)); };
  auto e5m2 = [](uint32_t w, int k) { return __half2float(__nv_cvt_fp8_to_halfraw(uint8_t(w >> 8 * k), __NV_E5M2)); };
  check<float>("mma, e4m3", 8, Fp8<0>(), e4m3);
  check<float>("mma, e5m2", 8, Fp8<1>(), e5m2);
  return bad != 0;
}
