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
    attention_gather_pages(const __grid_constant__ PagedHeads<const T> k, const __grid_constant__ PagedHeads<const T> v, T* k_out, T* v_out,
                           int64_t all, int Tk, int H, int D) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (i >= all) return;
  const int h = static_cast<int>(i % H), j = static_cast<int>(i / H % Tk), b = static_cast<int>(i / H / Tk);
  const PagedRows<const T> rows = (blockIdx.y ? v : k).head(b, h, Tk, D);
  const T* const from = rows.row(j);
  T* const to = (blockIdx.y ? v_out : k_out) + i * D;
  for (int d = threadIdx.x % 32; d < D; d += 32) to[d] = from ? from[d] : from_float<T>(0.0f);
}

}  // namespace

void attention_gather(const AttentionArgs& a, const AttentionArgs& to) {
  const AttentionShape& s = a.s;
  const int64_t all = s.B * s.Tk * s.Hkv;
  if (all == 0) return;
  dispatch_float(s.type, [&](auto type) {
    using T = decltype(type);
    Fault* const fault = queue().fault;
    launch("attention gather of pages", attention_gather_pages<T>, dim3(static_cast<unsigned>((all + kWarps - 1) / kWarps), 2), 32 * kWarps,
           0, paged_heads<const T>(a.k, a.k_stride, a.pages, fault), paged_heads<const T>(a.v, a.v_stride, a.pages, fault),
           static_cast<T*>(const_cast<void*>(to.k)), static_cast<T*>(const_cast<void*>(to.v)), all, static_cast<int>(s.Tk),
           static_cast<int>(s.Hkv), static_cast<int>(s.D));
  });
}

}  // namespace heddle::cuda
