#pragma once
// One operand's tiles from global to shared memory: Rows of m or n by 64 bytes of k, zero outside of the matrix.
#include "common/types.cuh"
#include "ptx/async.cuh"
#include "tile/swizzle.cuh"

namespace heddle::cuda {

// A thread moves kLoads chunks of 16 bytes. They step through the tile by kStep rows (K-major: of m or n; else of k), a multiple of
// the swizzle's period, so their places in shared memory are a constant apart.
template <class T, int Rows, bool KMajor, int Threads>
class TileLoader {
 public:
  static constexpr int kChunk = kVector<T>, kDepth = kTileRowBytes / static_cast<int>(sizeof(T));
  static constexpr int kBytes = Rows * kTileRowBytes;
  static constexpr int kRowChunks = KMajor ? kTileRowBytes / 16 : Rows / kChunk;  // of a row in shared memory
  static constexpr int kLoads = kBytes / 16 / Threads, kStep = Threads / kRowChunks;
  static_assert(kStep % (KMajor || sizeof(T) == 2 ? 8 : 4) == 0, "the swizzle repeats between a thread's chunks");

  // Of the matrix's rows from row0 on, beginning at k0. ld: its stride that is not 1.
  __device__ TileLoader(const T* from, int64_t ld, int64_t row0, int64_t rows, int64_t k0) {
    const int row = static_cast<int>(threadIdx.x) / kRowChunks, chunk = static_cast<int>(threadIdx.x) % kRowChunks;
    const int64_t left = rows - row0;  // rows of m or n from here on
    row_ = row;
    along_ = chunk * kChunk;
    limit_ = static_cast<int>(left < Rows ? left : Rows);
    place_ = static_cast<uint32_t>((row * kRowChunks + (chunk ^ (KMajor ? swizzle_k_major(row) : swizzle_mn_major<T>(row)))) * 16);
    from_ = from + (KMajor ? (row0 + row) * ld + k0 + along_ : (k0 + row) * ld + row0 + along_);
    whole_ = max(0, min(kChunk, limit_ - along_)) * static_cast<int>(sizeof(T));
    step_ = kStep * ld;
    advance_ = KMajor ? kDepth : kDepth * ld;
  }

  // The tile at k0, all of which exists along k, on its way to shared memory; then to the next tile.
  __device__ void copy(uint32_t shared) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) copy_chunk(shared, i, KMajor ? (row_ + i * kStep < limit_ ? 16 : 0) : whole_);
    from_ += advance_;
  }
  // The last one, `depth` of which exist.
  __device__ void copy(uint32_t shared, int depth) {
#pragma unroll 1
    for (int i = 0; i < kLoads; ++i) copy_chunk(shared, i, count(i, depth) * static_cast<int>(sizeof(T)));
  }

  // The same in two halves, through registers. Aligned: whole chunks are read at once.
  template <bool Aligned>
  __device__ void fetch(int depth) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const T* from = from_ + i * step_;
      const int n = count(i, depth);
      Vector<T, kChunk> part;
      if constexpr (Aligned) {
        if (n == kChunk)
          part = load_vector(from);
        else
          part = part_of_chunk(from, n);
      } else {
#pragma unroll
        for (int j = 0; j < kChunk; ++j) part.x[j] = j < n ? from[j] : from_float<T>(0.0f);
      }
      value_[i] = part;
    }
    from_ += advance_;
  }
  __device__ void put(unsigned char* shared) const {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) *reinterpret_cast<Vector<T, kChunk>*>(shared + place_ + i * kStep * kRowChunks * 16) = value_[i];
  }

 private:
  __device__ void copy_chunk(uint32_t shared, int i, int bytes) const {
    ptx::copy_async(shared + place_ + i * kStep * kRowChunks * 16, from_ + i * step_, bytes);
  }

  // The first n elements, then zeros; rare, so few registers matter more than time.
  static __device__ Vector<T, kChunk> part_of_chunk(const T* from, int n) {
    constexpr int kBits = 8 * static_cast<int>(sizeof(T));
    Bits128 bits{};
#pragma unroll 1
    for (int j = 0; j < n; ++j) {
      const uint64_t x = bits_of(from[j]);
      (j < kChunk / 2 ? bits.low : bits.high) |= x << (j % (kChunk / 2) * kBits);
    }
    return __builtin_bit_cast(Vector<T, kChunk>, bits);
  }
  struct alignas(16) Bits128 {
    uint64_t low, high;
  };
  static __device__ uint64_t bits_of(T x) {
    if constexpr (sizeof(T) == 2)
      return __builtin_bit_cast(uint16_t, x);
    else
      return __builtin_bit_cast(uint32_t, x);
  }

  // Elements of chunk i that exist.
  __device__ int count(int i, int depth) const {
    const int row_limit = KMajor ? limit_ : depth, along_limit = KMajor ? depth : limit_;
    return row_ + i * kStep < row_limit ? max(0, min(kChunk, along_limit - along_)) : 0;
  }

  const T* from_;
  int64_t step_, advance_;
  int row_, along_, limit_;
  int whole_;  // M- or N-major: bytes of this thread's chunks that exist
  uint32_t place_;
  Vector<T, kChunk> value_[kLoads];
};

}  // namespace heddle::cuda
