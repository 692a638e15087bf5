// Reductions in every usual form: warp instructions, shared memory, the last block, the whole grid in a cooperative launch, atomics
// aggregated by key, and a dot product in double.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>

#include <cmath>
#include <cstdio>
#include <numeric>
#include <vector>

#include "check.h"

namespace cg = cooperative_groups;

namespace {

constexpr int kThreads = 128;

// Each warp: sum, minimum, maximum and bit operations of its 32 values.
__global__ void warp_results(const int* in, int* out) {
  const int v = in[blockIdx.x * blockDim.x + threadIdx.x];
  const unsigned all = ~0u;
  const int r[6] = {__reduce_add_sync(all, v),
                    __reduce_min_sync(all, v),
                    __reduce_max_sync(all, v),
                    int(__reduce_and_sync(all, unsigned(v))),
                    int(__reduce_or_sync(all, unsigned(v))),
                    int(__reduce_xor_sync(all, unsigned(v)))};
  int down = v;
  for (int d = 16; d; d /= 2) down += __shfl_down_sync(all, down, d);
  if (threadIdx.x % 32) return;
  int* o = out + (blockIdx.x * blockDim.x + threadIdx.x) / 32 * 7;
  for (int k = 0; k < 6; ++k) o[k] = r[k];
  o[6] = down;
}

template <class T>
__device__ T block_sum(T v) {
  __shared__ T partial[kThreads];
  partial[threadIdx.x] = v;
  __syncthreads();
  for (int half = kThreads / 2; half >= 32; half /= 2) {
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    __syncthreads();
  }
  v = partial[threadIdx.x % 32];
  __syncthreads();
  for (int d = 16; d; d /= 2) v += __shfl_xor_sync(~0u, v, d);
  return v;
}

__device__ unsigned tickets;

// The block that comes last adds up what the others left.
template <class T>
__global__ void last_block_sum(const T* x, int n, T* partial, T* out) {
  __shared__ bool last;
  T sum = 0;
  for (int i = blockIdx.x * kThreads + threadIdx.x; i < n; i += gridDim.x * kThreads) sum += x[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = sum;
    __threadfence();
    last = atomicInc(&tickets, gridDim.x - 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  sum = 0;
  for (int i = threadIdx.x; i < gridDim.x; i += kThreads) sum += static_cast<volatile T*>(partial)[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *out = sum;
}

// Mean and variance in one launch: everyone needs the mean before the second pass.
__global__ void variance(const float* x, int n, double* sums, float* out) {
  cg::grid_group grid = cg::this_grid();
  auto warp = cg::tiled_partition<32>(cg::this_thread_block());
  for (int pass = 0; pass < 2; ++pass) {
    const double mean = pass ? sums[0] / n : 0;
    double sum = 0;
    for (int i = int(grid.thread_rank()); i < n; i += int(grid.size())) sum += pass ? (x[i] - mean) * (x[i] - mean) : double(x[i]);
    sum = cg::reduce(warp, sum, cg::plus<double>());
    if (warp.thread_rank() == 0) atomicAdd(&sums[pass], sum);
    grid.sync();
  }
  if (grid.thread_rank() == 0) out[0] = float(sums[0] / n), out[1] = float(sums[1] / n);
}

// Lanes with the same key add together before one of them touches memory; the others nap.
__global__ void aggregated(const int* key, const int* value, int n, int* sum, int* groups) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const bool inside = i < n;
  const unsigned live = __ballot_sync(~0u, inside);
  if (!inside) return;
  const unsigned mine = __match_any_sync(live, key[i]);
  const int leader = __ffs(int(mine)) - 1, lane = int(threadIdx.x) % 32;
  int total = 0;
  for (unsigned rest = mine; rest; rest &= rest - 1) total += __shfl_sync(mine, value[i], __ffs(int(rest)) - 1);
  if (lane == leader) {
    atomicAdd(&sum[key[i]], total);
    atomicAdd(groups, 1);
  } else {
    __nanosleep(20);
  }
  int same;
  __match_all_sync(live, 5, &same);
  if (!same) atomicAdd(groups, 1000000);
}

template <class T>
void check_last_block(const char* name) {
  std::vector<T> x(5000);
  for (size_t i = 0; i < x.size(); ++i) x[i] = T(int(i * 37 % 211) - 100);
  T *dx = device(x), *partial = device(std::vector<T>(16)), *out = device(std::vector<T>(1));
  for (int round = 0; round < 2; ++round) last_block_sum<<<16, kThreads>>>(dx, int(x.size()), partial, out);
  CHECK(cudaDeviceSynchronize());
  expect(name, host(out, 1)[0] == std::accumulate(x.begin(), x.end(), T(0)));
}

}  // namespace

int main() {
  std::vector<int> v(256), want;
  for (int i = 0; i < 256; ++i) v[i] = (i * 7919 + 13) % 1009 - 300;
  int* out = device(std::vector<int>(8 * 7));
  warp_results<<<2, 128>>>(device(v), out);
  for (int w = 0; w < 8; ++w) {
    int r[7] = {0, v[w * 32], v[w * 32], ~0, 0, 0, 0};
    for (int i = w * 32; i < w * 32 + 32; ++i)
      r[0] += v[i], r[1] = std::min(r[1], v[i]), r[2] = std::max(r[2], v[i]), r[3] &= v[i], r[4] |= v[i], r[5] ^= v[i];
    r[6] = r[0];
    want.insert(want.end(), r, r + 7);
  }
  expect("within warps", host(out, 8 * 7) == want);

  check_last_block<int>("last block, int");
  check_last_block<long long>("last block, long long");
  check_last_block<float>("last block, float");
  check_last_block<double>("last block, double");

  std::vector<float> x(3000);
  for (int i = 0; i < 3000; ++i) x[i] = float(i % 17) * 0.5f - 3;
  double mean = std::accumulate(x.begin(), x.end(), 0.0) / 3000, square = 0;
  for (float e : x) square += (e - mean) * (e - mean) / 3000;
  float *dx = device(x), *moments = device(std::vector<float>(2));
  double* sums = device(std::vector<double>(2));
  int n = 3000, blocks = 0;
  CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, variance, 96, 0));
  void* arguments[] = {&dx, &n, &sums, &moments};
  CHECK(cudaLaunchCooperativeKernel(reinterpret_cast<void*>(variance), dim3(5), dim3(96), arguments, 0, nullptr));
  const auto m = host(moments, 2);
  expect("mean and variance", blocks > 0 && std::abs(m[0] - mean) < 1e-5 && std::abs(m[1] - square) < 1e-5);

  std::vector<int> key(1000), value(1000), by_key(10);
  for (int i = 0; i < 1000; ++i) key[i] = i * i % 10, value[i] = i, by_key[key[i]] += i;
  int groups_want = 0;
  for (int w = 0; w < 1000; w += 32) {
    unsigned seen = 0;
    for (int i = w; i < std::min(w + 32, 1000); ++i) seen |= 1u << key[i];
    groups_want += __builtin_popcount(seen);
  }
  int *sum = device(std::vector<int>(10)), *groups = device(std::vector<int>(1));
  aggregated<<<8, 128>>>(device(key), device(value), 1000, sum, groups);
  CHECK(cudaDeviceSynchronize());
  expect("aggregated by key", host(sum, 10) == by_key && host(groups, 1)[0] == groups_want);
  return bad != 0;
}
