// Device functions called through pointers and tables, virtual functions, recursion, switch tables, stack arrays,
// 128-bit integers, printf and device malloc.
#include <cstdio>
#include <cstdlib>
#include <vector>
#define CHECK(x)                                                     \
  do {                                                               \
    cudaError_t e = (x);                                             \
    if (e != cudaSuccess) {                                          \
      printf("FAIL line %d: %s\n", __LINE__, cudaGetErrorString(e)); \
      return 1;                                                      \
    }                                                                \
  } while (0)
struct Shape {
  __device__ virtual float area() const = 0;
  __device__ virtual ~Shape() {}
};
struct Square : Shape {
  float a;
  __device__ Square(float x) : a(x) {}
  __device__ float area() const override { return a * a; }
};
struct Circle : Shape {
  float r;
  __device__ Circle(float x) : r(x) {}
  __device__ float area() const override { return 3.0f * r * r; }
};
__noinline__ __host__ __device__ int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
struct Big {
  int v[20];
};
__noinline__ __host__ __device__ Big rotate(Big b, int k) {
  Big r;
  for (int i = 0; i < 20; ++i) r.v[i] = b.v[(i + k) % 20];
  return r;
}
__noinline__ __host__ __device__ int ack(int m, int n) { return m == 0 ? n + 1 : n == 0 ? ack(m - 1, 1) : ack(m - 1, ack(m, n - 1)); }
__noinline__ __host__ __device__ int quick(int* a, int lo, int hi) {
  if (lo >= hi) return 0;
  int p = a[hi], i = lo;
  for (int j = lo; j < hi; ++j)
    if (a[j] < p) {
      int t = a[i];
      a[i] = a[j];
      a[j] = t;
      ++i;
    }
  int t = a[i];
  a[i] = a[hi];
  a[hi] = t;
  return 1 + quick(a, lo, i - 1) + quick(a, i + 1, hi);
}
typedef int (*Op)(int, int);
__host__ __device__ int add(int a, int b) { return a + b; }
__host__ __device__ int sub(int a, int b) { return a - b; }
__host__ __device__ int mul(int a, int b) { return a * b; }
__device__ Op table[3] = {add, sub, mul};
__constant__ int lut[16] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
__device__ int counter = 7;
__device__ int* pointer = &counter;
__host__ __device__ int sw(int x) {
  switch (x) {
    case 0:
      return 17;
    case 1:
      return x * 31 + 2;
    case 2:
      return -4;
    case 3:
      return x << 5;
    case 4:
      return 99;
    case 5:
      return 1234;
    case 6:
      return x * x * x;
    case 7:
      return 8;
    case 8:
      return 81;
    default:
      return -1;
  }
}
__host__ __device__ unsigned long long wide(unsigned long long a, unsigned long long b) {
  unsigned __int128 p = (unsigned __int128)a * b + ((unsigned __int128)b << 77);
  __int128 q = (__int128)p / ((__int128)a + 12345);
  return (unsigned long long)(p >> 64) ^ (unsigned long long)q ^ (unsigned long long)(q >> 64) ^ (unsigned long long)(p % (b | 1));
}
__global__ void kernel(float* f, int* out, unsigned long long* w, int n) {
  int t = threadIdx.x + blockIdx.x * blockDim.x;
  Shape* s = t % 2 ? (Shape*)new Square(float(t)) : (Shape*)new Circle(float(t));
  f[t] = s->area();
  delete s;
  Big b;
  for (int i = 0; i < 20; ++i) b.v[i] = i * t;
  int local[32];
  unsigned x = t * 2654435761u + 1;
  for (int i = 0; i < 32; ++i) {
    x = x * 1664525u + 1013904223u;
    local[i] = int(x >> 8) % 1000;
  }
  int q = quick(local, 0, 31);
  (void)q;
  int sorted = 1;
  for (int i = 1; i < 32; ++i) sorted &= local[i - 1] <= local[i];
  out[t] =
      fib(t % 12) + rotate(b, t % 20).v[3] + table[t % 3](t, 5) + lut[t & 15] + sw(t % 11) + ack(2, t % 4) + sorted * 100000 + *pointer;
  w[t] = wide(t * 0x9e3779b97f4a7c15ull + 3, (t + 1) * 0xc2b2ae3d27d4eb4full);
  if (t == 3) printf("hello %d %s %5.2f %llu %c %*d|%-6x|%%\n", t, "text", 1.5, 1ull << 40, 'z', 6, 42, 255);
}
int main() {
  const int n = 96;
  float* f;
  int* o;
  unsigned long long* w;
  CHECK(cudaMalloc(&f, n * 4));
  CHECK(cudaMalloc(&o, n * 4));
  CHECK(cudaMalloc(&w, n * 8));
  kernel<<<3, 32>>>(f, o, w, n);
  CHECK(cudaGetLastError());
  CHECK(cudaDeviceSynchronize());
  std::vector<float> hf(n);
  std::vector<int> ho(n);
  std::vector<unsigned long long> hw(n);
  CHECK(cudaMemcpy(hf.data(), f, n * 4, cudaMemcpyDeviceToHost));
  CHECK(cudaMemcpy(ho.data(), o, n * 4, cudaMemcpyDeviceToHost));
  CHECK(cudaMemcpy(hw.data(), w, n * 8, cudaMemcpyDeviceToHost));
  int lt[16] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
  Op ops[3] = {add, sub, mul};
  int bad = 0;
  for (int t = 0; t < n; ++t) {
    Big b;
    for (int i = 0; i < 20; ++i) b.v[i] = i * t;
    int want = fib(t % 12) + rotate(b, t % 20).v[3] + ops[t % 3](t, 5) + lt[t & 15] + sw(t % 11) + ack(2, t % 4) + 100000 + 7;
    bad += hf[t] != (t % 2 ? float(t) * t : 3.0f * t * t);
    bad += ho[t] != want;
    bad += hw[t] != wide(t * 0x9e3779b97f4a7c15ull + 3, (t + 1) * 0xc2b2ae3d27d4eb4full);
    if (ho[t] != want && bad < 5) printf("t %d got %d want %d\n", t, ho[t], want);
  }
  printf(bad ? "FAIL %d\n" : "ok functions\n", bad);
  return bad != 0;
}
