// New keys or values into the pages where attention finds them (WritePagesArgs).
#include "kernels.h"
#include "runtime/launch.cuh"

namespace heddle::cuda {
namespace {

constexpr int kWarps = 8;

// A warp per head of a row. T: an element's bits. A place that does not exist is noted, and its row goes nowhere.
template <class T>
__global__ void __launch_bounds__(32 * kWarps) write_pages_kernel(const __grid_constant__ WritePagesArgs a, Fault* fault) {
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32, i = warp / a.H, h = warp % a.H;
  if (i >= a.n) return;
  const int lane = threadIdx.x % 32;
  const int32_t place = a.places[i];
  if (place < 0 || place >= a.count * a.size) {
    if (lane == 0) report(fault, FaultKind::place, i, place, a.count * a.size);
    return;
  }
  const T* from = static_cast<const T*>(a.x) + i / a.T * a.x_stride[0] + i % a.T * a.x_stride[1] + h * a.x_stride[2];
  T* to = static_cast<T*>(a.pages) + place / a.size * a.pages_stride[0] + place % a.size * a.pages_stride[1] + h * a.pages_stride[2];
  for (int64_t d = lane; d < a.D; d += 32) to[d] = from[d];
}

}  // namespace

void write_pages(const WritePagesArgs& a) {
  if (a.n == 0 || a.H == 0 || a.D == 0) return;
  launch("write pages", a.type == DType::f32 ? write_pages_kernel<uint32_t> : write_pages_kernel<uint16_t>,
         static_cast<unsigned>((a.n * a.H + kWarps - 1) / kWarps), 32 * kWarps, 0, a, queue().fault);
}

}  // namespace heddle::cuda
