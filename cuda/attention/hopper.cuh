#pragma once
// What the kernels of attention on Hopper share: tiles of heads in shared memory, products of a warpgroup, which unit of work is which,
// how a warp's rows get to memory. For *_sm90.cu.
//
// Blocks are persistent: a producer warpgroup, of which one thread has the copy engine fill stages, and two consumers of 64 rows each.
#include <cuda.h>

#include <algorithm>
#include <type_traits>

#include "attention/hopper.h"
#include "attention/mask.cuh"
#include "common/exp.cuh"
#include "common/types.cuh"
#include "ptx/async.cuh"
#include "ptx/matrix.cuh"
#include "ptx/mbarrier.cuh"
#include "ptx/pair.cuh"
#include "ptx/registers.cuh"
#include "ptx/shared.cuh"
#include "ptx/tensor.cuh"
#include "ptx/wgmma.cuh"
#include "runtime/launch.cuh"
#include "runtime/occupancy.h"
#include "runtime/tensor_map.h"
#include "tile/ring.cuh"

namespace heddle::cuda {

constexpr int kAttentionConsumers = 2, kAttentionConsumerWarps = 4 * kAttentionConsumers;
constexpr int kAttentionRows = 64 * kAttentionConsumers;  // of a block: queries, or keys
constexpr int kAttentionStaging = 16 * 64 * 4;            // bytes, of a warp
constexpr float kLog2E = 1.44269504088896341f, kNoScore = -__builtin_huge_valf();

// ---- warps ----

// The same for all lanes, and known to be.
__device__ inline int warp_index() { return __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / 32, 0); }
__device__ inline int lane() { return static_cast<int>(threadIdx.x) % 32; }
__device__ inline uint32_t address_of(const uint64_t& barrier) { return ptx::shared_address(&barrier); }

// The warp is done with what the barrier guards. kAttentionConsumerWarps of these empty a stage.
__device__ inline void hand_back(const uint64_t& barrier) {
  __syncwarp();
  if (lane() == 0) ptx::barrier_arrive(address_of(barrier));
}

// ---- tiles ----

// Rows of a head in shared memory: slabs of 64 of D, each Rows rows of 128 bytes, swizzled (ptx/wgmma.cuh).
template <int D, int Rows>
struct HeadTile {
  static constexpr int kSlab = Rows * 128, kBytes = D / 64 * kSlab;
  alignas(1024) unsigned char bytes[kBytes];

  __device__ uint32_t address() const { return ptx::shared_address(bytes); }
  // By one thread; rows from `row` on, those that don't exist as zeros.
  __device__ void load(const CUtensorMap* map, uint32_t barrier, int row, int h, int b) const {
#pragma unroll
    for (int slab = 0; slab < D / 64; ++slab) ptx::load_box(address() + slab * kSlab, map, barrier, slab * 64, row, h, b);
  }
};

// c = a b^T over D: 64 rows of a tile from `first` on, all rows of another one. To be committed and waited for.
template <class T, int D, int ARows, int BRows>
__device__ inline void multiply_rows(float (&c)[BRows / 2], const HeadTile<D, ARows>& a, int first, const HeadTile<D, BRows>& b) {
  uint32_t rows = a.address() + first * 128;
  asm volatile("" : "+r"(rows));  // otherwise descriptors are computed outside of loops, and kept in registers that scores need
  const uint64_t first_a = ptx::matrix_descriptor(rows, 0), first_b = ptx::matrix_descriptor(b.address(), 0);
#pragma unroll
  for (int kk = 0; kk < D / 16; ++kk) {
    const int slab = kk / 4, within = kk % 4 * 32;
    ptx::wgmma<T, false, false>(c, first_a + ((slab * HeadTile<D, ARows>::kSlab + within) >> 4),
                                first_b + ((slab * HeadTile<D, BRows>::kSlab + within) >> 4), kk > 0);
  }
}

// The 64 rows of a tile from `first` on, as A in registers.
template <int D, int Rows>
__device__ inline void keep_rows(uint32_t (&to)[D / 4], const HeadTile<D, Rows>& tile, int first) {
  const int row = first + warp_index() % 4 * 16 + lane() % 16;
#pragma unroll
  for (int kk = 0; kk < D / 16; ++kk) {
    uint32_t part[4];
    ptx::load_matrices(part, tile.address() + kk / 4 * HeadTile<D, Rows>::kSlab + row * 128 + ((kk % 4 * 2 + lane() / 16) ^ row % 8) * 16);
#pragma unroll
    for (int i = 0; i < 4; ++i) to[kk * 4 + i] = part[i];
  }
}
// c = a b^T over D: a so, b all rows of a tile.
template <class T, int D, int Rows>
__device__ inline void multiply_kept(float (&c)[Rows / 2], const uint32_t (&a)[D / 4], const HeadTile<D, Rows>& b) {
  const uint64_t first_b = ptx::matrix_descriptor(b.address(), 0);
#pragma unroll
  for (int kk = 0; kk < D / 16; ++kk) {
    const uint32_t part[4] = {a[kk * 4], a[kk * 4 + 1], a[kk * 4 + 2], a[kk * 4 + 3]};
    ptx::wgmma<T, false>(c, part, first_b + ((kk / 4 * HeadTile<D, Rows>::kSlab + kk % 4 * 32) >> 4), kk > 0);
  }
}

// c += a b: a of 64 x Rows in registers, b all rows of a tile.
template <class T, int D, int Rows>
__device__ inline void multiply_weights(float (&c)[D / 2], const uint32_t (&a)[Rows / 4], const HeadTile<D, Rows>& b) {
  const uint64_t first_b = ptx::matrix_descriptor(b.address(), HeadTile<D, Rows>::kSlab);
#pragma unroll
  for (int kk = 0; kk < Rows / 16; ++kk) {
    const uint32_t part[4] = {a[kk * 4], a[kk * 4 + 1], a[kk * 4 + 2], a[kk * 4 + 3]};
    ptx::wgmma<T, true>(c, part, first_b + (kk * 2048 >> 4), 1);
  }
}

// Sums of a product as A of the next one: pairs of neighbours, rounded (ptx/wgmma.cuh).
template <class T, int N>
__device__ inline void round_pairs(uint32_t (&to)[N / 2], const float (&x)[N]) {
#pragma unroll
  for (int i = 0; i < N / 2; ++i) to[i] = ptx::round_pair<T>(x[2 * i], x[2 * i + 1]);
}

// ---- units of work ----

// Tile `tile` of head h of batch b. Heads go by in sections, whose keys and values (or queries) stay in L2 while all their tiles are
// computed, those with the most work first.
struct AttentionUnits {
  uint32_t tiles, heads, section, per_batch;  // heads: of all batches
  bool descending;                            // the last tile has the most work

  struct Unit {
    int tile, b, h;
  };
  __device__ uint32_t count() const { return tiles * heads; }
  __device__ Unit operator[](uint32_t unit) const {
    const uint32_t first = unit / (section * tiles) * section, within = unit - first * tiles, here = min(section, heads - first);
    const uint32_t rank = within / here, head = first + within - rank * here;
    return {static_cast<int>(descending ? tiles - 1 - rank : rank), static_cast<int>(head / per_batch), static_cast<int>(head % per_batch)};
  }
};

// head_bytes: of what the tiles of a head share.
inline AttentionUnits attention_units(int64_t rows, int64_t B, int64_t heads, int64_t head_bytes, bool descending) {
  constexpr int64_t kCached = 24 << 20;
  AttentionUnits u{};
  u.tiles = static_cast<uint32_t>((rows + kAttentionRows - 1) / kAttentionRows);
  u.heads = static_cast<uint32_t>(B * heads);
  u.section = static_cast<uint32_t>(std::clamp<int64_t>(kCached / std::max<int64_t>(1, head_bytes), 1, B * heads));
  u.per_batch = static_cast<uint32_t>(heads);
  u.descending = descending;
  return u;
}

// ---- results ----

// A (B, T, H, D) tensor that a kernel writes.
struct HeadsOutput {
  void* data;
  int64_t stride[3];  // of B, T, H
  bool accumulate;

  HeadsOutput() = default;
  HeadsOutput(void* to, const int64_t (&strides)[3], bool adds) : data(to), stride{strides[0], strides[1], strides[2]}, accumulate(adds) {}
  template <class T>
  __device__ T* at(int b, int row, int h) const {
    return static_cast<T*>(data) + b * stride[0] + row * stride[1] + h * stride[2];
  }
};

// The warp's 16 rows of sums, times `factor` of a lane's two rows, to `rows` rows of memory. Through f32 in shared memory, 64 columns at a
// time, so that lanes write 8 neighbours of a row. Groups of 8 columns lie in an order that depends on the row, and every other 4 lanes
// begin with their upper half: no bank conflicts.
template <class T, int D>
__device__ inline void store_rows(const float (&sum)[D / 2], const float (&factor)[2], uint32_t staging, T* to, int64_t stride, int rows,
                                  bool accumulate) {
#pragma unroll
  for (int column = 0; column < D; column += 64) {
    __syncwarp();
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = lane() / 4 + half * 8, i = (column / 8 + j) * 4 + half * 2;
        ptx::store_pair(staging + (row * 64 + (j ^ row % 8) * 8 + lane() % 4 * 2) * 4, sum[i] * factor[half], sum[i + 1] * factor[half]);
      }
    __syncwarp();
#pragma unroll 1
    for (int row = lane() / 8; row < min(rows, 16); row += 4) {
      const int group = lane() % 8 ^ row % 8, upper = group / 4;
      const uint32_t from = staging + (row * 64 + group * 8) * 4;
      float half[2][4];
      ptx::load_four(half[0], from + upper * 16);
      ptx::load_four(half[1], from + 16 - upper * 16);
      T* place = to + row * stride + column + lane() % 8 * 8;
      Vector<T, 8> old{}, out;
      if (accumulate) old = load_vector<T>(place);
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const float x = upper == j / 4 ? half[0][j % 4] : half[1][j % 4];
        out.x[j] = from_float<T>(accumulate ? to_float(old.x[j]) + x : x);
      }
      store_vector(place, out);
    }
  }
  __syncwarp();
}

// A whole block: barriers, then the kernel's two parts, side by side.
template <class Kernel, class Shared, class... Maps>
__device__ inline void run_block(const Kernel& kernel, const Shared& shared, const Maps&... maps) {
  if (threadIdx.x == 0) {
    (ptx::prefetch_map(&maps), ...);
    shared.init();
    ptx::fence_barrier_init();
  }
  __syncthreads();
  if (threadIdx.x >= kAttentionConsumers * 128) {
    ptx::give_registers<Kernel::kProducerRegisters>();
    if (threadIdx.x == kAttentionConsumers * 128) kernel.produce(&maps...);
  } else {
    ptx::take_registers<Kernel::kConsumerRegisters>();
    kernel.consume();
  }
}

// ---- host ----

// Boxes of `rows` rows by 64 of a (B, T, H, D) operand; places are d, t, h, b.
inline CUtensorMap heads_map(DType type, const void* data, const int64_t (&stride)[3], int64_t B, int64_t T, int64_t H, int64_t D,
                             int rows) {
  return tensor_map({type, data, D, T, stride[1], {B, H}, {stride[0], stride[2]}, 64, rows});
}

// As many blocks as run at once share the units.
template <class... P, class... A>
void launch_persistent(const char* name, void (*kernel)(P...), const AttentionUnits& units, size_t shared, const A&... args) {
  const auto most = static_cast<uint32_t>(resident_clusters(reinterpret_cast<const void*>(kernel), 1, kHopperAttentionThreads, shared));
  launch(name, kernel, std::min(units.tiles * units.heads, most), kHopperAttentionThreads, shared, args...);
}

}  // namespace heddle::cuda
