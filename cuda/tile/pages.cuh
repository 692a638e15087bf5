#pragma once
// Tiles of heads whose rows lie in pages: row r of a sequence is position r % size of page table[r / size]. The rest as in heads.cuh.
#include "runtime/fault.h"
#include "tile/heads.cuh"

namespace heddle::cuda {

struct PageTable {
  const int32_t* table;  // [sequences][columns]
  int64_t columns;
  int shift, count;  // log2 of a page's rows; pages there are
  Fault* fault;

  // Notes the i-th entry of a sequence if it is no page; whoever reads rows takes page 0 for it.
  __device__ void check(int sequence, int i) const {
    const int64_t at = sequence * columns + i;
    const int32_t number = table[at];
    if (number < 0 || number >= count) report(fault, FaultKind::page, at, number, count);
  }
};

// One head's rows of one sequence.
template <class T>
struct PagedRows {
  T* data;               // of the head, in page 0
  const int32_t* table;  // of the sequence
  int64_t page, stride;  // from one page, one row to the next
  int shift, count, rows, D;

  // Row r, which exists.
  __device__ T* row(int r) const {
    const int32_t number = table[r >> shift];
    const int32_t known = static_cast<uint32_t>(number) < static_cast<uint32_t>(count) ? number : 0;
    return data + known * page + (r & ((1 << shift) - 1)) * stride;
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
    const int r = first + row + i * kStep;
    const bool exists = r < from.rows;
    const T* const at = (exists ? from.row(r) : from.data) + chunk * 8;
#pragma unroll
    for (int s = 0; s < Row::kSlabs; ++s)
      move_chunk(place + i * kStep * Row::kBytes + s * Row::kSlabBytes, at + s * Row::kSlabChunks * 8,
                 exists && s * Row::kSlabChunks * 8 < elements);
  }
}

}  // namespace heddle::cuda
