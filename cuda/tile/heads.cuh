#pragma once
// Tiles of attention: rows of one head, `Head` 16-bit elements each, in shared memory; zero where the operand has no row or no element.
//
// The chunks of 16 bytes of a row lie in an order that depends on the row, so that the 8 chunks that ldmatrix reads from 8 rows at once
// lie in different banks: within groups ("slabs") of 8 chunks, chunk c of row r at c ^ (r % 8); where a row has no whole groups of 8,
// within groups of 4 at c ^ (r / 2 % 4).
#include "common/types.cuh"
#include "ptx/async.cuh"
#include "ptx/matrix.cuh"
#include "ptx/shared.cuh"
#include "ptx/thread.cuh"

namespace heddle::cuda {

template <int Head>
struct HeadRow {
  static constexpr int kBytes = Head * 2;
  static constexpr int kSlabChunks = Head % 64 == 0 ? 8 : 4, kSlabBytes = kSlabChunks * 16, kSlabs = Head / 8 / kSlabChunks;
  __device__ static int swizzle(int row) { return kSlabChunks == 8 ? row % 8 : row / 2 % 4; }
};

// Two elements in a register, a in the lower half, as fragments of tensor cores have them.
template <class T>
__device__ inline uint32_t pack(float a, float b) {
  if constexpr (__is_same(T, bf16)) {
    const __nv_bfloat162 both = __floats2bfloat162_rn(a, b);
    return *reinterpret_cast<const uint32_t*>(&both);
  } else {
    const __half2 both = __floats2half2_rn(a, b);
    return *reinterpret_cast<const uint32_t*>(&both);
  }
}

// 16 bytes from global to shared memory, or zeros.
__device__ inline void move_chunk(uint32_t to, const void* from, bool exists) {
#if __CUDA_ARCH__ >= 800
  ptx::copy_async(to, from, exists ? 16 : 0);
#else
  ptx::store_four(to, exists ? *static_cast<const uint4*>(from) : uint4{});
#endif
}

// One head's rows in global memory: `rows` of D elements, `stride` from one to the next.
template <class T>
struct HeadRows {
  T* data;
  int64_t stride;
  int rows, D;
};

// The tile of Rows rows from `first` on. From sm_80 on it is on its way until ptx::wait_copies, before that it is there.
template <int Head, int Rows, int Threads, class T>
__device__ inline void load_rows(uint32_t shared, const HeadRows<const T>& from, int first) {
  using Row = HeadRow<Head>;
  constexpr int kStep = Threads / Row::kSlabChunks;  // rows between a thread's chunks, whole periods of the swizzle
  static_assert(kStep % 8 == 0 && Rows % kStep == 0, "every thread has the same chunks of every tile");
  const int thread = ptx::thread(), row = thread / Row::kSlabChunks, chunk = thread % Row::kSlabChunks;
  const uint32_t place = shared + static_cast<uint32_t>(row * Row::kBytes + (chunk ^ Row::swizzle(row)) * 16);
  const T* at = from.data + (first + row) * from.stride + chunk * 8;
  const int rows = from.rows - first - row, elements = from.D - chunk * 8;
#pragma unroll
  for (int i = 0; i < Rows / kStep; ++i) {
#pragma unroll
    for (int s = 0; s < Row::kSlabs; ++s)
      move_chunk(place + i * kStep * Row::kBytes + s * Row::kSlabBytes, at + s * Row::kSlabChunks * 8,
                 i * kStep < rows && s * Row::kSlabChunks * 8 < elements);
    at += kStep * from.stride;
  }
}

// The same of tiles that exist whole, in a loop: where a thread's chunks are is found once, before it.
template <int Head, int Rows, int Threads, class T>
class WholeRows {
  using Row = HeadRow<Head>;
  static constexpr int kStep = Threads / Row::kSlabChunks;
  static_assert(kStep % 8 == 0 && Rows % kStep == 0, "every thread has the same chunks of every tile");

 public:
  __device__ WholeRows(const HeadRows<const T>& from, int thread) : stride_(from.stride) {
    const int row = thread / Row::kSlabChunks, chunk = thread % Row::kSlabChunks;
    place_ = static_cast<uint32_t>(row * Row::kBytes + (chunk ^ Row::swizzle(row)) * 16);
    at_ = from.data + row * from.stride + chunk * 8;
    elements_ = from.D - chunk * 8;
    asm("" : "+l"(at_));  // or the compiler multiplies by row + first, in every turn
  }
  // The tile of rows from `first` on; if it is not `wanted`, zeros, without a branch.
  __device__ void load(uint32_t shared, int first, bool wanted) const {
    const T* at = at_ + static_cast<uint64_t>(static_cast<uint32_t>(first)) * static_cast<uint64_t>(stride_);
#pragma unroll
    for (int i = 0; i < Rows / kStep; ++i) {
#pragma unroll
      for (int s = 0; s < Row::kSlabs; ++s)
        move_chunk(shared + place_ + i * kStep * Row::kBytes + s * Row::kSlabBytes, at + s * Row::kSlabChunks * 8,
                   wanted && s * Row::kSlabChunks * 8 < elements_);
      at += kStep * stride_;
    }
  }

 private:
  const T* at_;
  int64_t stride_;
  uint32_t place_;
  int elements_;
};

// Fragments (ptx/matrix.cuh) of such tiles.
enum class Operand {
  a,        // 16 rows x 16 elements, A: m along rows
  b,        // 16 rows x 16 elements, two Bs of 8 columns: n along rows, k along elements
  b_across  // 16 rows x 16 elements, two Bs of 8 columns: k along rows, n along elements
};
template <int Head, Operand Kind>
class HeadFragments {
  using Row = HeadRow<Head>;

 public:
  // Of the rows from `first`, a multiple of 16, on.
  __device__ explicit HeadFragments(int first, int lane = ptx::lane()) {
    const int row = first + (Kind == Operand::b ? lane / 16 * 8 + lane % 8 : lane % 16);
    const int half = Kind == Operand::b ? lane / 8 % 2 : lane / 16;
    place_ = static_cast<uint32_t>(row * Row::kBytes + (half ^ Row::swizzle(row)) * 16);
  }
  // The i-th 16 rows, elements [16 c, 16 c + 16).
  __device__ void read(uint32_t (&r)[4], uint32_t tile, int i, int c) const {
    const uint32_t at = ((tile + place_) ^ static_cast<uint32_t>(2 * c % Row::kSlabChunks * 16)) +
                        static_cast<uint32_t>(2 * c / Row::kSlabChunks * Row::kSlabBytes + i * 16 * Row::kBytes);
    if constexpr (Kind == Operand::b_across)
      ptx::load_transposed(r, at);
    else
      ptx::load_matrices(r, at);
  }

 private:
  uint32_t place_;
};

// A warp's accumulators of 16 rows, the first of them row `first` of `to`: times `factor`, and what is there added.
template <int Head, class T>
__device__ inline void scale_rows(float (&x)[Head / 8][4], float factor, int first, const HeadRows<T>& to, bool accumulate) {
#pragma unroll
  for (int j = 0; j < Head / 8; ++j)
#pragma unroll
    for (int e = 0; e < 4; ++e) x[j][e] *= factor;
  if (!accumulate) return;
  const int lane = ptx::lane();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int r = first + half * 8 + lane / 4;
    if (r >= to.rows) continue;
    const T* from = to.data + r * to.stride + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < Head / 8; ++j) {
      if (j * 8 >= to.D) continue;
      const auto before = load_vector<T, 2>(from + j * 8);
      x[j][2 * half] += to_float(before.x[0]);
      x[j][2 * half + 1] += to_float(before.x[1]);
    }
  }
}
// They, rounded, to rows first, first + 1, ... of a tile, from which whole chunks go to global memory.
template <class T, int Head>
__device__ inline void keep_rows(uint32_t tile, int first, const float (&x)[Head / 8][4], float upper = 1, float lower = 1) {
  using Row = HeadRow<Head>;
  const int lane = ptx::lane(), row = first + lane / 4;
  const uint32_t at = tile + static_cast<uint32_t>(row * Row::kBytes + lane % 4 * 4);
#pragma unroll
  for (int j = 0; j < Head / 8; ++j) {
    const uint32_t place =
        at + static_cast<uint32_t>(j / Row::kSlabChunks * Row::kSlabBytes + (j % Row::kSlabChunks ^ Row::swizzle(row)) * 16);
    ptx::store_word(place, pack<T>(x[j][0] * upper, x[j][1] * upper));
    ptx::store_word(place + 8 * Row::kBytes, pack<T>(x[j][2] * lower, x[j][3] * lower));
  }
}
// The first Rows rows of a tile to rows first, first + 1, ... of `to`, by one warp.
template <int Head, int Rows, class T>
__device__ inline void write_rows(const unsigned char* tile, int first, const HeadRows<T>& to) {
  using Row = HeadRow<Head>;
  constexpr int kStep = 32 / Row::kSlabChunks;
  const int lane = ptx::lane(), chunk = lane % Row::kSlabChunks;
#pragma unroll 1
  for (int r = lane / Row::kSlabChunks; r < Rows; r += kStep) {
    if (first + r >= to.rows) break;
#pragma unroll
    for (int s = 0; s < Row::kSlabs; ++s) {
      const int d = (s * Row::kSlabChunks + chunk) * 8;
      if (d < to.D)
        store_vector(
            to.data + (first + r) * to.stride + d,
            load_vector(reinterpret_cast<const T*>(tile + r * Row::kBytes + s * Row::kSlabBytes + (chunk ^ Row::swizzle(r)) * 16)));
    }
  }
}

}  // namespace heddle::cuda
