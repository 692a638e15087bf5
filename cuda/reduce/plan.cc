#include "reduce/plan.h"

#include <algorithm>

namespace heddle::cuda {
namespace {

constexpr int64_t kColumnPath = 8;                            // neighbouring outputs from which on columns pay
constexpr int64_t kColumnsPerBlock = 128;                     // about: the chunks do not depend on the vector width
constexpr int64_t kRowItems = 2048, kColumnItems = 1024;      // items of work wanted, for any card
constexpr int64_t kShortestRow = 4096, kShortestColumn = 64;  // chunks that are still worth an item
constexpr int64_t kRowUnit = 1024, kColumnUnit = 8;           // chunks are multiples: whole vectors, whole rounds of warps

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

Walk walk_of(const View& x, int first, int last, bool sorted) {
  int order[kMaxRank], n = 0;
  for (int d = last - 1; d >= first; --d)
    if (x.shape[d] != 1) order[n++] = d;
  if (sorted) std::stable_sort(order, order + n, [&](int a, int b) { return std::abs(x.stride[a]) < std::abs(x.stride[b]); });
  Walk w;
  for (int i = 0; i < n; ++i) {
    const int64_t size = x.shape[order[i]], stride = x.stride[order[i]];
    if (w.rank && stride == w.stride[w.rank - 1] * w.size[w.rank - 1]) {
      w.size[w.rank - 1] *= size;
    } else {
      w.size[w.rank] = size;
      w.stride[w.rank++] = stride;
    }
  }
  if (w.rank == 0) {
    w.size[0] = w.stride[0] = 1;
    w.rank = 1;
  }
  for (int d = 0; d + 1 < w.rank; ++d)
    if (w.size[d] >= 1 && w.size[d] <= int64_t{1} << 31) w.divider[d] = Divider(static_cast<uint32_t>(w.size[d]));
  return w;
}

}  // namespace

ReducePlan plan_reduce(const ReduceArgs& a) {
  ReducePlan p{};
  p.arg = a.kind == Reduce::argmax || a.kind == Reduce::argmin;
  p.mean = a.kind == Reduce::mean;
  p.accumulate = a.accumulate && (p.mean || a.kind == Reduce::sum);
  p.out = a.out;
  p.kept = walk_of(a.x, 0, a.kept, false);
  p.reduced = walk_of(a.x, a.kept, a.x.rank, !p.arg);  // an index counts in the caller's order
  p.outputs = p.kept.count();
  p.count = p.reduced.count();
  p.columns = p.kept.stride[0] == 1 && p.kept.size[0] >= kColumnPath && (p.count == 1 || p.reduced.stride[0] != 1);
  if (p.outputs == 0 || p.count == 0) {
    p.columns = false;
    p.chunk = p.chunks = 1;
    return p;
  }
  const int64_t items = p.columns ? p.outputs / p.kept.size[0] * ceil_div(p.kept.size[0], kColumnsPerBlock) : p.outputs;
  const int64_t wanted = ceil_div(p.columns ? kColumnItems : kRowItems, items);
  const int64_t chunks = std::min(wanted, ceil_div(p.count, p.columns ? kShortestColumn : kShortestRow));
  const int64_t unit = p.columns ? kColumnUnit : kRowUnit;
  p.chunk = chunks == 1 ? p.count : ceil_div(ceil_div(p.count, chunks), unit) * unit;
  p.chunks = ceil_div(p.count, p.chunk);
  if (p.chunks > 1) {
    p.values = static_cast<float*>(a.workspace);
    p.indices = static_cast<int32_t*>(a.workspace) + p.chunks * p.outputs;
  }
  return p;
}

ReduceArgs as_reduce(const ColumnSumArgs& a) {
  const View x{const_cast<void*>(a.x), a.type, 2, {a.cols, a.rows}, {1, a.cols}};
  return {Reduce::sum, x, 1, a.out, a.accumulate, a.workspace};
}

size_t workspace_of(const ReducePlan& p) {
  if (p.chunks <= 1) return 0;
  return static_cast<size_t>(p.chunks * p.outputs) * (p.arg ? 2 : 1) * sizeof(float);
}

}  // namespace heddle::cuda
