// Reductions across neighbouring outputs that lie side by side: a warp reads whole rows of 32 V outputs, eight warps share the rows of
// a chunk.
#include "common/dense.cuh"
#include "reduce/state.cuh"

namespace heddle::cuda {
namespace {

constexpr int kWarps = 8;

template <int V, class State, class T>
__global__ void __launch_bounds__(32 * kWarps, 2) columns_kernel(const __grid_constant__ ReducePlan p, const T* x) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t inner = p.kept.size[0], blocks = (inner + 32 * V - 1) / (32 * V);
  const int64_t rest = blockIdx.x / blocks, outer = rest / p.chunks, chunk = rest - outer * p.chunks;
  const int64_t first = (blockIdx.x - rest * blocks) * 32 * V, column = first + lane * V;
  State s[V];
  if (column < inner) {
    const int64_t low = chunk * p.chunk, high = low + p.chunk < p.count ? low + p.chunk : p.count;
    const T* from = x + p.kept.offset(outer * inner + column);
    const auto take = [&](int64_t i, int64_t at) {
      const Vector<T, V> v = load_vector<T, V>(from + at);
#pragma unroll
      for (int j = 0; j < V; ++j) s[j].take(to_float(v.x[j]), i);
    };
    if (p.reduced.rank == 1) {
      const int64_t stride = p.reduced.stride[0];
#pragma unroll 4
      for (int64_t i = low + warp; i < high; i += kWarps) take(i, i * stride);
    } else {
#pragma unroll 1
      for (int64_t i = low + warp; i < high; i += kWarps) take(i, p.reduced.offset(i));
    }
  }
  // One more than a warp's, so that neighbouring outputs, of which a lane had V, lie in different banks.
  __shared__ float values[V][kWarps][33];
  __shared__ int64_t places[State::kSums ? 1 : V][kWarps][33];
#pragma unroll
  for (int j = 0; j < V; ++j) {
    values[j][warp][lane] = s[j].value;
    if (!State::kSums) places[j][warp][lane] = s[j].place();
  }
  __syncthreads();
  const int mine = static_cast<int>(threadIdx.x), j = mine % V, of = mine / V;  // an output for each thread, side by side
  if (mine >= 32 * V || first + mine >= inner) return;
  State all = State::stored(values[j][0][of], State::kSums ? 0 : places[j][0][of]);
#pragma unroll
  for (int w = 1; w < kWarps; ++w) all.merge(State::stored(values[j][w][of], State::kSums ? 0 : places[j][w][of]));
  put(p, chunk, outer * inner + first + mine, all);
}

template <int V, class State, class T>
void run(const ReducePlan& p, const T* x) {
  const int64_t inner = p.kept.size[0], blocks = p.outputs / inner * p.chunks * ((inner + 32 * V - 1) / (32 * V));
  launch("reduce_columns", columns_kernel<V, State, T>, blocks_for(blocks, 1), 32 * kWarps, 0, p, x);
}

}  // namespace

void reduce_columns(const ReduceArgs& a, const ReducePlan& p) {
  dispatch_float(a.x.dtype, [&](auto t) {
    dispatch_reduce(a.kind, [&](auto state) {
      using T = decltype(t);
      using State = decltype(state);
      constexpr int V = kVector<T>;
      const T* x = static_cast<const T*>(a.x.data);
      bool vectors = aligned16(x) && p.kept.size[0] % V == 0;
      for (int d = 1; d < p.kept.rank; ++d) vectors = vectors && p.kept.stride[d] % V == 0;
      for (int d = 0; d < p.reduced.rank; ++d) vectors = vectors && (p.reduced.size[d] == 1 || p.reduced.stride[d] % V == 0);
      if (vectors)
        run<V, State>(p, x);
      else
        run<1, State>(p, x);
    });
  });
}

}  // namespace heddle::cuda
