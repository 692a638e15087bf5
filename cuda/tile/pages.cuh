#pragma once
// Tiles of heads whose rows lie in pages: row r of a sequence is position r % size of page table[r / size]. The rest as in heads.cuh.
#include "runtime/fault.h"
#include "tile/heads.cuh"

namespace heddle::cuda {

// One head's rows of one sequence. An entry of the table that is no page is noted, and its rows are 0.
template <class T>
struct PagedRows {
  T* data;               // of the head, in page 0
  const int32_t* table;  // of all sequences
  int64_t entry;         // of the sequence's first page
  int64_t page, stride;  // from one page, one row to the next
  int shift, count;      // log2 of a page's rows; pages there are
  int rows, D;
  Fault* fault;

  // Row r, or null.
  __device__ T* row(int r) const {
    if (r >= rows) return nullptr;
    const int64_t at = entry + (r >> shift);
    const int32_t number = table[at];
    if (number < 0 || number >= count) {
      report(fault, FaultKind::page, at, number, count);
      return nullptr;
    }
    return data + number * page + (r & ((1 << shift) - 1)) * stride;
  }
};

// The tile of Rows rows from `first` on, which may lie in several pages.
template <int Head, int Rows, int Threads, class T>
__device__ inline void load_rows(uint32_t shared, const PagedRows<const T>& from, int first) {
  using Row = HeadRow<Head>;
  constexpr int kStep = Threads / Row::kSlabChunks;  // rows between a thread's chunks, whole periods of the swizzle
  static_assert(kStep % 8 == 0 && Rows % kStep == 0, "every thread has the same chunks of every tile");
  const int thread = ptx::thread(), row = thread / Row::kSlabChunks, chunk = thread % Row::kSlabChunks;
  const uint32_t place = shared + static_cast<uint32_t>(row * Row::kBytes + (chunk ^ Row::swizzle(row)) * 16);
  const int elements = from.D - chunk * 8;
#pragma unroll
  for (int i = 0; i < Rows / kStep; ++i) {
    const T* const there = from.row(first + row + i * kStep);
    const T* const at = (there ? there : from.data) + chunk * 8;
#pragma unroll
    for (int s = 0; s < Row::kSlabs; ++s)
      move_chunk(place + i * kStep * Row::kBytes + s * Row::kSlabBytes, at + s * Row::kSlabChunks * 8,
                 there && s * Row::kSlabChunks * 8 < elements);
  }
}

}  // namespace heddle::cuda
