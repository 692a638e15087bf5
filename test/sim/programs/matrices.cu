// mma.sync of every type and shape, wmma, and ldmatrix, against plain products on the host.
#include <cuda_fp16.h>
#include <mma.h>

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
using namespace nvcuda;
// Fragments by the manual's map: element (row, k) of A and (k, column) of B, filled from byte matrices.
template <int BITS, int K, int M>
__device__ void fragments(const signed char* a, const signed char* b, unsigned* ra, unsigned* rb) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4, E = 32 / BITS, span = 4 * E, rows = M / 8;
  for (int r = 0; r < rows * K / span; ++r) {
    ra[r] = 0;
    for (int e = 0; e < E; ++e)
      ra[r] |= unsigned(a[(g + r % rows * 8) * K + t * E + e + r / rows * span] & ((1u << BITS) - 1)) << (BITS * e);
  }
  for (int r = 0; r < K / span; ++r) {
    rb[r] = 0;
    for (int e = 0; e < E; ++e) rb[r] |= unsigned(b[(t * E + e + r * span) * 8 + g] & ((1u << BITS) - 1)) << (BITS * e);
  }
}
__global__ void integer_kernel(const signed char* a, const signed char* b, int* d) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  unsigned ra[4], rb[2];
  int c[4] = {1, 2, 3, 4};
  fragments<8, 32, 16>(a, b, ra, rb);
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]));
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = c[i] - i - 1;
  fragments<8, 16, 16>(a, b, ra, rb);
  int e[4] = {};
  asm("mma.sync.aligned.m16n8k16.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+r"(e[0]), "+r"(e[1]), "+r"(e[2]), "+r"(e[3])
      : "r"(ra[0]), "r"(ra[1]), "r"(rb[0]));
  for (int i = 0; i < 4; ++i) d[128 + (g + i / 2 * 8) * 8 + t * 2 + i % 2] = e[i];
  fragments<4, 64, 16>(a, b, ra, rb);
  int f[4] = {};
  asm("mma.sync.aligned.m16n8k64.row.col.s32.s4.u4.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(f[0]), "+r"(f[1]), "+r"(f[2]), "+r"(f[3])
      : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]));
  for (int i = 0; i < 4; ++i) d[256 + (g + i / 2 * 8) * 8 + t * 2 + i % 2] = f[i];
  fragments<8, 16, 8>(a, b, ra, rb);
  int h[2] = {};
  asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};" : "+r"(h[0]), "+r"(h[1]) : "r"(ra[0]), "r"(rb[0]));
  for (int i = 0; i < 2; ++i) d[384 + g * 8 + t * 2 + i] = h[i];
  fragments<1, 256, 16>(a, b, ra, rb);
  int x[4] = {};
  asm("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(x[0]), "+r"(x[1]), "+r"(x[2]), "+r"(x[3])
      : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]));
  for (int i = 0; i < 4; ++i) d[512 + (g + i / 2 * 8) * 8 + t * 2 + i % 2] = x[i];
}
__global__ void double_kernel(const double* a, const double* b, double* d) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  double c0 = 0, c1 = 0;
  asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};"
      : "+d"(c0), "+d"(c1)
      : "d"(a[g * 4 + t]), "d"(b[t * 8 + g]));
  d[g * 8 + t * 2] = c0;
  d[g * 8 + t * 2 + 1] = c1;
}
__global__ void wmma_kernel(const __half* a, const __half* b, const float* c, float* d, __half* e, const signed char* sa, int* si) {
  wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> fa;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::col_major> fb;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> fc;
  wmma::load_matrix_sync(fa, a, 16);
  wmma::load_matrix_sync(fb, b, 24);
  wmma::load_matrix_sync(fc, c, 16, wmma::mem_row_major);
  for (int i = 0; i < fc.num_elements; ++i) fc.x[i] *= 2;
  wmma::mma_sync(fc, fa, fb, fc);
  wmma::store_matrix_sync(d, fc, 20, wmma::mem_col_major);
  wmma::fragment<wmma::matrix_a, 32, 8, 16, __half, wmma::col_major> ga;
  wmma::fragment<wmma::matrix_b, 32, 8, 16, __half, wmma::row_major> gb;
  wmma::fragment<wmma::accumulator, 32, 8, 16, __half> gc;
  wmma::load_matrix_sync(ga, a, 32);
  wmma::load_matrix_sync(gb, b, 8);
  wmma::fill_fragment(gc, __float2half(1.0f));
  wmma::mma_sync(gc, ga, gb, gc);
  wmma::store_matrix_sync(e, gc, 8, wmma::mem_row_major);
  wmma::fragment<wmma::matrix_a, 16, 16, 16, signed char, wmma::row_major> ia;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, signed char, wmma::col_major> ib;
  wmma::fragment<wmma::accumulator, 16, 16, 16, int> ic;
  wmma::load_matrix_sync(ia, sa, 16);
  wmma::load_matrix_sync(ib, sa + 256, 16);
  wmma::fill_fragment(ic, 3);
  wmma::mma_sync(ic, ia, ib, ic);
  wmma::store_matrix_sync(si, ic, 16, wmma::mem_row_major);
}
int main() {
  std::vector<signed char> a(16 * 256), b(256 * 8);
  unsigned s = 1;
  for (auto& v : a) v = (signed char)((s = s * 1664525u + 1013904223u) >> 16);
  for (auto& v : b) v = (signed char)((s = s * 1664525u + 1013904223u) >> 16);
  signed char *da, *db;
  int* dd;
  CHECK(cudaMalloc(&da, a.size()));
  CHECK(cudaMalloc(&db, b.size()));
  CHECK(cudaMalloc(&dd, 640 * 4));
  CHECK(cudaMemcpy(da, a.data(), a.size(), cudaMemcpyHostToDevice));
  CHECK(cudaMemcpy(db, b.data(), b.size(), cudaMemcpyHostToDevice));
  integer_kernel<<<1, 32>>>(da, db, dd);
  CHECK(cudaDeviceSynchronize());
  std::vector<int> d(640);
  CHECK(cudaMemcpy(d.data(), dd, 2560, cudaMemcpyDeviceToHost));
  int bad = 0, kinds[5] = {};
  auto low4 = [](int v, bool sign) {
    v &= 15;
    return sign && v > 7 ? v - 16 : v;
  };
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 8; ++n) {
      int w[5] = {};
      for (int k = 0; k < 32; ++k) w[0] += a[m * 32 + k] * b[k * 8 + n];
      for (int k = 0; k < 16; ++k) {
        w[1] += (unsigned char)a[m * 16 + k] * b[k * 8 + n];
        w[3] += m < 8 ? a[m * 16 + k] * b[k * 8 + n] : 0;
      }
      for (int k = 0; k < 64; ++k) w[2] += low4(a[m * 64 + k], true) * low4(b[k * 8 + n], false);
      for (int k = 0; k < 256; ++k) w[4] += a[m * 256 + k] & b[k * 8 + n] & 1;
      for (int k = 0; k < 5; ++k)
        if (k != 3 || m < 8) kinds[k] += d[k * 128 + m * 8 + n] != w[k];
    }
  for (int k : kinds) bad += k;
  if (bad) printf("integer %d %d %d %d %d\n", kinds[0], kinds[1], kinds[2], kinds[3], kinds[4]);
  cudaDeviceProp p;
  cudaGetDeviceProperties(&p, 0);
  double x[64], y[32], z[32];
  for (int i = 0; i < 32; ++i) y[i] = i * 0.7 - 3, z[i] = 5 - i * 0.3;
  double* dx;
  CHECK(cudaMalloc(&dx, 1024));
  CHECK(cudaMemcpy(dx, y, 256, cudaMemcpyHostToDevice));
  CHECK(cudaMemcpy(dx + 32, z, 256, cudaMemcpyHostToDevice));
  double_kernel<<<1, 32>>>(dx, dx + 32, dx + 64);
  CHECK(cudaDeviceSynchronize());
  CHECK(cudaMemcpy(x, dx + 64, 512, cudaMemcpyDeviceToHost));
  for (int m = 0; m < 8; ++m)
    for (int n = 0; n < 8; ++n) {
      double w = 0;
      for (int k = 0; k < 4; ++k) w += y[m * 4 + k] * z[k * 8 + n];
      bad += !(x[m * 8 + n] - w < 1e-12 && w - x[m * 8 + n] < 1e-12);
    }
  std::vector<__half> ha(512), hb(512), he(256);
  std::vector<float> hc(256), hd(320);
  for (int i = 0; i < 512; ++i) ha[i] = __float2half(float(i * 7 % 13 - 6)), hb[i] = __float2half(float(i * 5 % 11 - 5));
  for (int i = 0; i < 256; ++i) hc[i] = float(i);
  __half *pa, *pb, *pe;
  float *pc, *pd;
  int* pi;
  CHECK(cudaMalloc(&pa, 1024));
  CHECK(cudaMalloc(&pb, 1024));
  CHECK(cudaMalloc(&pe, 512));
  CHECK(cudaMalloc(&pc, 1024));
  CHECK(cudaMalloc(&pd, 1280));
  CHECK(cudaMalloc(&pi, 1024));
  CHECK(cudaMemcpy(pa, ha.data(), 1024, cudaMemcpyHostToDevice));
  CHECK(cudaMemcpy(pb, hb.data(), 1024, cudaMemcpyHostToDevice));
  CHECK(cudaMemcpy(pc, hc.data(), 1024, cudaMemcpyHostToDevice));
  wmma_kernel<<<1, 32>>>(pa, pb, pc, pd, pe, da, pi);
  CHECK(cudaDeviceSynchronize());
  std::vector<int> hi(256);
  CHECK(cudaMemcpy(hd.data(), pd, 1280, cudaMemcpyDeviceToHost));
  CHECK(cudaMemcpy(he.data(), pe, 512, cudaMemcpyDeviceToHost));
  CHECK(cudaMemcpy(hi.data(), pi, 1024, cudaMemcpyDeviceToHost));
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 16; ++n) {
      float w = 2 * hc[m * 16 + n];
      int v = 3;
      for (int k = 0; k < 16; ++k)
        w += __half2float(ha[m * 16 + k]) * __half2float(hb[n * 24 + k]), v += a[m * 16 + k] * a[256 + n * 16 + k];
      bad += hd[n * 20 + m] != w;
      bad += hi[m * 16 + n] != v;
    }
  for (int m = 0; m < 32; ++m)
    for (int n = 0; n < 8; ++n) {
      float w = 1;
      for (int k = 0; k < 16; ++k) w += __half2float(ha[k * 32 + m]) * __half2float(hb[k * 8 + n]);
      bad += __half2float(he[m * 8 + n]) != w;
    }
  printf(bad ? "FAIL %d\n" : "ok matrices\n", bad);
  return bad != 0;
}
