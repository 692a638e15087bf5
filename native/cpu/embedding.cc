// Rows of a table by token id, and the gradient of the table.
#include "core/error.h"
#include "cpu/kernels.h"
#include "cpu/output.h"
#include "cpu/rows.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int64_t kClear = 1 << 16;  // elements that one item clears

void check_ids(const int32_t* ids, int64_t n, int64_t V) {
  for (int64_t i = 0; i < n; ++i) {
    if (ids[i] >= 0 && ids[i] < V) continue;
    char message[128];
    __builtin_snprintf(message, sizeof message, "embedding: ids[%lld] must be within [0, %lld), got %d", static_cast<long long>(i),
                       static_cast<long long>(V), ids[i]);
    throw_op_error(message);
  }
}

// Columns that one item owns in the backward pass: at most 16 items, none narrower than two cache lines.
int64_t columns_per_item(int64_t C) {
  const int64_t share = (C / 16 + kPartials - 1) / kPartials * kPartials;
  return share < kPartials ? kPartials : share;
}

}  // namespace

void embedding(const EmbeddingArgs& a) {
  check_ids(a.ids, a.n, a.V);
  const int64_t C = a.C;
  const bool past = past_caches(a.n * C * 4);
  parallel_range(a.n, rows_per_item(C), [&](int64_t low, int64_t high) {
    for (int64_t i = low; i < high; ++i) {
      const float* row = f32(a.table) + a.ids[i] * C;
      float* out = f32(a.out) + i * C;
      const float* position = a.positions ? f32(a.positions) + (a.first + i % a.T) * C : nullptr;
      const float* next = i + 1 < high ? f32(a.table) + a.ids[i + 1] * C : row;
      const auto element = [&](int64_t c, int n) {
        __builtin_prefetch(next + c);
        const vf v = load_n(row + c, n);
        return position ? v + load_n(position + c, n) : v;
      };
      write_vectors(past, out, C, element);
    }
  });
}

// An item owns some columns of the whole table: every element has one writer, which adds in order of i, and the work is
// even however often an id occurs.
void embedding_backward(const EmbeddingBackwardArgs& a) {
  check_ids(a.ids, a.n, a.V);
  const int64_t C = a.C;
  if (!a.accumulate) {
    const bool past = past_caches(a.V * C * 4);
    parallel_range(a.V * C, kClear,
                   [&](int64_t low, int64_t high) { write_vectors(past, a.dtable + low, high - low, [](int64_t, int) { return vf{}; }); });
  }
  parallel_range(C, columns_per_item(C), [&](int64_t low, int64_t high) {
    for (int64_t i = 0; i < a.n; ++i) {
      const float* dy = f32(a.dy) + i * C + low;
      float* to = a.dtable + a.ids[i] * C + low;
      each_vector(high - low, [&](int64_t c, int n) { store_n(to + c, load_n(to + c, n) + load_n(dy + c, n), n); });
    }
  });
}

}  // namespace heddle::cpu::HEDDLE_ISA
