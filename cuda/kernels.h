#pragma once
// Every CUDA kernel's launcher; what scratch memory it wants says workspace.h. One folder per family; the table is backend.cc.
#include "ops/backend.h"

namespace heddle::cuda {

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
void fp8_dequantize(const FP8DequantizeArgs&);
void fp8_matmul(const FP8MatmulArgs&);
void nf4_quantize(const NF4QuantizeArgs&);
void nf4_dequantize(const NF4DequantizeArgs&);
void embedding(const EmbeddingArgs&);
void embedding_backward(const EmbeddingBackwardArgs&);
void rope(const RopeArgs&);
void norm(const NormArgs&);
void norm_backward(const NormBackwardArgs&);
void attention(const AttentionArgs&);
void attention_backward(const AttentionBackwardArgs&);
void write_pages(const WritePagesArgs&);
void cross_entropy(const CrossEntropyArgs&);
void step_begin(const StepBeginArgs&);
void grad_norm(const GradNormArgs&);
void optimizer(const OptimizerArgs&);
void muon_momentum(const MuonMomentumArgs&);
void muon_apply(const MuonApplyArgs&);

extern const Backend backend;

}  // namespace heddle::cuda
