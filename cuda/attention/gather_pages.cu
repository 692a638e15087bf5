// Keys and values out of their pages, side by side: for the kernels that do not read pages themselves.
#include "attention/launch.h"
#include "attention/pages.cuh"
#include "common/types.cuh"
#include "kernels.h"
#include "runtime/launch.cuh"

namespace heddle::cuda {
namespace {

constexpr int kWarps = 8;

// A warp per head of a position: [B][Tk][Hkv][D]. y: keys, values.
template <class T>
__global__ void __launch_bounds__(32 * kWarps)
    attention_gather_pages(const __grid_constant__ HeadsOf<const T> k, const __grid_constant__ HeadsOf<const T> v,
                           const __grid_constant__ PageTable pages, T* k_out, T* v_out, int64_t all, int Tk, int H, int D) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (i >= all) return;
  const int lane = threadIdx.x % 32, h = static_cast<int>(i % H), j = static_cast<int>(i / H % Tk), b = static_cast<int>(i / H / Tk);
  if (lane == 0 && h == 0 && (j & ((1 << pages.shift) - 1)) == 0) pages.check(b, j >> pages.shift);
  const T* const from = PagedHeads<const T>{blockIdx.y ? v : k, pages}.head(b, h, Tk, D).row(j);
  T* const to = (blockIdx.y ? v_out : k_out) + i * D;
  for (int d = lane; d < D; d += 32) to[d] = from[d];
}

}  // namespace

void attention_gather(const AttentionArgs& a, const AttentionArgs& to) {
  const AttentionShape& s = a.s;
  const int64_t all = s.B * s.Tk * s.Hkv;
  if (all == 0) return;
  dispatch_float(s.type, [&](auto type) {
    using T = decltype(type);
    launch("attention gather of pages", attention_gather_pages<T>, dim3(static_cast<unsigned>((all + kWarps - 1) / kWarps), 2), 32 * kWarps,
           0, heads_of<const T>(a.k, a.k_stride), heads_of<const T>(a.v, a.v_stride), page_table(a.pages, queue().fault),
           static_cast<T*>(const_cast<void*>(to.k)), static_cast<T*>(const_cast<void*>(to.v)), all, static_cast<int>(s.Tk),
           static_cast<int>(s.Hkv), static_cast<int>(s.D));
  });
}

}  // namespace heddle::cuda
