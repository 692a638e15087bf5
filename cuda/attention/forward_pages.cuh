#pragma once
// Fused attention forward (forward.cuh) that reads keys and values where they lie in pages: the same products in the same order, so the
// bits of keys and values that lie side by side. Neither documents nor dropout (AttentionPages).
#include "attention/forward.cuh"
#include "attention/pages.cuh"

namespace heddle::cuda {

// A block's: as many as leave registers for places in pages on every card. Decoding has fewer.
constexpr int kPagesQueries = 64;

template <class T, int Head>
__global__ void __launch_bounds__(kAttentionThreads, 2)
    attention_pages_kernel(const __grid_constant__ FusedForward<T> p, const __grid_constant__ PageTable pages) {
  if (blockIdx.x == 0 && blockIdx.y == 0)  // one block for each batch
    for (int i = threadIdx.x; i << pages.shift < p.s.mask.Tk; i += kAttentionThreads) pages.check(blockIdx.z, i);
  // The few queries of decoding fill no tile: a loop for what no mask cuts would have nothing to do.
  attention_forward<T, Head, kPagesQueries, false>(p, PagedHeads<const T>{p.k, pages}, PagedHeads<const T>{p.v, pages});
}

template <class T>
void launch_attention_pages(const char* const (&names)[5], const AttentionArgs& a, const AttentionPlan& plan) {
  FusedForward<T> p = fused_forward<T>(a, plan);
  p.s.tiles = static_cast<int>(attention_config::ceil_div(a.s.Tq, kPagesQueries));
  constexpr decltype(&attention_pages_kernel<T, 32>) kernels[] = {attention_pages_kernel<T, 32>, attention_pages_kernel<T, 64>,
                                                                  attention_pages_kernel<T, 96>, attention_pages_kernel<T, 128>,
                                                                  attention_pages_kernel<T, 256>};
  const int which = attention_head_index(plan.head);
  const auto shared = static_cast<size_t>(attention_forward_shared(plan.head, kPagesQueries));
  launch(names[which], kernels[which], forward_grid(a, p, plan), static_cast<unsigned>(plan.threads), shared, p,
         page_table(a.pages, queue().fault));
}

}  // namespace heddle::cuda
