// The table of the CUDA kernels.
#include "kernels.h"
#include "runtime/card.h"
#include "workspace.h"

namespace heddle::cuda {
namespace {

// On the card of that number.
template <class Args>
size_t scratch(const Args& a, int index) {
  return workspace(a, card(index));
}

}  // namespace

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
    .reduce = {reduce, scratch},
    .column_sum = {column_sum, scratch},
    .softmax = {softmax},
    .softmax_backward = {softmax_backward},
    .matmul = {matmul, scratch},
    .fp8_quantize = {fp8_quantize, scratch},
    .fp8_dequantize = {fp8_dequantize},
    .fp8_matmul = {fp8_matmul, scratch},
    .nf4_quantize = {nf4_quantize, scratch},
    .nf4_dequantize = {nf4_dequantize},
    .embedding = {embedding},
    .embedding_backward = {embedding_backward, scratch},
    .rope = {rope},
    .norm = {norm},
    .norm_backward = {norm_backward, scratch},
    .attention = {attention, scratch},
    .attention_backward = {attention_backward, scratch},
    .write_pages = {write_pages},
    .cross_entropy = {cross_entropy},
    .step_begin = {step_begin},
    .grad_norm = {grad_norm, scratch},
    .optimizer = {optimizer},
    .muon_momentum = {muon_momentum},
    .muon_apply = {muon_apply},
};

}  // namespace heddle::cuda
