// Rows of a table by token id: out[i] = table[ids[i]] (+ positions[first + i % T]).
#include "common/row.cuh"
#include "kernels.h"
#include "runtime/launch.cuh"

namespace heddle::cuda {
namespace {

constexpr int kThreads = 128;

// A thread per vector of the output. An id outside the table is noted, and its row is 0.
template <class T, int V>
__global__ void __launch_bounds__(kThreads) embedding_rows(EmbeddingArgs a, Fault* fault) {
  const int64_t item = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x, parts = a.C / V, i = item / parts;
  if (i >= a.n) return;
  const int64_t column = item % parts * V;
  const int32_t id = a.ids[i];
  const bool known = id >= 0 && id < a.V;
  Vector<T, V> out{};
  if (known)
    out = load_vector<T, V>(static_cast<const T*>(a.table) + id * a.C + column);
  else if (column == 0)
    report(fault, FaultKind::embedding_id, i, id, a.V);
  if (a.positions) {
    const Vector<T, V> position = load_vector<T, V>(static_cast<const T*>(a.positions) + (a.first + i % a.T) * a.C + column);
#pragma unroll
    for (int j = 0; j < V; ++j) out.x[j] = from_float<T>(to_float(out.x[j]) + to_float(position.x[j]));
  }
  store_vector<T, V>(static_cast<T*>(a.out) + i * a.C + column, out);
}

}  // namespace

void embedding(const EmbeddingArgs& a) {
  if (a.n == 0 || a.C == 0) return;
  dispatch_float(a.type, [&](auto type) {
    using T = decltype(type);
    dispatch_block_row<T>(rows_aligned<T>(a.C, a.table, a.positions, a.out), [&](auto v) {
      launch("embedding_rows", embedding_rows<T, v()>, blocks_for(a.n * (a.C / v()), kThreads), kThreads, 0, a, queue().fault);
    });
  });
}

}  // namespace heddle::cuda
