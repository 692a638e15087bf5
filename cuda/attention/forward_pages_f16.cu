#include "attention/forward_pages.cuh"

namespace heddle::cuda {

void attention_pages_f16(const AttentionArgs& a, const AttentionPlan& plan) {
  static constexpr const char* kNames[] = {"attention f16 64x64 of 32 in pages", "attention f16 64x64 of 64 in pages",
                                           "attention f16 64x32 of 96 in pages", "attention f16 64x32 of 128 in pages",
                                           "attention f16 64x32 of 256 in pages"};
  launch_attention_pages<f16>(kNames, a, plan);
}

}  // namespace heddle::cuda
