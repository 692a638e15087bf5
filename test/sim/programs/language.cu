// What the language offers beyond arithmetic: virtual functions, function pointers, recursion, 64- and 128-bit integers,
// constant and managed variables, more shared memory than 48 KiB, the device's heap, printf and assert, inline PTX.
#include <cassert>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>
#include <vector>

#include "check.h"

namespace {

// ---- virtual functions, objects on the device's heap ----

struct Shape {
  __device__ virtual float area() const = 0;
  __device__ virtual ~Shape() {}
};
struct Square : Shape {
  float side;
  __device__ explicit Square(float s) : side(s) {}
  __device__ float area() const override { return side * side; }
};
struct Rectangle : Square {
  float other;
  __device__ Rectangle(float a, float b) : Square(a), other(b) {}
  __device__ float area() const override { return side * other; }
};

__device__ int destroyed;
struct Counted : Rectangle {
  __device__ Counted(float a, float b) : Rectangle(a, b) {}
  __device__ ~Counted() override { atomicAdd(&destroyed, 1); }
};

__global__ void areas(float* out) {
  const int t = int(threadIdx.x);
  Shape* s = t % 3 == 0 ? static_cast<Shape*>(new Square(float(t))) : t % 3 == 1 ? new Rectangle(float(t), 2) : new Counted(float(t), 3);
  __syncwarp();
  out[t] = s->area();
  delete s;
  auto* block = static_cast<int*>(malloc(40));
  for (int k = 0; k < 10; ++k) block[k] = k + t;
  out[t] += float(block[9] - block[0]);
  free(block);
}

// ---- recursion, mutual recursion, function pointers, lambdas ----

__device__ __noinline__ int even(int n);
__device__ __noinline__ int odd(int n) { return n == 0 ? 0 : even(n - 1); }
__device__ __noinline__ int even(int n) { return n == 0 ? 1 : odd(n - 1); }

__host__ __device__ long long gcd(long long a, long long b) { return b ? gcd(b, a % b) : a; }

__device__ void quicksort(int* v, int low, int high) {
  while (low < high) {
    const int pivot = v[(low + high) / 2];
    int i = low, j = high;
    while (i <= j) {
      while (v[i] < pivot) ++i;
      while (v[j] > pivot) --j;
      if (i <= j) {
        const int t = v[i];
        v[i++] = v[j], v[j--] = t;
      }
    }
    if (j - low < high - i) {
      quicksort(v, low, j);
      low = i;
    } else {
      quicksort(v, i, high);
      high = j;
    }
  }
}

// 40 KiB of stack at the deepest call.
__device__ __noinline__ int deep(int n) {
  volatile int pad[64];
  pad[n % 64] = n;
  return n ? deep(n - 1) + pad[n % 64] : 0;
}
__global__ void deepest(int* out) { *out = deep(150); }

using Unary = float (*)(float);
__device__ float twice(float x) { return 2 * x; }
__device__ float next(float x) { return x + 1; }
__device__ Unary table[] = {twice, next};

template <class F>
__global__ void calls(F f, float* out, int* sorted, long long* divisors) {
  const int t = int(threadIdx.x);
  out[t] = table[t & 1](f(float(t))) + 100 * float(even(t));
  int v[24];
  for (int k = 0; k < 24; ++k) v[k] = (k * 29 + t * 7) % 24;
  quicksort(v, 0, 23);
  for (int k = 0; k < 24; ++k) sorted[t * 24 + k] = v[k];
  divisors[t] = gcd((t + 1) * 123456789012LL, (t + 3) * 987654321098LL);
}

// ---- wide integers ----

struct Wide {
  long long quotient, remainder;
  unsigned long long unsigned_quotient, high, shifted;
  unsigned __int128 product;
};
__host__ __device__ Wide wide(long long a, long long b) {
  using U = unsigned __int128;
  Wide w;
  w.quotient = a / b, w.remainder = a % b;
  w.unsigned_quotient = (unsigned long long)a / (unsigned long long)b;
  w.product = U(a) * U(b) + U(b) / U((unsigned long long)(a) | 1) - (U(a) << 3);
  w.high = (unsigned long long)(w.product >> 64);
  w.shifted = (unsigned long long)((U(a) << 64 | U(b)) >> (a & 63));
  return w;
}
__global__ void wides(const long long* a, const long long* b, Wide* out) { out[threadIdx.x] = wide(a[threadIdx.x], b[threadIdx.x]); }

// ---- memory spaces ----

struct Settings {
  float scale;
  short offsets[6];
  char name[16];
};
__constant__ Settings settings = {1.5f, {1, -2, 3, -4, 5, -6}, "constant"};
__constant__ int unset[4];
__managed__ int shared_with_host = 7;
__device__ const char* text = "a string of the device";
__device__ int plain[3] = {1, 2, 3};

struct Large {
  int v[100];
};
__global__ void spaces(float* out, Large by_value, int k) {
  extern __shared__ float dynamic[];
  const int t = int(threadIdx.x), n = 20000;
  for (int i = t; i < n; i += int(blockDim.x)) dynamic[i] = settings.scale * float(i % 100);
  __syncthreads();
  float sum = 0;
  for (int i = (t * 311) % n, c = 0; c < 50; ++c, i = (i + 397) % n) sum += dynamic[i] - settings.scale * float(i % 100);
  by_value.v[t] += k;  // a copy of its own
  out[t] = sum + float(by_value.v[t] + settings.offsets[t % 6] + settings.name[t % 8] + unset[t % 4] + text[t % 20] + plain[t % 3]);
  if (t == 0) shared_with_host += 1;
}

__global__ void __launch_bounds__(64, 4) says(int k) {
  assert(k == 3);
  if (threadIdx.x == 0) printf("says %d %5.2f %s %c %llx %-4d| %%\n", k, 1.25 * k, "text", 'c', 0x123456789abcdefull, -k);
  unsigned lane, warps;
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  asm("{\n\t.reg .u32 t;\n\tmov.u32 t, %%nwarpid;\n\tadd.u32 %0, t, 0;\n\t}" : "=r"(warps));
  assert(lane == threadIdx.x % 32 && warps >= 1);
  const long long a = clock64();
  const unsigned b = clock();
  assert(clock64() >= a && b == b);
}

}  // namespace

int main() {
  float* out;
  CHECK(cudaMalloc(&out, 4096));
  std::vector<float> f(64);
  CHECK(cudaDeviceSetLimit(cudaLimitMallocHeapSize, 1 << 20));
  areas<<<1, 64>>>(out);
  CHECK(cudaMemcpy(f.data(), out, 256, cudaMemcpyDeviceToHost));
  bool ok = true;
  for (int t = 0; t < 64; ++t) ok &= f[t] == float(t % 3 == 0 ? t * t : t % 3 == 1 ? 2 * t : 3 * t) + 9;
  int count;
  CHECK(cudaMemcpyFromSymbol(&count, destroyed, 4));
  expect("virtual functions and the heap", ok && count == 21);

  int* sorted;
  long long* divisors;
  CHECK(cudaMalloc(&sorted, 64 * 24 * 4));
  CHECK(cudaMalloc(&divisors, 64 * 8));
  const float c = 0.5f;
  calls<<<1, 64>>>([c] __device__(float x) { return c * x; }, out, sorted, divisors);
  std::vector<int> s(64 * 24);
  std::vector<long long> d(64);
  CHECK(cudaMemcpy(f.data(), out, 256, cudaMemcpyDeviceToHost));
  CHECK(cudaMemcpy(s.data(), sorted, s.size() * 4, cudaMemcpyDeviceToHost));
  CHECK(cudaMemcpy(d.data(), divisors, d.size() * 8, cudaMemcpyDeviceToHost));
  ok = true;
  for (int t = 0; t < 64; ++t) {
    ok &= f[t] == (t & 1 ? 0.5f * t + 1 : float(t) + 100);
    ok &= d[t] == gcd((t + 1) * 123456789012LL, (t + 3) * 987654321098LL);
    for (int k = 0; k < 24; ++k) ok &= s[t * 24 + k] == k;
  }
  expect("recursion and function pointers", ok);

  CHECK(cudaDeviceSetLimit(cudaLimitStackSize, 64 << 10));
  deepest<<<1, 1>>>(sorted);
  CHECK(cudaMemcpy(s.data(), sorted, 4, cudaMemcpyDeviceToHost));
  expect("a deep stack", s[0] == 150 * 151 / 2);

  std::vector<long long> a(64), b(64);
  for (int t = 0; t < 64; ++t) {
    a[t] = (long long)((t + 1) * 0x9e3779b97f4a7c15ull);
    b[t] = (long long)((t + 7) * 0xc2b2ae3d27d4eb4full) >> t % 60;
    if (!b[t]) b[t] = -3;
  }
  long long *da, *db;
  Wide* dw;
  std::vector<Wide> w(64);
  CHECK(cudaMalloc(&da, 512));
  CHECK(cudaMalloc(&db, 512));
  CHECK(cudaMalloc(&dw, 64 * sizeof(Wide)));
  CHECK(cudaMemcpy(da, a.data(), 512, cudaMemcpyHostToDevice));
  CHECK(cudaMemcpy(db, b.data(), 512, cudaMemcpyHostToDevice));
  wides<<<1, 64>>>(da, db, dw);
  CHECK(cudaMemcpy(w.data(), dw, 64 * sizeof(Wide), cudaMemcpyDeviceToHost));
  ok = true;
  for (int t = 0; t < 64; ++t) {
    const Wide want = wide(a[t], b[t]);
    ok &= w[t].quotient == want.quotient && w[t].remainder == want.remainder && w[t].unsigned_quotient == want.unsigned_quotient &&
          w[t].product == want.product && w[t].high == want.high && w[t].shifted == want.shifted;
  }
  expect("64- and 128-bit integers", ok);

  const int values[4] = {10, 20, 30, 40};
  CHECK(cudaMemcpyToSymbol(unset, values, sizeof values));
  const int seven = 70;
  CHECK(cudaMemcpyToSymbol(plain, &seven, 4, 4));
  Large large;
  for (int i = 0; i < 100; ++i) large.v[i] = 3 * i;
  const int bytes = 20000 * 4;
  CHECK(cudaFuncSetAttribute(spaces, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  spaces<<<1, 64, bytes>>>(out, large, 5);
  CHECK(cudaGetLastError());
  CHECK(cudaMemcpy(f.data(), out, 256, cudaMemcpyDeviceToHost));
  const short offsets[] = {1, -2, 3, -4, 5, -6};
  const int thirds[] = {1, 70, 3};
  ok = true;
  for (int t = 0; t < 64; ++t)
    ok &= f[t] == float(3 * t + 5 + offsets[t % 6] + "constant"[t % 8] + values[t % 4] + "a string of the device"[t % 20] + thirds[t % 3]);
  expect("constant, managed, dynamic shared memory, large arguments", ok && shared_with_host == 8);
  shared_with_host = 20;
  spaces<<<1, 64, bytes>>>(out, large, 5);
  CHECK(cudaDeviceSynchronize());
  expect("managed variable", shared_with_host == 21);
  says<<<2, 64>>>(3);
  expect("printf and assert", cudaDeviceSynchronize() == cudaSuccess);
  return bad != 0;
}
