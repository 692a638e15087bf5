#pragma once
// How tiles lie in shared memory: rows of whole 16-byte chunks, the chunks of a row in an order that depends on the row, so that the
// 8 chunks that ldmatrix reads from 8 rows at once lie in different banks. It is the order of TMA's 64-byte and 128-byte swizzles.
//
// A K-major operand is stored as Rows rows of 64 bytes of k, an M- or N-major one as the 64 bytes' worth of k in rows of Rows elements.
#include <cuda_runtime.h>

#include <cstdint>

namespace heddle::cuda {

constexpr int kTileRowBytes = 64;

// The order of a row of k: chunk c of row r lies at c ^ (r / 2 % 4).
__device__ inline int swizzle_k_major(int row) { return row / 2 % 4; }

// The order of a row of m or n: chunk c of row k lies at c ^ (k % 8). Words (tf32) are read one by one, by 4 rows x 8 neighbours at
// once: c ^ (k % 4 * 2).
template <class T>
__device__ inline int swizzle_mn_major(int k) {
  return sizeof(T) == 4 ? k % 4 * 2 : k % 8;
}

}  // namespace heddle::cuda
