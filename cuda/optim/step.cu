// The beginning of an optimizer step: learning rate, update count, and from the norm of all gradients the clip factor and the skip flag.
#include "kernels.h"
#include "optim/flat.cuh"
#include "workspace.h"

namespace heddle::cuda {
namespace {

static_assert(kNormPartial == kFlatThreads * kFlat);

__global__ void __launch_bounds__(32) begin(StepBeginArgs a) {
  StepState& s = *a.state;
  s.lr = s.next_lr;
  if (!a.keep_clip) {
    s.clip = 1;
    s.skip = 0;
  }
  if (!s.skip) ++s.updates;
}

// The sum over the block, for thread 0, in a fixed order.
__device__ inline double block_sum(double x) {
  __shared__ double sums[kFlatThreads / 32];
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
  __syncthreads();
  if (threadIdx.x == 0)
    for (int w = 1; w < kFlatThreads / 32; ++w) x += sums[w];
  return x;
}

// In double, where squares neither overflow nor need care.
__global__ void __launch_bounds__(kFlatThreads, 2) grad_squares(GradNormArgs a, double* partial, bool aligned) {
  double sum = 0;
  each_place(a.n, aligned, [&](const FlatPlace& place) {
    float g[kFlat];
    load_flat(a.g, place, g);
#pragma unroll
    for (int j = 0; j < kFlat; ++j) sum = fma(static_cast<double>(g[j]), static_cast<double>(g[j]), sum);
  });
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kFlatThreads, 2) grad_clip(GradNormArgs a, const double* partial, int partials) {
  double sum = 0;
  for (int i = threadIdx.x; i < partials; i += kFlatThreads) sum += partial[i];
  sum = block_sum(sum);
  if (threadIdx.x != 0) return;
  StepState& s = *a.state;
  const double norm = sqrt(sum) / static_cast<double>(s.loss_scale);
  s.grad_norm = static_cast<float>(norm);
  s.skip = isfinite(s.grad_norm) ? 0 : 1;
  const double clip = static_cast<double>(a.max_norm) / (norm + 1e-6);
  s.clip = a.max_norm > 0 && clip < 1 ? static_cast<float>(clip) : 1.0f;
}

}  // namespace

void step_begin(const StepBeginArgs& a) { launch("step_begin", begin, 1, 1, 0, a); }

void grad_norm(const GradNormArgs& a) {
  const int partials = static_cast<int>(grad_norm_partials(a.n));
  double* const partial = static_cast<double*>(a.workspace);
  launch("grad_norm", grad_squares, static_cast<unsigned>(partials), kFlatThreads, 0, a, partial, aligned16(a.g));
  launch("grad_norm_clip", grad_clip, 1, kFlatThreads, 0, a, partial, partials);
}

}  // namespace heddle::cuda
