// The table of this instruction set's kernels.
#include "cpu/kernels.h"

namespace heddle::cpu::HEDDLE_ISA {

const Backend backend = {
    .copy = {copy},
    .fill = {fill},
    .random = {random},
    .gather = {gather},
    .gather_backward = {gather_backward},
    .unary = {unary},
    .unary_backward = {unary_backward},
    .binary = {binary},
    .where = {where},
    .swiglu = {swiglu},
    .swiglu_backward = {swiglu_backward},
    .dropout = {dropout},
    .reduce = {reduce},
    .column_sum = {column_sum},
    .softmax = {softmax},
    .softmax_backward = {softmax_backward},
    .matmul = {matmul},
    .fp8_quantize = {fp8_quantize, fp8_quantize_workspace},
    .fp8_dequantize = {fp8_dequantize},
    .fp8_matmul = {fp8_matmul, fp8_matmul_workspace},
    .nf4_quantize = {nf4_quantize, nf4_quantize_workspace},
    .nf4_dequantize = {nf4_dequantize},
    .embedding = {embedding},
    .embedding_backward = {embedding_backward},
    .rope = {rope},
    .norm = {norm},
    .norm_backward = {norm_backward},
    .attention = {attention},
    .attention_backward = {attention_backward, attention_backward_workspace},
    .write_pages = {write_pages},
    .cross_entropy = {cross_entropy},
    .step_begin = {step_begin},
    .grad_norm = {grad_norm},
    .optimizer = {optimizer},
    .muon_momentum = {muon_momentum},
    .muon_apply = {muon_apply},
};

}  // namespace heddle::cpu::HEDDLE_ISA
