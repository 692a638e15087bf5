// The table of the CUDA kernels.
#include "kernels.h"

namespace heddle::cuda {

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
    .reduce = {reduce, reduce_workspace},
    .column_sum = {column_sum, column_sum_workspace},
    .softmax = {softmax},
    .softmax_backward = {softmax_backward},
    .matmul = {matmul, matmul_workspace},
    .nf4_quantize = {nf4_quantize, nf4_quantize_workspace},
    .nf4_dequantize = {nf4_dequantize},
    .embedding = {embedding},
    .embedding_backward = {embedding_backward, embedding_backward_workspace},
    .rope = {rope},
    .norm = {norm},
    .norm_backward = {norm_backward, norm_backward_workspace},
    .attention = {attention, attention_workspace},
    .attention_backward = {attention_backward, attention_backward_workspace},
    .cross_entropy = {cross_entropy},
    .step_begin = {step_begin},
    .grad_norm = {grad_norm, grad_norm_workspace},
    .optimizer = {optimizer},
    .muon_momentum = {muon_momentum},
    .muon_apply = {muon_apply},
};

}  // namespace heddle::cuda
