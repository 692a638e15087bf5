// detect_threads.cu - several threads of the host: the same results and messages as one, and the profile of a launch.
#include <mma.h>
#include <sys/resource.h>

#include <cstdlib>

#include "detect.h"
#include "gpu/gpu.cuh"

namespace {

// Blocks 5, 11, 17, ... write out of bounds.
template <bool Bug>
__global__ void some_blocks_fail(int* out, int n) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  out[Bug && blockIdx.x % 6 == 5 && threadIdx.x == 40 ? i + n : i] = i;  // planted: several blocks fail
}

// Every thread with its own amount of work.
__global__ void uneven(unsigned* out) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned v = i;
  for (unsigned k = 0; k < i % 97; ++k) v = v * 1664525u + 1013904223u;
  out[i] = v;
}

__global__ void strided(float* out, const float* in) {
  __shared__ float tile[32 * 32];
  const int lane = int(threadIdx.x);
  tile[lane] = in[lane * 32];     // 32 sectors, 4 would do
  tile[lane * 32] = float(lane);  // 32 lanes in one bank
  __syncwarp();
  out[lane] = tile[lane];
  atomicAdd(out + 32, 1.0f);
}

void check_threads() {
  const int n = 64 * 64;
  DeviceBuffer<int> out(n);
  DeviceBuffer<unsigned> values(n);
  std::string first;
  std::vector<unsigned> expected;
  for (const int threads : {1, 2, 3, 4}) {
    simSetThreads(threads);
    const std::string name = std::to_string(threads) + " threads: ";
    uneven<<<64, 64>>>(values.get());
    const std::vector<unsigned> v = values.read();
    if (expected.empty()) expected = v;
    expect((name + "the same values").c_str(), v == expected);
    expect_clean(name.c_str(), [&] { some_blocks_fail<false><<<64, 64>>>(out.get(), n); });
    some_blocks_fail<true><<<64, 64>>>(out.get(), n);
    cudaDeviceSynchronize();
    const std::string message = simLastMessage();
    if (first.empty()) first = message;
    expect((name + "the lowest block is reported").c_str(), message.find("block (5,0,0)") != std::string::npos && message == first,
           message);
    simReset();
  }
}

// What lies far from the start, in little time and memory.
void check_sparse() {
  const int n = 64 * 64, last = 3 * 64;
  DeviceBuffer<unsigned> values(n);
  cudaMemset(values.get(), 0, n * sizeof(unsigned));
  for (const unsigned long long seed : {0, 1, 2}) {
    simSetSeed(seed);
    simSetLast(3);
    uneven<<<64, 64>>>(values.get());
    cudaDeviceSynchronize();
    simSetLast(0);
    const std::vector<unsigned> v = values.read();
    bool right = true;
    for (int i = 0; i < n; ++i) right = right && (i < n - last ? v[i] == 0 : v[i] != 0);
    expect("the last clusters alone", right);
  }
  simSetSeed(0);

  const size_t bytes = size_t(3) << 30;
  unsigned char* large = nullptr;
  expect("a large allocation", cudaMalloc(&large, bytes) == cudaSuccess);
  unsigned char ends[2][4];
  cudaMemset(large + bytes / 2, 1, 4);
  cudaMemcpy(ends[0], large, 4, cudaMemcpyDefault);
  cudaMemcpy(ends[1], large + bytes - 4, 4, cudaMemcpyDefault);
  bool poisoned = true;
  for (const auto& end : ends)
    for (const unsigned char byte : end) poisoned = poisoned && byte == 0xff;
  expect("a large allocation holds NaN", poisoned);
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  expect("a large allocation takes no memory before it is written", used.ru_maxrss < 1 << 20);  // KiB
  expect_error("out of a large allocation", "runs past the end of an allocation", [&] {
    some_blocks_fail<false><<<64, 64>>>(reinterpret_cast<int*>(large + bytes - 64 * 64 * 4 + 4), n);
    cudaDeviceSynchronize();
  });
  cudaFree(large);
}

// One product of 16x16 matrices, of which A has three rows and B four columns.
__global__ void padded(float* out) {
  using namespace nvcuda;
  __shared__ __half a[256], b[256];
  for (int i = int(threadIdx.x); i < 256; i += 32) a[i] = __float2half(i < 48), b[i] = __float2half(i % 16 < 4);
  __syncwarp();
  wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> x;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::row_major> y;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
  wmma::load_matrix_sync(x, a, 16);
  wmma::load_matrix_sync(y, b, 16);
  wmma::fill_fragment(sum, 0.0f);
  wmma::mma_sync(sum, x, y, sum);
  wmma::store_matrix_sync(out, sum, 16, wmma::mem_row_major);
}

double field(const std::string& json, const std::string& object, const std::string& name) {
  size_t at = object.empty() ? 0 : json.find("\"" + object + "\":{");
  if (at == std::string::npos) return -1;
  at = json.find("\"" + name + "\":", at);
  return at == std::string::npos ? -1 : atof(json.c_str() + at + name.size() + 3);
}

void check_profile() {
  simSetProfile(1);
  simProfileClear();
  DeviceBuffer<float> out(33), in(std::vector<float>(1024, 1.0f));
  strided<<<2, 32>>>(out.get(), in.get());
  cudaDeviceSynchronize();
  expect("profile: one record", simProfileCount() == 1);
  std::string json = simProfileJson(0);
  const auto same = [&](const char* what, const char* object, const char* name, double want) {
    const double got = field(json, object, name);
    expect(what, got == want, std::to_string(got) + ", expected " + std::to_string(want));
  };
  same("profile: load requests", "globalLoad", "requests", 2);
  same("profile: load sectors", "globalLoad", "sectors", 64);
  same("profile: ideal sectors", "globalLoad", "idealSectors", 8);
  same("profile: bytes stored", "globalStore", "bytes", 256);
  same("profile: conflicts of stores", "sharedStore", "conflicts", 62);
  same("profile: conflicts of loads", "sharedLoad", "conflicts", 0);
  same("profile: atomics", "", "atomics", 64);
  same("profile: barriers", "pipes", "sync", 2);
  DeviceBuffer<float> product(256);
  padded<<<1, 32>>>(product.get());
  cudaDeviceSynchronize();
  json = simProfileJson(1);
  same("profile: products", "", "mmaFlops", 2 * 16 * 16 * 16);
  same("profile: useful products", "", "usefulMmaFlops", 2 * 3 * 4 * 16);
  simSetProfile(0);
}

}  // namespace

int main() {
  check_threads();
  check_sparse();
  check_profile();
  return report();
}
