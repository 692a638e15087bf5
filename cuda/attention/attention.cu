// Attention: the launcher. What is launched is config.h's decision.
#include "attention/launch.h"
#include "kernels.h"
#include "runtime/launch.cuh"

namespace heddle::cuda {
namespace {

bool empty(const AttentionShape& s) { return s.B == 0 || s.H == 0 || s.Tq == 0; }

}  // namespace

size_t attention_workspace(const AttentionArgs& a, int) { return empty(a.s) ? 0 : attention_composed_workspace(a.s); }

void attention(const AttentionArgs& a) {
  if (!empty(a.s)) attention_composed(a);
}

size_t attention_backward_workspace(const AttentionBackwardArgs& a, int) {
  return empty(a.s) ? 0 : attention_backward_composed_workspace(a.s);
}

void attention_backward(const AttentionBackwardArgs& a) {
  if (!empty(a.s)) attention_backward_composed(a);
}

}  // namespace heddle::cuda
