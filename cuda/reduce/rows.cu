// Reductions along the elements of one output: a group of 8, 32 or 256 threads per output and chunk.
#include "common/dense.cuh"
#include "reduce/state.cuh"

namespace heddle::cuda {
namespace {

constexpr int kBlock = 256;
constexpr int64_t kFew = 64, kMany = 2048;  // elements up to which 8, and 32, threads do

// Elements low .. high of an output that lies densely from x on. A vector belongs to one thread whether it is loaded at once or,
// misaligned, element by element: the bits are the same.
template <int G, class State, class T>
__device__ inline State take_dense(const T* x, int64_t low, int64_t high, int lane, bool aligned) {
  constexpr int V = kVector<T>;
  State part[V];
  const int64_t whole = low + (high - low) / V * V;
#pragma unroll 2
  for (int64_t i = low + lane * V; i < whole; i += G * V) {
    Vector<T, V> v;
    if (aligned) {
      v = load_vector(x + i);
    } else {
#pragma unroll
      for (int j = 0; j < V; ++j) v.x[j] = x[i + j];
    }
#pragma unroll
    for (int j = 0; j < V; ++j) part[State::kSums ? j : 0].take(to_float(v.x[j]), i + j);
  }
  if (State::kSums) {
#pragma unroll
    for (int w = V / 2; w > 0; w /= 2)
#pragma unroll
      for (int j = 0; j < w; ++j) part[j].merge(part[j + w]);
  }
  if (whole + lane < high) part[0].take(to_float(x[whole + lane]), whole + lane);
  return part[0];
}

template <int G, class State, class T>
__global__ void __launch_bounds__(kBlock) rows_kernel(const __grid_constant__ ReducePlan p, const T* x, bool dense, bool aligned) {
  const int lane = threadIdx.x % G;
  const int64_t item = int64_t{blockIdx.x} * (kBlock / G) + threadIdx.x / G;
  const bool inside = item < p.outputs * p.chunks;
  const int64_t output = inside ? item / p.chunks : 0, chunk = inside ? item - output * p.chunks : 0;
  State s;
  if (inside) {
    const int64_t low = chunk * p.chunk, high = low + p.chunk < p.count ? low + p.chunk : p.count;
    const T* from = x + p.kept.offset(output);
    if (dense) {
      s = take_dense<G, State>(from, low, high, lane, aligned);
    } else {
#pragma unroll 2
      for (int64_t i = low + lane; i < high; i += G) s.take(to_float(from[p.reduced.offset(i)]), i);
    }
  }
#pragma unroll
  for (int offset = (G < 32 ? G : 32) / 2; offset > 0; offset /= 2) s.merge(shuffled(s, offset));
  if constexpr (G > 32) {
    __shared__ float values[G / 32];
    __shared__ int64_t places[G / 32];
    if (lane % 32 == 0) {
      values[lane / 32] = s.value;
      places[lane / 32] = s.place();
    }
    __syncthreads();
    if (lane == 0) {
#pragma unroll
      for (int w = 1; w < G / 32; ++w) s.merge(State::stored(values[w], places[w]));
    }
  }
  if (inside && lane == 0) put(p, chunk, output, s);
}

template <int G, class State, class T>
void run(const ReducePlan& p, const T* x) {
  const bool dense = p.reduced.rank == 1 && p.reduced.stride[0] == 1;
  bool aligned = aligned16(x);
  for (int d = 0; d < p.kept.rank; ++d) aligned = aligned && (p.kept.size[d] == 1 || p.kept.stride[d] % kVector<T> == 0);
  launch("reduce_rows", rows_kernel<G, State, T>, blocks_for(p.outputs * p.chunks, kBlock / G), kBlock, 0, p, x, dense, aligned);
}

}  // namespace

void reduce_rows(const ReduceArgs& a, const ReducePlan& p) {
  dispatch_float(a.x.dtype, [&](auto t) {
    dispatch_reduce(a.kind, [&](auto state) {
      using T = decltype(t);
      using State = decltype(state);
      const T* x = static_cast<const T*>(a.x.data);
      if (p.chunk <= kFew) return run<8, State>(p, x);
      if (p.chunk <= kMany) return run<32, State>(p, x);
      return run<kBlock, State>(p, x);
    });
  });
}

}  // namespace heddle::cuda
