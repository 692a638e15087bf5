#pragma once
// Every file in native/cpu is compiled once per instruction set, with HEDDLE_ISA its name (baseline, avx2, avx512), and fills
// that set's Backend. Rules, checked by test/native/symbols.cmake: helpers live in an anonymous namespace, no std:: templates
// or other inline functions with shared names (the linker could keep the AVX-512 copy for everyone); errors by throw_op_error.
#include "cpu/host/pool.h"
#include "ops/backend.h"

namespace heddle::cpu::HEDDLE_ISA {

void copy(const CopyArgs&);
void fill(const FillArgs&);
void random(const RandomArgs&);
void gather(const GatherArgs&);
void gather_backward(const GatherBackwardArgs&);
void unary(const UnaryArgs&);
void unary_backward(const UnaryBackwardArgs&);
void binary(const BinaryArgs&);
void where(const WhereArgs&);
void swiglu(const SwigluArgs&);
void swiglu_backward(const SwigluBackwardArgs&);
void dropout(const DropoutArgs&);
void reduce(const ReduceArgs&);
void column_sum(const ColumnSumArgs&);
void softmax(const SoftmaxArgs&);
void softmax_backward(const SoftmaxBackwardArgs&);
void matmul(const MatmulArgs&);
void fp8_quantize(const FP8QuantizeArgs&);
size_t fp8_quantize_workspace(const FP8QuantizeArgs&, int card);
void fp8_dequantize(const FP8DequantizeArgs&);
void fp8_matmul(const FP8MatmulArgs&);
size_t fp8_matmul_workspace(const FP8MatmulArgs&, int card);
void nf4_quantize(const NF4QuantizeArgs&);
void nf4_dequantize(const NF4DequantizeArgs&);
size_t nf4_quantize_workspace(const NF4QuantizeArgs&, int card);
void embedding(const EmbeddingArgs&);
void embedding_backward(const EmbeddingBackwardArgs&);
void rope(const RopeArgs&);
void norm(const NormArgs&);
void norm_backward(const NormBackwardArgs&);
void attention(const AttentionArgs&);
void attention_backward(const AttentionBackwardArgs&);
size_t attention_backward_workspace(const AttentionBackwardArgs&, int card);
void write_pages(const WritePagesArgs&);
void cross_entropy(const CrossEntropyArgs&);
void step_begin(const StepBeginArgs&);
void grad_norm(const GradNormArgs&);
void optimizer(const OptimizerArgs&);
void muon_momentum(const MuonMomentumArgs&);
void muon_apply(const MuonApplyArgs&);

extern const Backend backend;

namespace {

// The operands that the contract leaves untyped: the CPU computes in f32 alone.
inline const float* f32(const void* p) { return static_cast<const float*>(p); }
inline float* f32(void* p) { return static_cast<float*>(p); }

// f(item) for item in [0, items), on the stream's threads.
template <class F>
inline void parallel(int64_t items, F&& f) {
  pool_run(items, [](void* context, int64_t item) { (*static_cast<decltype(&f)>(context))(item); }, &f);
}

// f(low, high) over [0, n) in pieces of `grain`: the pieces depend on n and grain alone, so sums per piece are reproducible.
template <class F>
inline void parallel_range(int64_t n, int64_t grain, F&& f) {
  if (n <= 0) return;
  parallel((n + grain - 1) / grain, [&](int64_t i) {
    const int64_t low = i * grain, high = low + grain < n ? low + grain : n;
    f(low, high);
  });
}

}  // namespace
}  // namespace heddle::cpu::HEDDLE_ISA
