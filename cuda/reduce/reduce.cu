// Reductions over any strides, in one stage or two: chunks of the reduced range leave their results in the workspace, and those are put
// together in a fixed order.
#include "common/dense.cuh"
#include "kernels.h"
#include "reduce/state.cuh"

namespace heddle::cuda {
namespace {

constexpr int kBlock = 256;

// A block takes W outputs; 256/W groups of threads share the chunks.
template <int W, class State>
__global__ void __launch_bounds__(kBlock, 2) combine_kernel(const __grid_constant__ ReducePlan p) {
  constexpr int kGroups = kBlock / W;
  const int group = threadIdx.x / W;
  const int64_t output = int64_t{blockIdx.x} * W + threadIdx.x % W;
  State s;
  if (output < p.outputs) {
#pragma unroll 4
    for (int64_t chunk = group; chunk < p.chunks; chunk += kGroups) {
      const int64_t at = chunk * p.outputs + output;
      s.merge(State::stored(p.values[at], p.arg ? int64_t{p.indices[at]} : chunk));  // equal values: the earlier chunk
    }
  }
  __shared__ float values[kBlock];
  __shared__ int64_t places[State::kSums ? 1 : kBlock];
  for (int half = kGroups / 2; half > 0; half /= 2) {
    if (group >= half && group < 2 * half) {
      values[threadIdx.x] = s.value;
      if (!State::kSums) places[threadIdx.x] = s.place();
    }
    __syncthreads();
    if (group < half) s.merge(State::stored(values[threadIdx.x + half * W], State::kSums ? 0 : places[threadIdx.x + half * W]));
  }
  if (group == 0 && output < p.outputs) finish(p, output, s);
}

void combine(const ReduceArgs& a, const ReducePlan& p) {
  dispatch_reduce(a.kind, [&](auto state) {
    using State = decltype(state);
    if (p.outputs < 32)
      launch("reduce_combine", combine_kernel<1, State>, static_cast<unsigned>(p.outputs), kBlock, 0, p);
    else
      launch("reduce_combine", combine_kernel<32, State>, blocks_for(p.outputs, 32), kBlock, 0, p);
  });
}

}  // namespace

void reduce(const ReduceArgs& a) {
  const ReducePlan p = plan_reduce(a);
  if (p.outputs == 0) return;
  if (p.columns)
    reduce_columns(a, p);
  else
    reduce_rows(a, p);
  if (p.chunks > 1) combine(a, p);
}

void column_sum(const ColumnSumArgs& a) { reduce(as_reduce(a)); }

}  // namespace heddle::cuda
