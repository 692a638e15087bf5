// Copies with conversion between arrays of any strides. Where one side is dense along another dimension than the other, tiles
// of 32 x 32 elements are turned in shared memory, so that both sides are read and written in whole sectors.
#include "common/convert.cuh"
#include "common/strided.cuh"
#include "kernels.h"

namespace heddle::cuda {
namespace {

constexpr int kTile = 32, kTileRows = 8;  // a block of 32 x 8 threads takes four rows of a tile at a time
constexpr int64_t kShortest = 8;          // sides from which on a tile pays

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

template <class To, class From>
__global__ void __launch_bounds__(kTile* kTileRows) transpose_kernel(const __grid_constant__ Turn t, To* dst, const From* src) {
  struct alignas(4) Word {  // one bank per element; rows of 33 keep columns apart
    To x;
  };
  __shared__ Word tile[kTile][kTile + 1];
  const uint32_t rest = t.tiles_x.divide(blockIdx.x), x0 = (blockIdx.x - rest * t.tiles_x.divisor) * kTile;
  const uint32_t outer = t.tiles_y.divide(rest), y0 = (rest - outer * t.tiles_y.divisor) * kTile;
  int64_t at[2] = {0, 0};
  t.outer.add(outer, at);
#pragma unroll
  for (int r = 0; r < kTile; r += kTileRows) {
    const uint32_t x = x0 + threadIdx.y + r, y = y0 + threadIdx.x;
    if (x < t.width && y < t.height) tile[threadIdx.y + r][threadIdx.x].x = convert<To>(src[at[1] + x * t.src_step + y]);
  }
  __syncthreads();
#pragma unroll
  for (int r = 0; r < kTile; r += kTileRows) {
    const uint32_t x = x0 + threadIdx.x, y = y0 + threadIdx.y + r;
    if (x < t.width && y < t.height) dst[at[0] + y * t.dst_step + x] = tile[threadIdx.x][threadIdx.y + r].x;
  }
}

// The dimension along which src is dense when tiles pay, or 0.
int turned_dimension(const Nest<2>& nest) {
  if (nest.stride[0][0] != 1 || nest.stride[1][0] == 1 || nest.stride[1][0] == 0 || nest.shape[0] < kShortest) return 0;
  for (int d = 1; d < nest.rank; ++d)
    if (nest.stride[1][d] == 1 && nest.shape[d] >= kShortest) return d;
  return 0;
}

template <class To, class From>
void transpose(const Nest<2>& nest, const CopyArgs& a) {
  nest.each_part(kPart, [&](const Nest<2>& part) {
    const int d = turned_dimension(nest);
    Turn t{};
    t.width = static_cast<uint32_t>(part.shape[0]);
    t.height = static_cast<uint32_t>(part.shape[d]);
    t.dst_step = part.stride[0][d];
    t.src_step = part.stride[1][0];
    t.tiles_x = Divider((t.width + kTile - 1) / kTile);
    t.tiles_y = Divider((t.height + kTile - 1) / kTile);
    t.outer = outer_of(part, d);
    const int64_t outer = part.elements() / part.shape[0] / part.shape[d];
    const auto blocks = static_cast<unsigned>(outer * t.tiles_x.divisor * t.tiles_y.divisor);
    launch("copy_transpose", transpose_kernel<To, From>, blocks, dim3(kTile, kTileRows), 0, t,
           static_cast<To*>(a.dst.data) + part.offset[0], static_cast<const From*>(a.src.data) + part.offset[1]);
  });
}

template <class To, class From>
void run(const CopyArgs& a) {
  constexpr int V = 16 / (sizeof(To) > sizeof(From) ? sizeof(To) : sizeof(From));
  constexpr bool turns = std::is_same_v<To, From> || (kIsFloat<To> && kIsFloat<From>);
  const Nest<2> nest({&a.dst, &a.src});
  if constexpr (turns)
    if (turned_dimension(nest)) return transpose<To, From>(nest, a);
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
