// Reductions over any strides. The reduced range is cut into chunks of a fixed size; each chunk's result goes to scratch and
// the chunks are combined in their order, so the work of one long reduction is shared and its bits depend on the shape alone.
// Two inner loops: along one output's elements (a row), or across neighbouring outputs (columns) where those lie side by side.
#include "cpu/kernels.h"
#include "cpu/output.h"
#include "cpu/rows.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int64_t kRowChunk = 16384;                      // elements of one output that one item reduces
constexpr int64_t kColumnChunk = 256;                     // rows that one item reduces
constexpr int64_t kMinColumns = 256, kMaxColumns = 2048;  // outputs that one item of column work holds
constexpr int64_t kColumnPath = 8;                        // neighbouring outputs from which on columns pay
constexpr int kGroup = 8;                                 // rows added in registers before the sum goes to memory

// Dimensions without those of size 1, neighbours that lie one behind the other merged.
struct Dims {
  int rank = 0;
  int64_t shape[kMaxRank], stride[kMaxRank];

  void append(int64_t size, int64_t step) {
    if (size == 1) return;
    if (rank && stride[rank - 1] == size * step) {
      shape[rank - 1] *= size;
      stride[rank - 1] = step;
    } else {
      shape[rank] = size;
      stride[rank++] = step;
    }
  }
  int64_t count() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[i];
    return n;
  }
  int64_t last_size() const { return rank ? shape[rank - 1] : 1; }
  int64_t last_stride() const { return rank ? stride[rank - 1] : 1; }
  int64_t offset(int64_t index) const {
    int64_t at = 0;
    for (int i = rank - 1; i >= 0; --i) {
      at += index % shape[i] * stride[i];
      index /= shape[i];
    }
    return at;
  }
};

// f(offset, n, index) for the runs of elements index .. index + n, last_stride() apart, that make up [low, high).
template <class F>
void each_run(const Dims& d, int64_t low, int64_t high, F&& f) {
  const int64_t size = d.last_size();
  while (low < high) {
    const int64_t left = size - low % size, n = left < high - low ? left : high - low;
    f(d.offset(low), n, low);
    low += n;
  }
}

// What a reduction has found so far. `index` matters to argmax and argmin, the value of a sum or mean is the sum.
struct Found {
  double value = 0;
  int64_t index = -1;
};

bool is_sum(Reduce k) { return k == Reduce::sum || k == Reduce::mean; }
bool is_min(Reduce k) { return k == Reduce::min || k == Reduce::argmin; }
bool is_arg(Reduce k) { return k == Reduce::argmax || k == Reduce::argmin; }

// Whether v beats `best`: NaN beats every number, nothing beats NaN, equals leave the earlier one.
template <bool min>
bool beats(double v, double best) {
  if (best != best) return false;
  return v != v || (min ? v < best : v > best);
}
template <bool min>
vi beats(vf v, vf best) {
  return (best == best) & ((v != v) | (min ? v < best : v > best));
}

void merge(Reduce kind, Found& best, double value, int64_t index) {
  if (is_sum(kind)) {
    best.value += value;
    best.index = index;
  } else if (best.index < 0 || (is_min(kind) ? beats<true>(value, best.value) : beats<false>(value, best.value))) {
    best = {value, index};
  }
}

HEDDLE_ROW_KERNEL double dense_sum(const float* x, int64_t size) {
  return sum_of(size, [&](int64_t i, int n) {
    fetch(x + i);
    return load_n(x + i, n);
  });
}

template <bool min>
HEDDLE_ROW_KERNEL float dense_extreme(const float* x, int64_t size) {
  const vf none = splat(min ? __builtin_inff() : -__builtin_inff());
  vf best[NV];
  for (int j = 0; j < NV; ++j) best[j] = none;
  each_partial(size, [&](int64_t i, int j, int n) {
    const vf v = first_n(load_n(x + i, n), n, none);
    best[j] = select(beats<min>(v, best[j]), v, best[j]);
  });
  vi unordered{};
  for (int j = 0; j < NV; ++j) unordered = unordered | (best[j] != best[j]);
  for (int w = NV / 2; w; w /= 2)
    for (int j = 0; j < w; ++j) best[j] = select(beats<min>(best[j + w], best[j]), best[j + w], best[j]);
  if (lane_max(select(unordered != 0, splat(1.0f), vf{})) != 0) return __builtin_nanf("");
  return min ? -lane_max(-best[0]) : lane_max(best[0]);
}

int64_t first_equal(const float* x, float value) {  // the first NaN for NaN
  int64_t i = 0;
  if (value != value) {
    while (x[i] == x[i]) ++i;
  } else {
    while (x[i] != value) ++i;
  }
  return i;
}

// One output's elements [low, high).
Found reduce_row(Reduce kind, const float* x, const Dims& d, int64_t low, int64_t high) {
  Found best;
  each_run(d, low, high, [&](int64_t offset, int64_t n, int64_t index) {
    const float* p = x + offset;
    const int64_t stride = d.last_stride();
    if (is_sum(kind)) {
      double sum = 0;
      if (stride == 1)
        sum = dense_sum(p, n);
      else
        for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(p[i * stride]);
      merge(kind, best, sum, index);
    } else if (stride != 1) {
      for (int64_t i = 0; i < n; ++i) merge(kind, best, p[i * stride], index + i);
    } else {
      const float v = is_min(kind) ? dense_extreme<true>(p, n) : dense_extreme<false>(p, n);
      merge(kind, best, v, index + (is_arg(kind) ? first_equal(p, v) : 0));
    }
  });
  return best;
}

// sum[c] += the sum of R rows, added pairwise.
template <int R>
HEDDLE_ROW_KERNEL void add_rows(const float* x, int64_t stride, int64_t cols, float* sum) {
  each_vector(cols, [&](int64_t c, int n) {
    vf v[R];
    for (int r = 0; r < R; ++r) {
      v[r] = load_n(x + r * stride + c, n);
      __builtin_prefetch(x + (r + R) * stride + c);
    }
    for (int w = R / 2; w; w /= 2)
      for (int r = 0; r < w; ++r) v[r] = v[r] + v[r + w];
    store_n(sum + c, load_n(sum + c, n) + v[0], n);
  });
}

template <bool min>
void best_of_row(const float* x, int64_t cols, float* best, int32_t* at, int32_t index) {
  each_vector(cols, [&](int64_t c, int n) {
    const vf v = load_n(x + c, n), old = load_n(best + c, n);
    const vi wins = beats<min>(v, old);
    float* indices = reinterpret_cast<float*>(at) + c;
    store_n(best + c, select(wins, v, old), n);
    store_n(indices, bits_to_float(wins ? vi{} + index : float_to_bits(load_n(indices, n))), n);
  });
}

struct Columns {
  alignas(64) float value[kMaxColumns];
  alignas(64) int32_t index[kMaxColumns];
};

// `cols` neighbouring outputs at once, elements [low, high) of each.
void reduce_columns(Reduce kind, const float* x, const Dims& d, int64_t low, int64_t high, int64_t cols, Columns& out) {
  const int64_t stride = d.last_stride();
  if (is_sum(kind)) {
    for (int64_t c = 0; c < cols; ++c) out.value[c] = 0;
    each_run(d, low, high, [&](int64_t offset, int64_t n, int64_t) {
      int64_t i = 0;
      for (; i + kGroup <= n; i += kGroup) add_rows<kGroup>(x + offset + i * stride, stride, cols, out.value);
      for (; i < n; ++i) add_rows<1>(x + offset + i * stride, stride, cols, out.value);
    });
    return;
  }
  const float* first = x + d.offset(low);
  for (int64_t c = 0; c < cols; ++c) {
    out.value[c] = first[c];
    out.index[c] = static_cast<int32_t>(low);
  }
  each_run(d, low + 1, high, [&](int64_t offset, int64_t n, int64_t index) {
    for (int64_t i = 0; i < n; ++i) {
      const float* row = x + offset + i * stride;
      if (is_min(kind))
        best_of_row<true>(row, cols, out.value, out.index, static_cast<int32_t>(index + i));
      else
        best_of_row<false>(row, cols, out.value, out.index, static_cast<int32_t>(index + i));
    }
  });
}

struct Plan {
  Reduce kind;
  const float* x;
  Dims kept, reduced;
  int64_t outputs, count, chunks;
  bool accumulate;
  void* out;
  float *values, *indices;  // [chunks][outputs], when there are several chunks; indices hold i32

  void finish(int64_t output, const Found& f) const {
    if (is_arg(kind)) {
      static_cast<int32_t*>(out)[output] = static_cast<int32_t>(f.index);
      return;
    }
    float* to = static_cast<float*>(out) + output;
    const float v = static_cast<float>(kind == Reduce::mean ? f.value / static_cast<double>(count) : f.value);
    *to = accumulate && is_sum(kind) ? *to + v : v;
  }
  void put(int64_t chunk, int64_t output, const Found& f) const {
    if (chunks == 1) return finish(output, f);
    values[chunk * outputs + output] = static_cast<float>(f.value);
    const int32_t index = static_cast<int32_t>(f.index);
    if (is_arg(kind)) __builtin_memcpy(indices + chunk * outputs + output, &index, sizeof index);
  }
  void set_chunks(int64_t size) {
    chunks = (count + size - 1) / size;
    if (chunks == 1) return;
    const auto n = static_cast<size_t>(chunks * outputs);
    values = pool_scratch(0, n);
    if (is_arg(kind)) indices = pool_scratch(1, n);
  }
  void combine() const {
    if (chunks == 1) return;
    parallel_range(outputs, 1024, [&](int64_t low, int64_t high) {
      for (int64_t o = low; o < high; ++o) {
        Found best;
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
          int32_t index = 0;
          if (is_arg(kind)) __builtin_memcpy(&index, indices + chunk * outputs + o, sizeof index);
          merge(kind, best, values[chunk * outputs + o], index);
        }
        finish(o, best);
      }
    });
  }
};

void along_rows(Plan& p) {
  p.set_chunks(kRowChunk);
  const int64_t size = p.count < kRowChunk ? p.count : kRowChunk;
  parallel_range(p.outputs * p.chunks, kRowChunk / size, [&](int64_t low, int64_t high) {
    for (int64_t i = low; i < high; ++i) {
      const int64_t output = i / p.chunks, chunk = i % p.chunks, from = chunk * kRowChunk;
      const int64_t to = from + kRowChunk < p.count ? from + kRowChunk : p.count;
      p.put(chunk, output, reduce_row(p.kind, p.x + p.kept.offset(output), p.reduced, from, to));
    }
  });
  p.combine();
}

void along_columns(Plan& p) {
  p.set_chunks(kColumnChunk);
  const int64_t inner = p.kept.last_size(), rows = p.count < kColumnChunk ? p.count : kColumnChunk;
  int64_t cols = kColumnChunk * kMinColumns / rows;  // the same work per item whether there are many rows or few
  if (cols > kMaxColumns) cols = kMaxColumns;
  const int64_t blocks = (inner + cols - 1) / cols;
  parallel(p.outputs / inner * blocks * p.chunks, [&](int64_t item) {
    const int64_t block = item % blocks, chunk = item / blocks % p.chunks, outer = item / blocks / p.chunks;
    const int64_t first = outer * inner + block * cols, n = block * cols + cols < inner ? cols : inner - block * cols;
    const int64_t from = chunk * kColumnChunk, to = from + kColumnChunk < p.count ? from + kColumnChunk : p.count;
    Columns found;
    reduce_columns(p.kind, p.x + p.kept.offset(first), p.reduced, from, to, n, found);
    for (int64_t c = 0; c < n; ++c) p.put(chunk, first + c, {found.value[c], is_arg(p.kind) ? found.index[c] : 0});
  });
  p.combine();
}

}  // namespace

void reduce(const ReduceArgs& a) {
  Plan p{a.kind, static_cast<const float*>(a.x.data), {}, {}, 0, 0, 1, a.accumulate, a.out, nullptr, nullptr};
  for (int i = 0; i < a.x.rank; ++i) (i < a.kept ? p.kept : p.reduced).append(a.x.shape[i], a.x.stride[i]);
  p.outputs = p.kept.count();
  p.count = p.reduced.count();
  if (p.outputs == 0) return;
  if (p.count == 0) {  // max and min of nothing do not get here
    for (int64_t o = 0; o < p.outputs; ++o) p.finish(o, Found{});
  } else if (p.kept.last_stride() == 1 && p.kept.last_size() >= kColumnPath && (p.count == 1 || p.reduced.last_stride() != 1)) {
    along_columns(p);
  } else {
    along_rows(p);
  }
}

void column_sum(const ColumnSumArgs& a) {
  ReduceArgs r{Reduce::sum, {const_cast<void*>(a.x), DType::f32, 2, {a.cols, a.rows}, {1, a.cols}}, 1, a.out, a.accumulate, nullptr};
  reduce(r);
}

}  // namespace heddle::cpu::HEDDLE_ISA
