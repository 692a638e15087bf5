#pragma once
// Fused attention forward (forward.cuh) that reads keys and values where they lie in pages: the same products in the same order, so the
// bits of keys and values that lie side by side. Neither documents nor dropout (AttentionPages).
#include "attention/forward.cuh"
#include "attention/pages.cuh"

namespace heddle::cuda {

template <class T, int Head>
__global__ void __launch_bounds__(kAttentionThreads, 2)
    attention_pages_kernel(const __grid_constant__ FusedForward<T> p, const __grid_constant__ PagedHeads<const T> k,
                           const __grid_constant__ PagedHeads<const T> v) {
  attention_forward<T, Head, true>(p, k, v);
}

template <class T>
void launch_attention_pages(const char* const (&names)[5], const AttentionArgs& a, const AttentionPlan& plan) {
  const FusedForward<T> p = fused_forward<T>(a, plan);
  constexpr decltype(&attention_pages_kernel<T, 32>) kernels[] = {attention_pages_kernel<T, 32>, attention_pages_kernel<T, 64>,
                                                                  attention_pages_kernel<T, 96>, attention_pages_kernel<T, 128>,
                                                                  attention_pages_kernel<T, 256>};
  const int which = attention_head_index(plan.head);
  Fault* const fault = queue().fault;
  launch(names[which], kernels[which], forward_grid(a, p, plan), static_cast<unsigned>(plan.threads), plan.shared, p,
         paged_heads<const T>(a.k, a.k_stride, a.pages, fault), paged_heads<const T>(a.v, a.v_stride, a.pages, fault));
}

}  // namespace heddle::cuda
