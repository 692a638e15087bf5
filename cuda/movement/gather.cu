// out[i][j][k] = x[i][index[i][j][k]][k] and its gradient, all (outer, axis or picks, inner).
#include "kernels.h"
#include "runtime/launch.cuh"

namespace heddle::cuda {
namespace {

constexpr int kBlock = 256;
constexpr int64_t kManyPicks = 64, kNarrow = 32;  // from which on, and below which, a block shares the picks of one (i, k)

// The index itself, or -1 when it is outside: that is told.
__device__ inline int32_t checked(int32_t index, int64_t at, int64_t axis, Fault* fault) {
  if (index >= 0 && index < axis) return index;
  report(fault, FaultKind::gather_index, at, index, axis);
  return -1;
}

// I: what numbers of elements are divided in.
template <class I>
__global__ void __launch_bounds__(kBlock) gather_kernel(GatherArgs a, int64_t n, Fault* fault) {
  const int64_t e = int64_t{blockIdx.x} * kBlock + threadIdx.x;
  if (e >= n) return;
  const auto inner = static_cast<I>(a.inner), row = static_cast<I>(e) / inner;  // i * picks + j
  const int64_t k = static_cast<I>(e) - row * inner, i = row / static_cast<I>(a.picks);
  const int32_t index = checked(a.index[e], e, a.axis, fault);
  a.out[e] = index < 0 ? 0.0f : a.x[(i * a.axis + index) * a.inner + k];
}

// A thread per (i, k) goes through the picks: neighbouring k are neighbours in memory.
__global__ void __launch_bounds__(kBlock, 2) gather_backward_kernel(GatherBackwardArgs a, Fault* fault) {
  const int64_t column = int64_t{blockIdx.x} * kBlock + threadIdx.x;
  if (column >= a.outer * a.inner) return;
  const int64_t i = column / a.inner, k = column - i * a.inner;
  float* dx = a.dx + i * a.axis * a.inner + k;
  for (int64_t j = 0; j < a.picks; ++j) {
    const int64_t at = (i * a.picks + j) * a.inner + k;
    const int32_t index = checked(a.index[at], at, a.axis, fault);
    if (index >= 0) dx[index * a.inner] += a.dy[at];
  }
}

// A block per (i, k): thread t owns the indices of the axis that are t mod 256 and takes their picks out of the pieces that all load
// together, in order.
__global__ void __launch_bounds__(kBlock) gather_backward_shared_kernel(GatherBackwardArgs a, Fault* fault) {
  __shared__ int32_t index[kBlock];
  __shared__ float dy[kBlock];
  const int64_t i = blockIdx.x / a.inner, k = blockIdx.x - i * a.inner;
  float* dx = a.dx + i * a.axis * a.inner + k;
  for (int64_t first = 0; first < a.picks; first += kBlock) {
    const int count = a.picks - first < kBlock ? static_cast<int>(a.picks - first) : kBlock;
    if (threadIdx.x < count) {
      const int64_t at = (i * a.picks + first + threadIdx.x) * a.inner + k;
      index[threadIdx.x] = checked(a.index[at], at, a.axis, fault);
      dy[threadIdx.x] = a.dy[at];
    }
    __syncthreads();
    for (int j = 0; j < count; ++j)
      if (index[j] >= 0 && index[j] % kBlock == threadIdx.x) dx[index[j] * a.inner] += dy[j];
    __syncthreads();
  }
}

}  // namespace

void gather(const GatherArgs& a) {
  const int64_t n = a.outer * a.picks * a.inner;
  if (n == 0) return;
  launch("gather", n >> 31 ? gather_kernel<uint64_t> : gather_kernel<uint32_t>, blocks_for(n, kBlock), kBlock, 0, a, n, queue().fault);
}

void gather_backward(const GatherBackwardArgs& a) {
  const int64_t columns = a.outer * a.inner;
  if (columns == 0 || a.axis == 0) return;
  if (!a.accumulate) fill(FillArgs{View{a.dx, DType::f32, 1, {columns * a.axis}, {1}}, 0});
  if (a.picks == 0) return;
  if (a.picks >= kManyPicks && a.inner < kNarrow && columns <= 0x7fffffff)
    launch("gather_backward_shared", gather_backward_shared_kernel, static_cast<unsigned>(columns), kBlock, 0, a, queue().fault);
  else
    launch("gather_backward", gather_backward_kernel, blocks_for(columns, kBlock), kBlock, 0, a, queue().fault);
}

}  // namespace heddle::cuda
