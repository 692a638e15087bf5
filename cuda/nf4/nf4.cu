// NF4 (core/nf4.h), the CPU's bits (native/cpu/nf4.cc): products and sums are rounded one by one, the mean is added up in the same order.
#include "common/dense.cuh"
#include "core/nf4.h"
#include "kernels.h"

namespace heddle::cuda {
namespace {

constexpr int kBlock = 256;
static_assert(kBlock == kNF4Group && kNF4Block == 64);

__constant__ constexpr Levels<16> kLevels = kNF4Levels;
__constant__ constexpr Levels<256> kScaleLevels = dynamic_levels();

inline int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }

// A block per group: each warp takes blocks of weights, two weights a lane; then the constants' sum, pairwise.
__global__ void __launch_bounds__(kBlock) nf4_codes(NF4QuantizeArgs a, float* constants, float* sums, int64_t blocks) {
  __shared__ float sum[kNF4Group];
  const int lane = threadIdx.x % 32;
  for (int i = threadIdx.x / 32; i < kNF4Group; i += kBlock / 32) {
    const int64_t block = int64_t{blockIdx.x} * kNF4Group + i, at = block * kNF4Block + 2 * lane;
    const float x = at < a.n ? a.w[at] : 0.0f, y = at + 1 < a.n ? a.w[at + 1] : 0.0f;
    float largest = larger(fabsf(x), fabsf(y));
    for (int offset = 16; offset > 0; offset /= 2) largest = larger(largest, __shfl_xor_sync(0xffffffffu, largest, offset));
    const float factor = reciprocal_of(largest);
    const int high = nearest_level(kLevels.x, 16, x * factor), low = at + 1 < a.n ? nearest_level(kLevels.x, 16, y * factor) : 7;
    if (at < a.n) a.codes[at / 2] = static_cast<uint8_t>(high << 4 | low);
    if (lane == 0) {
      sum[i] = largest;
      if (block < blocks) constants[block] = largest;
    }
  }
  __syncthreads();
  for (int width = kNF4Group / 2; width; width /= 2) {
    if (threadIdx.x < width) sum[threadIdx.x] += sum[threadIdx.x + width];
    __syncthreads();
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = sum[0];
}

// A block per group, a constant a thread.
__global__ void __launch_bounds__(kBlock)
    nf4_scales(NF4QuantizeArgs a, const float* constants, const float* sums, int64_t blocks, int64_t groups) {
  __shared__ float shared_mean, most[kNF4Group];
  if (threadIdx.x == 0) {
    double total = 0;
    for (int64_t group = 0; group < groups; ++group) total += static_cast<double>(sums[group]);
    shared_mean = static_cast<float>(total / static_cast<double>(blocks));
  }
  __syncthreads();
  const int64_t block = int64_t{blockIdx.x} * kNF4Group + threadIdx.x;
  const float mean = shared_mean, centred = block < blocks ? constants[block] - mean : 0.0f;
  most[threadIdx.x] = fabsf(centred);
  __syncthreads();
  for (int width = kNF4Group / 2; width; width /= 2) {
    if (threadIdx.x < width) most[threadIdx.x] = larger(most[threadIdx.x], most[threadIdx.x + width]);
    __syncthreads();
  }
  if (block < blocks) a.scales[block] = static_cast<uint8_t>(nearest_level(kScaleLevels.x, 256, centred * reciprocal_of(most[0])));
  if (threadIdx.x == 0) a.ranges[blockIdx.x] = most[0];
  if (threadIdx.x == 0 && blockIdx.x == 0) *a.mean = mean;
}

// A thread's weights are of one block.
template <class T>
__global__ void __launch_bounds__(kBlock) nf4_values(Dense d, NF4DequantizeArgs a) {
  constexpr int V = kVector<T>;
  __shared__ float level[16];  // lanes want different ones: in shared memory each has its own bank
  if (threadIdx.x < 16) level[threadIdx.x] = kLevels.x[threadIdx.x];
  __syncthreads();
  const DensePlace p = dense_place<V, kBlock>(d);
  if (!p.inside) return;
  const int64_t block = p.at / kNF4Block;
  const float constant = *a.mean + kScaleLevels.x[a.scales[block]] * a.ranges[block / kNF4Group];
  T* const out = static_cast<T*>(a.out) + p.at;
  if (p.vector) {
    const auto codes = load_vector<uint8_t, V / 2>(a.codes + p.at / 2);
    Vector<T, V> v;
#pragma unroll
    for (int i = 0; i < V; ++i) v.x[i] = from_float<T>(level[i % 2 ? codes.x[i / 2] & 15 : codes.x[i / 2] >> 4] * constant);
    store_vector(out, v);
  } else {
    const uint8_t codes = a.codes[p.at / 2];
    *out = from_float<T>(level[p.at % 2 ? codes & 15 : codes >> 4] * constant);
  }
}

}  // namespace

void nf4_quantize(const NF4QuantizeArgs& a) {
  const int64_t blocks = pieces(a.n, kNF4Block), groups = pieces(blocks, kNF4Group);
  float* const constants = static_cast<float*>(a.workspace);
  float* const sums = constants + blocks;
  launch("nf4_codes", nf4_codes, static_cast<unsigned>(groups), kBlock, 0, a, constants, sums, blocks);
  launch("nf4_scales", nf4_scales, static_cast<unsigned>(groups), kBlock, 0, a, constants, sums, blocks, groups);
}

void nf4_dequantize(const NF4DequantizeArgs& a) {
  dispatch_float(a.type, [&](auto type) {
    using T = decltype(type);
    const Dense d(a.n, kVector<T>, aligned16(a.out));
    launch("nf4_values", nf4_values<T>, blocks_for(d.items, kBlock), kBlock, 0, d, a);
  });
}

}  // namespace heddle::cuda
