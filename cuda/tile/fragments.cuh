#pragma once
// Fragments of mma (ptx/matrix.cuh) from a swizzled tile, 16 rows of m or n by 32 bytes of k at a time.
//   A: the four registers of a 16-row fragment.   B: those of two fragments of 8 columns, b0 b1 b0' b1'.
#include "ptx/async.cuh"
#include "ptx/matrix.cuh"
#include "tile/swizzle.cuh"

namespace heddle::cuda {

template <class T, int Rows, bool KMajor, bool IsA>
class FragmentReader {
 public:
  // Rows first, first + 1, ... of the tile are the warp's; its fragments' numbers do not carry into `first`: i * 16 < a power of two
  // that divides it.
  __device__ explicit FragmentReader(int first) {
    const int lane = threadIdx.x % 32;
    if constexpr (KMajor) {  // matrices A: (rows, k) 0 0, 8 0, 0 8, 8 8; B: 0 0, 0 8, 8 0, 8 8
      const int row = first + (IsA ? lane % 16 : lane / 16 * 8 + lane % 8), half = IsA ? lane / 16 : lane / 8 % 2;
      place_ = static_cast<uint32_t>(row * kTileRowBytes + (half ^ swizzle_k_major(row)) * 16);
    } else if constexpr (sizeof(T) == 2) {
      const int k = lane % 8 + (IsA ? lane / 16 : lane / 8 % 2) * 8, half = IsA ? lane / 8 % 2 : lane / 16;
      place_ = static_cast<uint32_t>(k * kRowBytes + ((first / 8 + half) ^ swizzle_mn_major<T>(k)) * 16);
    } else {
      const int row = first + lane / 4, k = lane % 4;
      place_ = static_cast<uint32_t>(k * kRowBytes + ((row / 4) ^ swizzle_mn_major<T>(k)) * 16 + row % 4 * 4);
    }
  }

  // The i-th 16 rows, step `kk` (0 or 1) of k. The swizzle is an xor, and so are the steps within a row.
  __device__ void read(uint32_t (&r)[4], uint32_t tile, int i, int kk) const {
    const uint32_t at = tile + place_;
    if constexpr (KMajor) {
      ptx::load_matrices(r, (at ^ (kk * 32)) + i * 16 * kTileRowBytes);
    } else if constexpr (sizeof(T) == 2) {
      ptx::load_transposed(r, (at ^ (i * 32)) + kk * 16 * kRowBytes);
    } else {
#pragma unroll
      for (int half = 0; half < 2; ++half)  // rows 8 on
#pragma unroll
        for (int deep = 0; deep < 2; ++deep)  // k 4 on
          r[IsA ? half + 2 * deep : 2 * half + deep] = ptx::load_word((at ^ (i * 64) ^ (half * 32)) + (kk * 8 + deep * 4) * kRowBytes);
    }
    if constexpr (sizeof(T) == 4) {
#pragma unroll
      for (int j = 0; j < 4; ++j) r[j] = ptx::round_tf32(r[j]);
    }
  }

 private:
  static constexpr int kRowBytes = Rows * static_cast<int>(sizeof(T));
  uint32_t place_;
};

}  // namespace heddle::cuda
