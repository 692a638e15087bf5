#pragma once
// How a warp of Hopper's kernel finishes its 16 rows of a tile: from sums in wgmma's order (ptx/wgmma.cuh) to c, through 4 KB of shared
// memory of its own. No other warp is waited for.
//   finish_rows: anything, into f32 or 16 bits, any alignment; lanes beside each other write 16 bytes beside each other.
//   BoxFinish: 16-bit results in aligned rows, by the copy engine, which goes on while the next tile is computed.
#include <cuda.h>

#include "common/types.cuh"
#include "matmul/problem.cuh"
#include "ptx/async.cuh"
#include "ptx/matrix.cuh"
#include "ptx/mbarrier.cuh"
#include "ptx/proxy.cuh"
#include "ptx/shared.cuh"
#include "ptx/tensor.cuh"
#include "ptx/wgmma.cuh"

namespace heddle::cuda {

constexpr int kWarpStaging = 16 * 64 * 4;  // bytes

// 16 rows of 64 columns out of staging, 8 columns a lane, fours of them Gap apart. Groups of 8 lie in an order that depends on the row,
// and of lanes that take a whole group every other 4 begin with its second four: no bank conflicts.
template <class T, class C, int Gap>
__device__ inline void finish_part(const MatmulProblem& p, const MatmulBlock& at, int64_t m, int64_t n, uint32_t staging) {
  const int lane = threadIdx.x % 32, column = lane % 8 * (Gap == 4 ? 8 : 4);
#pragma unroll 1
  for (int row = lane / 8; row < 16; row += 4) {
    const auto place = [&](int c) { return staging + (row * 64 + (c / 8 ^ row % 8) * 8 + c % 8) * 4; };
    const int turned = Gap == 4 ? (lane % 8 ^ row % 8) / 4 : 0;
    float four[2][4], v[8];
    ptx::load_four(four[0], place(column + (turned ? Gap : 0)));
    ptx::load_four(four[1], place(column + (turned ? 0 : Gap)));
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      v[j] = turned ? four[1][j] : four[0][j];
      v[j + 4] = turned ? four[0][j] : four[1][j];
    }
    finish_row<T, C, Gap>(p, at, m + row, n + column, v);
  }
}

// 64 columns at a time.
template <class T, int TileN>
__device__ inline void finish_rows(const MatmulProblem& p, const MatmulBlock& at, int64_t first_row, const float (&sum)[TileN / 2],
                                   uint32_t staging) {
  const int lane = threadIdx.x % 32;
#pragma unroll 1
  for (int column = 0; column < TileN; column += 64) {
    __syncwarp();
#pragma unroll
    for (int k = 0; k < TileN; k += 64) {
      if (k != column) continue;
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = lane / 4 + half * 8, i = (k / 8 + j) * 4 + half * 2;
          ptx::store_pair(staging + (row * 64 + (j ^ row % 8) * 8 + lane % 4 * 2) * 4, sum[i], sum[i + 1]);
        }
    }
    __syncwarp();
    if (p.c_f32)
      finish_part<T, float, 32>(p, at, first_row, at.n + column, staging);
    else
      finish_part<T, T, 4>(p, at, first_row, at.n + column, staging);
  }
  __syncwarp();
}

// The tensors of an epilogue: c; pre and residual where there are.
struct BoxMaps {
  CUtensorMap c, pre, residual;
};

// Boxes of 16 rows by 64 columns pass through two slabs in turn: the other one may still be on its way to memory, or the next piece of the
// residual on its way here. There is a residual or a pre, not both.
template <class T, int TileN>
class BoxFinish {
 public:
  // staging: the warp's, at a multiple of 1024 bytes; arrived: its barrier, for pieces of the residual.
  __device__ BoxFinish(const MatmulProblem& p, const BoxMaps* maps, uint32_t staging, uint32_t arrived)
      : p_(p), maps_(maps), staging_(staging), arrived_(arrived) {}

  // The first pieces of a tile's residual, while its products are still being computed.
  __device__ void prefetch(const MatmulBlock& at, int64_t row) {
    if (!p_.residual) return;
#pragma unroll
    for (int k = 0; k < TileN / 64 && k < 2; ++k) fetch(at, row, k * 64, slab_ ^ k);
  }

  __device__ void run(const MatmulBlock& at, int64_t row, const float (&sum)[TileN / 2]) {
#pragma unroll 1
    for (int column = 0; column < TileN; column += 64) {
      float v[32];
      take(sum, column, v);
      if (p_.a_scale) scale_sums(p_, v);
      if (p_.bias) add_bias(at.n + column, v);
      if (p_.pre) store(&maps_->pre, at, row, column, v);
      if (!p_.derivative) activate(p_.activation, v);
      if (p_.residual) {
        ptx::barrier_wait<false>(arrived_ + slab_ * 8, parity_ >> slab_ & 1);
        parity_ ^= 1u << slab_;
        finish_with_residual(v);
      }
      store(&maps_->c, at, row, column, v);
      // Into the slab of the piece before this one, which has had this piece's time to be read.
      if (p_.residual && column > 0 && column + 64 < TileN) fetch(at, row, column + 64, slab_);
    }
  }

  // Before the block ends: its shared memory goes with it.
  __device__ void leave() const {
    if (lane() == 0) ptx::wait_stores_read<0>();
  }

 private:
  static constexpr int kSlabBytes = 16 * 128;

  // The sums of 64 columns, by branches: the compiler would rather choose among all pieces, element by element.
  static __device__ void take(const float (&sum)[TileN / 2], int column, float (&v)[32]) {
#pragma unroll
    for (int k = 0; k < TileN; k += 64) {
      if (k != column) continue;
#pragma unroll
      for (int i = 0; i < 32; ++i) v[i] = sum[k / 2 + i];
      ptx::hold_registers(v);
    }
  }

  static __device__ int lane() { return static_cast<int>(threadIdx.x) % 32; }
  __device__ uint32_t slab(int number) const { return staging_ + number * kSlabBytes; }

  // A broadcast dimension of c does not exist: its place is that of the product.
  __device__ int batch(const MatmulBlock& at, int d) const { return static_cast<int>(d ? at.product % p_.batch1 : at.product / p_.batch1); }

  // Columns `column` on of the residual, into the slab that will hold them. The lane that stored from it before knows when it is free.
  __device__ void fetch(const MatmulBlock& at, int64_t row, int column, int to) const {
    if (lane() != 0) return;
    if (column == 0) ptx::wait_stores_read<0>();
    if (column > 64) ptx::wait_stores_read<1>();
    ptx::barrier_expect(arrived_ + to * 8, kSlabBytes);
    ptx::load_box(slab(to), &maps_->residual, arrived_ + to * 8, static_cast<int>(at.n) + column, static_cast<int>(row), batch(at, 1),
                  batch(at, 0));
  }

  __device__ void add_bias(int64_t n, float (&v)[32]) const {
    const T* bias = static_cast<const T*>(p_.bias);
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const int64_t column = n + j * 8 + lane() % 4 * 2;
      if (column >= p_.N) continue;  // N is a multiple of 8
      const auto pair = load_vector<T, 2>(bias + column);
#pragma unroll
      for (int i = 0; i < 4; ++i) v[j * 4 + i] = v[j * 4 + i] + to_float(pair.x[i % 2]);
    }
  }

  // Where 16 rows by 16 columns, the i-th of a slab, lie: the address of this lane for ldmatrix and stmatrix.
  __device__ uint32_t place(int i) const {
    const int row = lane() % 16, chunk = 2 * i + lane() / 16;
    return slab(slab_) + row * 128 + (chunk ^ row % 8) * 16;
  }
  __device__ void finish_with_residual(float (&v)[32]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      uint32_t r[4];
      ptx::load_matrices(r, place(i));
      float piece[8], other[8];
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        piece[k] = v[i * 8 + k];
        other[k] = to_float(__builtin_bit_cast(Pair, r[k / 2]).x[k % 2]);
      }
      add_or_multiply(p_, piece, other);
#pragma unroll
      for (int k = 0; k < 8; ++k) v[i * 8 + k] = piece[k];
    }
    __syncwarp();  // all have read before one writes
  }
  __device__ void store(const CUtensorMap* map, const MatmulBlock& at, int64_t row, int column, const float (&v)[32]) {
    if (!p_.residual) {  // otherwise the slab was free when its piece came
      if (lane() == 0) ptx::wait_stores_read<1>();
      __syncwarp();
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      uint32_t r[4];
#pragma unroll
      for (int k = 0; k < 4; ++k)
        r[k] = __builtin_bit_cast(uint32_t, Pair{{from_float<T>(v[i * 8 + k * 2]), from_float<T>(v[i * 8 + k * 2 + 1])}});
      ptx::store_matrices(place(i), r);
    }
    ptx::fence_async_proxy();
    __syncwarp();
    if (lane() == 0) {
      ptx::store_box(map, slab(slab_), static_cast<int>(at.n) + column, static_cast<int>(row), batch(at, 1), batch(at, 0));
      ptx::commit_stores();
    }
    slab_ ^= 1;
  }

  using Pair = Vector<T, 2>;
  const MatmulProblem& p_;
  const BoxMaps* maps_;
  uint32_t staging_, arrived_;
  int slab_ = 0;
  uint32_t parity_ = 0;  // a bit for each slab
};

}  // namespace heddle::cuda
