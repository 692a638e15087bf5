#include "workspace.h"

#include "attention/config.h"
#include "attention/parts.h"
#include "core/nf4.h"
#include "matmul/config.h"
#include "reduce/plan.h"

namespace heddle::cuda {
namespace {

bool empty(const AttentionShape& s) { return s.B == 0 || s.H == 0 || s.Tq == 0; }

}  // namespace

size_t workspace(const ReduceArgs& a, const Card&) { return workspace_of(plan_reduce(a)); }

size_t workspace(const ColumnSumArgs& a, const Card& card) { return workspace(as_reduce(a), card); }

size_t workspace(const MatmulArgs& a, const Card& card) {
  if (a.M == 0 || a.N == 0 || a.batch[0] * a.batch[1] == 0) return 0;
  return plan_matmul(flatten(a), card).workspace;
}

size_t workspace(const FP8QuantizeArgs& a, const Card&) { return static_cast<size_t>(fp8_parts(a.n)) * sizeof(float); }

// Where no kernel takes codes: both operands in the type of the product.
size_t workspace(const FP8MatmulArgs& a, const Card& card) {
  if (a.M == 0 || a.N == 0 || plan_fp8_matmul(a, card).hopper) return 0;
  return static_cast<size_t>(fp8_operand_bytes(a.M * a.K, a.type) + fp8_operand_bytes(a.N * a.K, a.type));
}

// The blocks' constants and the groups' sums.
size_t workspace(const NF4QuantizeArgs& a, const Card&) {
  const int64_t blocks = (a.n + kNF4Block - 1) / kNF4Block;
  return static_cast<size_t>(blocks + (blocks + kNF4Group - 1) / kNF4Group) * sizeof(float);
}

// Two arrays of pairs, and the counts.
size_t workspace(const EmbeddingBackwardArgs& a, const Card&) {
  return static_cast<size_t>(a.n) * 2 * sizeof(EmbeddingPair) +
         static_cast<size_t>(embedding_tiles(a.n)) * kEmbeddingDigits * sizeof(int32_t);
}

// Of each block a row for dw and one for db.
size_t workspace(const NormBackwardArgs& a, const Card&) {
  if (!a.dw && !a.db) return 0;
  return static_cast<size_t>(norm_backward_blocks(a) * 2 * a.cols) * sizeof(float);
}

size_t workspace(const AttentionArgs& a, const Card& card) {
  if (empty(a.s)) return 0;
  const AttentionPlan plan = plan_attention(a, card);
  const size_t own = plan.kernel == AttentionKernel::composed ? AttentionParts(a.s, false).bytes() : plan.workspace;
  return own + (plan.gathers ? gathered_bytes(a) : 0);
}

// Fused and on Hopper: two f32 of every query, lse and delta.
size_t workspace(const AttentionBackwardArgs& a, const Card& card) {
  if (empty(a.s)) return 0;
  const AttentionBackwardPlan plan = plan_attention_backward(a, card);
  if (plan.kernel == AttentionKernel::composed) return AttentionParts(a.s, true).bytes();
  return static_cast<size_t>(2 * a.s.B * a.s.H * plan.row_count) * sizeof(float);
}

size_t workspace(const GradNormArgs& a, const Card&) { return static_cast<size_t>(grad_norm_partials(a.n)) * sizeof(double); }

}  // namespace heddle::cuda
