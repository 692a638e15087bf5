// Rows of a table by token id: out[i] = table[ids[i]] (+ positions[first + i % T]).
#include "common/row.cuh"
#include "kernels.h"
#include "runtime/launch.cuh"

namespace heddle::cuda {
namespace {

// A warp per row of the output. An id outside the table is noted, and its row is 0.
template <class T, int V>
__global__ void __launch_bounds__(32 * kRowWarps, 4) embedding_rows(EmbeddingArgs a, Fault* fault) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / 32;
  if (i >= a.n) return;
  const int lane = threadIdx.x % 32;
  const int32_t id = a.ids[i];
  const bool known = id >= 0 && id < a.V;
  if (!known && lane == 0) report(fault, FaultKind::embedding_id, i, id, a.V);
  const T* row = known ? static_cast<const T*>(a.table) + id * a.C : nullptr;
  const T* position = a.positions ? static_cast<const T*>(a.positions) + (a.first + i % a.T) * a.C : nullptr;
  T* out = static_cast<T*>(a.out) + i * a.C;
#pragma unroll 4
  for (int64_t column = lane * V; column < a.C; column += 32 * V) {
    Vector<T, V> part = load_if<V>(row, row + column);
    if (position) {
      const Vector<T, V> other = load_vector<T, V>(position + column);
#pragma unroll
      for (int k = 0; k < V; ++k) part.x[k] = from_float<T>(to_float(part.x[k]) + to_float(other.x[k]));
    }
    store_vector<T, V>(out + column, part);
  }
}

}  // namespace

void embedding(const EmbeddingArgs& a) {
  if (a.n == 0 || a.C == 0) return;
  dispatch_float(a.type, [&](auto type) {
    using T = decltype(type);
    dispatch_block_row<T>(rows_aligned<T>(a.C, a.table, a.positions, a.out), [&](auto v) {
      launch("embedding_rows", embedding_rows<T, v()>, warp_row_blocks(a.n), 32 * kRowWarps, 0, a, queue().fault);
    });
  });
}

}  // namespace heddle::cuda
