// Copies with conversion between arrays of any strides. Where one side is dense along another dimension than the other, tiles
// are turned in shared memory, so that both sides are read and written in whole vectors.
#include "common/convert.cuh"
#include "common/strided.cuh"
#include "kernels.h"

namespace heddle::cuda {
namespace {

constexpr int64_t kShortest = 8;  // sides from which on a tile pays

template <class To, class From, int V>
__global__ void __launch_bounds__(kThreads) copy_kernel(const __grid_constant__ Strided<2> s, To* dst, const From* src) {
  const uint32_t item = blockIdx.x * kThreads + threadIdx.x;
  if (item >= s.items) return;
  const Place<2> p = place<V>(s, item);
  if (p.vector) {
    const Vector<From, V> x = fetch<From, V>(src + p.at[1], s.row_stride[1]);
    Vector<To, V> y;
#pragma unroll
    for (int j = 0; j < V; ++j) y.x[j] = convert<To>(x.x[j]);
    store_vector<To, V>(dst + p.at[0], y);
  } else {
    dst[p.at[0]] = convert<To>(src[p.at[1]]);
  }
}

struct Turn {
  uint32_t width, height;      // of dst's rows; of the dimension along which src is dense
  int64_t dst_step, src_step;  // dst along the height, src along the width
  Divider tiles_x, tiles_y;
  Outer<2> outer;
};

// A square of elements on their way through shared memory, where row y has 32 words, each of kWord neighbours along x. Both sides move V
// elements at a time: a thread takes kWord vectors along y, of neighbouring x, and has a word of each of V rows; it gives vectors along x.
// V words, a unit, keep together, and unit u of row y lies at u ^ y / V: the words that a warp writes, and the vectors that it reads, fall
// into different banks.
template <class To, int V>
struct TurnedTile {
  static constexpr int kWord = V > 1 ? 4 / sizeof(To) : 1, kSide = 32 * kWord;
  static constexpr int kUnits = kSide / V, kUnitWords = V / kWord;  // of a row; words of a unit
  struct alignas(4) Word {
    To x[kWord];
  };
  Word words[kSide][32];

  __device__ Word* unit(int y, int u) { return words[y] + (u ^ y / V % kUnits) * kUnitWords; }
  __device__ Word& word(int y, int i) { return unit(y, i / kUnitWords)[i % kUnitWords]; }
};

// V elements, or the first n of them where there are fewer.
template <class T, int V>
__device__ Vector<T, V> load_first(const T* p, uint32_t n) {
  if (n >= V) return load_vector<T, V>(p);
  Vector<T, V> v{};
#pragma unroll
  for (int j = 0; j < V; ++j)
    if (j < n) v.x[j] = p[j];
  return v;
}
template <class T, int V>
__device__ void store_first(T* p, const Vector<T, V>& v, uint32_t n) {
  if (n >= V) return store_vector<T, V>(p, v);
#pragma unroll
  for (int j = 0; j < V; ++j)
    if (j < n) p[j] = v.x[j];
}

// V > 1: both sides are aligned to vectors.
template <class To, class From, int V>
__global__ void __launch_bounds__(kThreads) transpose_kernel(const __grid_constant__ Turn t, To* dst, const From* src) {
  using Tile = TurnedTile<To, V>;
  __shared__ __align__(16) Tile tile;
  const uint32_t rest = t.tiles_x.divide(blockIdx.x), x0 = (blockIdx.x - rest * t.tiles_x.divisor) * Tile::kSide;
  const uint32_t outer = t.tiles_y.divide(rest), y0 = (rest - outer * t.tiles_y.divisor) * Tile::kSide;
  int64_t at[2] = {0, 0};
  t.outer.add(outer, at);
#pragma unroll
  for (int item = threadIdx.x; item < 32 * Tile::kUnits; item += kThreads) {
    const int i = item / Tile::kUnits, u = item % Tile::kUnits;
    const uint32_t y = y0 + u * V;
    Vector<From, V> from[Tile::kWord]{};
#pragma unroll
    for (int w = 0; w < Tile::kWord; ++w) {
      const uint32_t x = x0 + i * Tile::kWord + w;
      const From* const p = src + at[1] + x * t.src_step + y;
      if (x < t.width && y < t.height) from[w] = load_first<From, V>(p, t.height - y);
    }
#pragma unroll
    for (int j = 0; j < V; ++j) {
      typename Tile::Word word;
#pragma unroll
      for (int w = 0; w < Tile::kWord; ++w) word.x[w] = convert<To>(from[w].x[j]);
      tile.word(u * V + j, i) = word;
    }
  }
  __syncthreads();
#pragma unroll
  for (int item = threadIdx.x; item < Tile::kSide * Tile::kUnits; item += kThreads) {
    const int row = item / Tile::kUnits, u = item % Tile::kUnits;
    const uint32_t x = x0 + u * V, y = y0 + row;
    if (x >= t.width || y >= t.height) continue;
    store_first(dst + at[0] + y * t.dst_step + x, load_vector<To, V>(tile.unit(row, u)->x), t.width - x);
  }
}

// The dimension along which src is dense when tiles pay, or 0.
int turned_dimension(const Nest<2>& nest) {
  if (nest.stride[0][0] != 1 || nest.stride[1][0] == 1 || nest.stride[1][0] == 0 || nest.shape[0] < kShortest) return 0;
  for (int d = 1; d < nest.rank; ++d)
    if (nest.stride[1][d] == 1 && nest.shape[d] >= kShortest) return d;
  return 0;
}

// Whether vectors of V elements along dimension d of array i lie at multiples of their size.
bool aligned(const Nest<2>& nest, int i, int d, const void* data, size_t bytes, int V) {
  bool all = (reinterpret_cast<uintptr_t>(data) / bytes + nest.offset[i]) % V == 0;
  for (int other = 0; other < nest.rank; ++other) all = all && (other == d || nest.stride[i][other] % V == 0);
  return all;
}

template <class To, class From, int V>
void transpose(const Nest<2>& part, int d, const CopyArgs& a) {
  constexpr uint32_t kSide = TurnedTile<To, V>::kSide;
  Turn t{};
  t.width = static_cast<uint32_t>(part.shape[0]);
  t.height = static_cast<uint32_t>(part.shape[d]);
  t.dst_step = part.stride[0][d];
  t.src_step = part.stride[1][0];
  t.tiles_x = Divider((t.width + kSide - 1) / kSide);
  t.tiles_y = Divider((t.height + kSide - 1) / kSide);
  t.outer = outer_of(part, d);
  const int64_t outer = part.elements() / part.shape[0] / part.shape[d];
  const auto blocks = static_cast<unsigned>(outer * t.tiles_x.divisor * t.tiles_y.divisor);
  launch("copy_transpose", transpose_kernel<To, From, V>, blocks, kThreads, 0, t, static_cast<To*>(a.dst.data) + part.offset[0],
         static_cast<const From*>(a.src.data) + part.offset[1]);
}

template <class To, class From>
void run(const CopyArgs& a) {
  constexpr int V = 16 / (sizeof(To) > sizeof(From) ? sizeof(To) : sizeof(From)), kTurned = 16 / sizeof(To);
  constexpr bool turns = std::is_same_v<To, From> || (kIsFloat<To> && kIsFloat<From>);
  const Nest<2> nest({&a.dst, &a.src});
  if constexpr (turns)
    if (const int d = turned_dimension(nest))
      return nest.each_part(kPart, [&](const Nest<2>& part) {
        aligned(part, 0, 0, a.dst.data, sizeof(To), kTurned) && aligned(part, 1, d, a.src.data, sizeof(From), kTurned)
            ? transpose<To, From, kTurned>(part, d, a)
            : transpose<To, From, 1>(part, d, a);
      });
  each_strided(V, nest, {a.dst.data, a.src.data}, {sizeof(To), sizeof(From)}, [&](const Strided<2>& s, const int64_t (&offset)[2]) {
    launch("copy", copy_kernel<To, From, V>, blocks_for(s.items, kThreads), kThreads, 0, s, static_cast<To*>(a.dst.data) + offset[0],
           static_cast<const From*>(a.src.data) + offset[1]);
  });
}

}  // namespace

void copy(const CopyArgs& a) {
  if (a.src.dtype == a.dst.dtype) {  // bits
    const size_t size = size_of(a.dst.dtype);
    return size == 4 ? run<uint32_t, uint32_t>(a) : size == 2 ? run<uint16_t, uint16_t>(a) : run<uint8_t, uint8_t>(a);
  }
  dispatch_any(a.dst.dtype, [&](auto to) {
    dispatch_any(a.src.dtype, [&](auto from) {
      if constexpr (!std::is_same_v<decltype(to), decltype(from)>) run<decltype(to), decltype(from)>(a);
    });
  });
}

}  // namespace heddle::cuda
