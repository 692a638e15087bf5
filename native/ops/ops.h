#pragma once
// Every op: its signature is its schema. The binder (native/napi/bind.h) reads it, decodes the arguments and prints the
// TypeScript declaration. Checks and output shapes are in the .cc of the family, once for all devices.
//
// Ops named ...Into and ...Backward write where they are told: `accumulate` adds to what the output holds, otherwise it is
// overwritten without being read. Results have the type that the operands had. Arithmetic is in f32; operands in bf16 or f16 are
// converted before and after on a device whose kernels take f32 alone, and where operands of one op differ in type.
#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "core/tensor.h"
#include "ops/backend.h"

namespace heddle::ops {

// ---- movement.cc ----
Tensor empty(Device* device, DType dtype, const Shape& shape);          // undefined contents
Tensor empty_on_host(Device* device, DType dtype, const Shape& shape);  // the same in the host's memory (Placement)
void fill(const Tensor& out, double value);
void random(const Tensor& out, Distribution distribution, double a, double b, double seed, int64_t stream);  // f32
Tensor cast(const Tensor& x, DType dtype);                                                                   // always a dense copy
void copy_into(const Tensor& out, const Tensor& x);                                                          // x broadcasts, types convert
Tensor to_device(const Tensor& x, Device* device);  // a dense copy through the host's memory; on x's own device an alias
Tensor concat(const std::vector<Tensor>& tensors, int64_t dim);
Tensor gather(const Tensor& x, int64_t dim, const Tensor& index);  // index as x, but for the size of `dim`
void gather_backward(const Tensor& dy, int64_t dim, const Tensor& index, const Tensor& dx, bool accumulate);

// ---- views.cc: no data moves ----
Tensor alias(const Tensor& x);                        // a second owner of the same memory
Tensor reshape(const Tensor& x, const Shape& shape);  // one -1 is worked out; copies where strides do not allow a view
Tensor permute(const Tensor& x, const Shape& dims);
Tensor slice(const Tensor& x, int64_t dim, int64_t start, int64_t stop, int64_t step);  // negative counts from the end
Tensor expand(const Tensor& x, const Shape& shape);                                     // broadcasts with stride 0; -1 keeps a size
// q (B, T, heads, D), k and v (B, T, kv_heads, D) of a packed projection (B, T, (heads + 2 kv_heads) D)
std::tuple<Tensor, Tensor, Tensor> split_heads(const Tensor& qkv, int64_t heads, int64_t kv_heads);

// ---- elementwise.cc ----
Tensor unary(const Tensor& x, Unary kind);
void unary_backward(const Tensor& x, const Tensor& dy, Unary kind, const Tensor& dx, bool accumulate);
Tensor binary(const Tensor& a, const Tensor& b, Binary kind);
void binary_into(const Tensor& a, const Tensor& b, Binary kind, const Tensor& out, bool accumulate);
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
Tensor swiglu(const Tensor& gate, const Tensor& up);
void swiglu_backward(const Tensor& gate, const Tensor& up, const Tensor& dy, const Tensor& dgate, const Tensor& dup, bool accumulate);
Tensor dropout(const Tensor& x, double p, const Tensor& random, int64_t stream);
void dropout_backward(const Tensor& dy, double p, const Tensor& random, int64_t stream, const Tensor& dx, bool accumulate);

// ---- reduce.cc ----
Tensor reduce(const Tensor& x, Reduce kind, const Shape& dims, bool keep_dims);
void sum_into(const Tensor& x, const Tensor& out, bool accumulate);  // over the dimensions that broadcast out to x
Tensor softmax(const Tensor& x, bool log);                           // over the last dimension
void softmax_backward(const Tensor& y, const Tensor& dy, bool log, const Tensor& dx, bool accumulate);

// ---- matmul.cc ----
// (..., M, K) x (..., K, N), leading dimensions broadcast. `precision`: of products of f32 operands, see backend.h.
Tensor matmul(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b, Precision precision);
void matmul_into(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b, const Tensor& out, bool accumulate, Precision precision);
// (a b) activation'(pre): the gradient of a hidden layer's pre-activation, in one pass. a (..., K) and b (K, N), or (N, K) with trans_b;
// pre and the result (..., N), the result of a's type.
Tensor matmul_derivative(const Tensor& a, const Tensor& b, bool trans_b, const Tensor& pre, Activation activation, Precision precision);
// y = activation(x w^T + bias) + residual; x (..., in), w (out, in), or (in, out) with conv1d as in GPT-2 files.
// The second value is what the activation got, when keep_pre asks for it.
std::tuple<Tensor, std::optional<Tensor>> linear(const Tensor& x, const Tensor& w, const Tensor* bias, const Tensor* residual,
                                                 Activation activation, bool conv1d, bool keep_pre, Precision precision);
// Gradients of linear's x, w and bias, those that have a place (others null), from dy, that of what the activation gave; pre: what the
// activation got, null without one; x is for dw alone. spend_dy: nobody reads dy any more, it may be overwritten. In one op: a training
// step has dozens.
void linear_backward(const Tensor& dy, bool spend_dy, const Tensor* x, const Tensor& w, const Tensor* pre, Activation activation,
                     bool conv1d, const Tensor* dx, bool add_dx, const Tensor* dw, bool add_dw, const Tensor* db, bool add_db,
                     Precision precision);

// ---- fp8.cc ---- x of any shape -> codes u8 of that shape, scale f32 (1)
std::tuple<Tensor, Tensor> fp8_quantize(const Tensor& x, FP8 format);
Tensor fp8_dequantize(const Tensor& codes, const Tensor& scale, FP8 format, DType dtype);
// linear of codes: x (..., in), w (out, in); the result, and all that is added, of `dtype`
std::tuple<Tensor, std::optional<Tensor>> fp8_linear(const Tensor& x, const Tensor& x_scale, FP8 x_format, const Tensor& w,
                                                     const Tensor& w_scale, FP8 w_format, const Tensor* bias, const Tensor* residual,
                                                     Activation activation, bool keep_pre, DType dtype);

// ---- nf4.cc ---- w of any shape and n elements -> codes u8 (ceil(n / 2)), scales u8 (ceil(n / 64)), ranges f32 (ceil(n / 16384)), mean
// f32 (1)
std::tuple<Tensor, Tensor, Tensor, Tensor> nf4_quantize(const Tensor& w);
Tensor nf4_dequantize(const Tensor& codes, const Tensor& scales, const Tensor& ranges, const Tensor& mean, const Shape& shape, DType dtype);

// ---- embedding.cc ----
Tensor embedding(const Tensor& table, const Tensor& ids, const Tensor* positions, int64_t first);  // ids (..., T) -> (..., T, C)
void embedding_backward(const Tensor& dy, const Tensor& ids, const Tensor& dtable, bool accumulate);

// ---- rope.cc ---- x (B, T, H, D); `rotary` 0: all of D
// `factor` 1: frequencies as they are; `context` 0: all divided by it; otherwise see RopeScaling
Tensor rope(const Tensor& x, const Tensor* positions, int64_t first, double theta, int64_t rotary, bool interleaved, double factor,
            double low, double high, double context);
void rope_backward(const Tensor& dy, const Tensor* positions, int64_t first, double theta, int64_t rotary, bool interleaved, double factor,
                   double low, double high, double context, const Tensor& dx, bool accumulate);

// ---- norm.cc ---- over the last dimension; returns h = x + residual (x itself without), y, mean (not for rms), rstd
std::tuple<Tensor, Tensor, std::optional<Tensor>, Tensor> norm(const Tensor& x, const Tensor* residual, const Tensor* w, const Tensor* b,
                                                               bool rms, double eps);
void norm_backward(const Tensor& h, const Tensor* w, const Tensor* mean, const Tensor& rstd, const Tensor& dy, bool rms, const Tensor* dx,
                   bool accumulate_dx, const Tensor* dw, bool accumulate_dw, const Tensor* db, bool accumulate_db);

// ---- attention.cc ---- q (B, Tq, H, D), k and v (B, Tk, Hkv, D), any strides; returns o (B, Tq, H, D), lse (B, H, Tq). With pages i32
// (B, n), k and v are (pages, positions, Hkv, D), and a row has the first `keys` positions of the pages that its n numbers name.
std::tuple<Tensor, Tensor> attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, bool causal, int64_t window,
                                     const Tensor* q_documents, const Tensor* k_documents, double dropout, const Tensor* random,
                                     int64_t stream, const Tensor* pages, int64_t keys);
// Rows x (B, T, H, D) to positions of pages (P, S, H, D): places i32 (B, T), page * S + position.
void write_pages(const Tensor& pages, const Tensor& x, const Tensor& places);
void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o, const Tensor& lse, const Tensor& d_o,
                        double scale, bool causal, int64_t window, const Tensor* q_documents, const Tensor* k_documents, double dropout,
                        const Tensor* random, int64_t stream, const Tensor& dq, bool accumulate_dq, const Tensor& dk, bool accumulate_dk,
                        const Tensor& dv, bool accumulate_dv);

// ---- loss.cc ---- logits (..., V), targets (...); returns the losses (...) f32. dlogits, when given, gets the gradient of
// scale * sum of losses and may be logits itself. Columns from `valid` on are padding (0: none).
Tensor cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& scale, const Tensor* dlogits, int64_t valid,
                     int64_t ignore_index, double smoothing, double z_loss);

// ---- optim.cc ---- flat f32 buffers; state is an i32 tensor of 16 elements (core/step_state.h); copy, when given, a bf16 or f16
// buffer that gets p, rounded
void step_begin(const Tensor& state, bool keep_clip);
void grad_norm(const Tensor& g, const Tensor& state, double max_norm);
void optimizer_step(Optimizer kind, const Tensor& p, const Tensor& g, const Tensor* m, const Tensor* v, const Tensor* copy,
                    const Tensor& state, int64_t decay_n, double beta1, double beta2, double eps, double weight_decay, double dampening,
                    bool nesterov, double seed);
void muon_momentum(const Tensor& g, const Tensor& m, const Tensor& x, const Tensor& state, double beta, bool nesterov);
void muon_apply(const Tensor& p, const Tensor& x, const Tensor* copy, const Tensor& state, double weight_decay, double ratio);

}  // namespace heddle::ops
