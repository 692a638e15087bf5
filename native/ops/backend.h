#pragma once
// What a device must be able to do: one argument struct and one typed slot per kernel. Arguments are checked before they
// get here (native/ops/*.cc); a kernel may only assert. Pointers are device memory of the stream that runs the kernel.
//
// Letters: B batch, T time (Tq queries, Tk keys), C width, H heads, D head size, V vocabulary; rows = B*T where only that
// matters. Unless a stride is given, arrays are dense and row-major. Strides count elements.
//
// `accumulate`: add to what the output holds; otherwise overwrite it without reading. Every kernel gives the same bits for
// every thread count: sums run in an order that depends on the shapes alone.
#include <cstdint>

#include "core/dtype.h"
#include "core/random.h"
#include "core/step_state.h"

namespace heddle {

constexpr int kMaxRank = 8;

// A strided array of any type. Stride 0 broadcasts.
struct View {
  void* data;
  DType dtype;
  int32_t rank;
  int64_t shape[kMaxRank];
  int64_t stride[kMaxRank];
};

// ---- movement ----

struct CopyArgs {  // dst = src, converted to dst's type; same shape, any strides, any pair of types
  View src, dst;
};
struct FillArgs {  // dst = value, any strides and type
  View dst;
  double value;
};
enum class Distribution : int32_t { uniform, normal };  // a: low or mean, b: high or standard deviation
struct RandomArgs {                                     // f32, dense; element i is a function of (seed, stream, i)
  float* out;
  int64_t n;
  Distribution distribution;
  float a, b;
  uint32_t seed_low, seed_high, stream;
};
struct GatherArgs {  // out[i][j][k] = x[i][index[i][j][k]][k]; all 3-D (outer, axis, inner), i32 indices within [0, axis)
  const float* x;
  const int32_t* index;
  float* out;
  int64_t outer, axis, picks, inner;
};
struct GatherBackwardArgs {  // dx[i][index[i][j][k]][k] += dy[i][j][k] in order of j; dx is cleared first unless accumulate
  const float* dy;
  const int32_t* index;
  float* dx;
  int64_t outer, axis, picks, inner;
  bool accumulate;
};

// ---- elementwise ----

enum class Unary : int32_t {
  neg,
  abs,
  sign,
  square,
  sqrt,
  rsqrt,
  reciprocal,
  exp,
  log,
  sin,
  cos,
  tanh,
  sigmoid,
  relu,
  relu2,
  silu,
  gelu_tanh,
  gelu_erf
};
struct UnaryArgs {  // y = f(x), f32, dense; y may be x
  Unary kind;
  const float* x;
  float* y;
  int64_t n;
};
struct UnaryBackwardArgs {  // dx (+)= dy * f'(x)
  Unary kind;
  const float *x, *dy;
  float* dx;
  int64_t n;
  bool accumulate;
};
enum class Binary : int32_t { add, sub, mul, div, maximum, minimum, pow, eq, ne, lt, le, gt, ge };
struct BinaryArgs {  // out = f(a, b); a and b of one type (f32 or i32) broadcast to out's shape; out of that type, or bool for eq..ge
  Binary kind;
  View a, b, out;  // out is dense, or aliases a exactly (in place); f32 and accumulate: out += f(a, b)
  bool accumulate;
};
struct WhereArgs {  // out = condition ? a : b; condition u8/bool, a, b, out f32; all of out's shape by strides
  View condition, a, b, out;
};
struct SwigluArgs {  // y = silu(gate) * up; rows of `cols`, row strides given (gate and up may be halves of one array)
  const float *gate, *up;
  float* y;
  int64_t rows, cols, gate_stride, up_stride;
};
struct SwigluBackwardArgs {
  const float *gate, *up, *dy;
  float *dgate, *dup;
  int64_t rows, cols, gate_stride, up_stride, dgate_stride, dup_stride;
  bool accumulate;
};
struct DropoutArgs {  // y (+)= keep(i) ? x / (1 - p) : 0; element i kept when philox(.., i / 4, stream, step).x[i % 4] >= drop_threshold(p)
  const float* x;
  float* y;
  int64_t n;
  float p;
  const RandomState* random;
  uint32_t stream;
  bool accumulate;
};

// ---- reductions ----

enum class Reduce : int32_t { sum, mean, max, min, argmax, argmin };
struct ReduceArgs {  // x's first `kept` dimensions stay, the rest is reduced; out dense over the kept ones: f32, i32 for argmax/argmin
  Reduce kind;       // ties: the lowest index; NaN wins max and min
  View x;            // f32, any strides
  int32_t kept;
  void* out;
  bool accumulate;  // sum and mean
};
struct ColumnSumArgs {  // out[c] (+)= sum over rows of x[r][c]: bias gradients
  const float* x;
  float* out;
  int64_t rows, cols;
  bool accumulate;
};
struct SoftmaxArgs {  // over the last dimension; -inf entries give 0 (a row of nothing else gives NaN, as in PyTorch)
  const float* x;
  float* y;
  int64_t rows, cols;
  bool log;
};
struct SoftmaxBackwardArgs {  // y as the forward gave it
  const float *y, *dy;
  float* dx;
  int64_t rows, cols;
  bool log, accumulate;
};

// ---- matmul ----

enum class Activation : int32_t { none, gelu_tanh, gelu_erf, relu, relu2, silu };
// c[m][n] (+)= sum_k a(m,k) * b(k,n), then the epilogue. a(m,k) = a[m*a_m + k*a_k], b(k,n) = b[k*b_k + n*b_n]; one stride of
// each is 1. Batched: `batch` products, each operand with its own batch stride (0 broadcasts), at most two batch dimensions.
// Epilogue, in this order: + bias[n]; store to pre; activation; + residual[m][n]. Bits of a row do not depend on M.
struct MatmulArgs {
  const float *a, *b;
  float* c;
  int64_t M, N, K;
  int64_t a_m, a_k, b_k, b_n, c_m;
  int64_t batch[2], a_batch[2], b_batch[2], c_batch[2];  // batch {1, 1} for a plain product
  bool accumulate;
  const float* bias;      // [N] or null
  float* pre;             // [M][N] dense, the activation's input, or null
  const float* residual;  // [M][N] dense, or null
  Activation activation;
};

// ---- embedding, positions ----

struct EmbeddingArgs {     // out[i] = table[ids[i]] (+ positions[first + i % T]); an id outside [0, V) throws
  const float* table;      // [V][C]
  const float* positions;  // [>= first + T][C] or null
  const int32_t* ids;
  float* out;  // [n][C]
  int64_t n, C, V, T, first;
};
struct EmbeddingBackwardArgs {  // dtable[ids[i]] += dy[i] in order of i; dtable is cleared first unless accumulate
  const float* dy;
  const int32_t* ids;
  float* dtable;
  int64_t n, C, V;
  bool accumulate;
};
struct RopeArgs {  // rotary positions on (B, T, H, D) with the inner dimension dense; the first `rotary` of D turn, the rest is copied
  const float* x;
  float* y;
  int64_t B, T, H, D, rotary;
  int64_t x_stride[3], y_stride[3];  // of B, T, H
  const int32_t* positions;          // [B][T], or null: first, first + 1, ...
  int64_t first;
  float theta;
  bool interleaved;  // pairs (2i, 2i+1) as in the paper; otherwise (i, i + rotary/2) as in Llama files
  bool inverse;      // turn back: the gradient
  bool accumulate;
};

// ---- normalisation ----

// h = x (+ residual); y = (h - mean) * rstd * w (+ b). rms: mean is 0, rstd = 1/sqrt(mean(h^2) + eps).
// The variance is that of the centred values, never E[h^2] - mean^2.
struct NormArgs {
  bool rms;
  const float *x, *residual, *w, *b;  // residual, w, b may be null
  float *h, *y;                       // h only with residual
  float *mean, *rstd;                 // [rows]; mean null for rms
  int64_t rows, cols;
  float eps;
};
struct NormBackwardArgs {
  bool rms;
  const float *h, *w, *mean, *rstd, *dy;
  float *dx, *dw, *db;  // each may be null: not wanted
  int64_t rows, cols;
  bool accumulate_dx, accumulate_dw, accumulate_db;
};

// ---- attention ----

// o = dropout(softmax(scale * q k^T + mask)) v, never materialising Tq x Tk. Query i stands at position i + Tk - Tq.
// Key j is seen by the query at position i when: not causal or j <= i; window == 0 or j > i - window (and, not causal,
// j < i + window); documents == null or equal ids. A query that sees nothing gives o = 0, lse = -inf and no gradient.
// Head h of q reads head h / (H / Hkv) of k and v. Strides are of B, T, H; the inner dimension is dense.
// Dropout draws element ((b*H + h)*Tq + i)*Tk + j.
struct AttentionShape {
  int64_t B, Tq, Tk, H, Hkv, D;
  float scale;
  bool causal;
  int64_t window;
  const int32_t *q_documents, *k_documents;  // [B][Tq], [B][Tk], or null
  float dropout;
  const RandomState* random;  // when dropout > 0
  uint32_t stream;
};
struct AttentionArgs {
  AttentionShape s;
  const float *q, *k, *v;
  float *o, *lse;  // lse [B][H][Tq]: natural logarithm of the sum of exponentials
  int64_t q_stride[3], k_stride[3], v_stride[3], o_stride[3];
};
struct AttentionBackwardArgs {
  AttentionShape s;
  const float *q, *k, *v, *o, *lse, *d_o;
  float *dq, *dk, *dv;
  float* delta;  // workspace [B][H][Tq]
  int64_t q_stride[3], k_stride[3], v_stride[3], o_stride[3], do_stride[3], dq_stride[3], dk_stride[3], dv_stride[3];
  bool accumulate_dq, accumulate_dk, accumulate_dv;
};

// ---- loss ----

// losses[r] = lse(r) - (1-s)*logit[target] - s*mean(logits) + z*lse(r)^2 over the first `valid` columns; 0 where the target
// is ignore_index. With dlogits: d(scale * sum of losses)/dlogits; columns from `valid` to `cols` get 0. dlogits may be logits.
// A target that is neither ignore_index nor within [0, valid) throws.
struct CrossEntropyArgs {
  const float* logits;  // [rows][cols]
  float* dlogits;       // [rows][cols] or null
  const int32_t* targets;
  float* losses;       // [rows]
  const float* scale;  // one f32 in device memory: 1 / target tokens of the whole step
  int64_t rows, cols, valid;
  int32_t ignore_index;
  float smoothing, z_loss;
};

// ---- optimizers: flat buffers, one launch each ----

struct StepBeginArgs {  // lr = lr; without `keep_clip`: clip = 1, skip = 0; then updates += 1 unless skip
  StepState* state;
  float lr;
  bool keep_clip;
};
struct GradNormArgs {  // grad_norm = |g| / loss_scale; clip = min(1, max_norm / (grad_norm + 1e-6)), 1 if max_norm <= 0; skip = norm not
                       // finite
  const float* g;
  int64_t n;
  StepState* state;
  float max_norm;
};
enum class Optimizer : int32_t { adamw, adam, sgd, lion };
// g' = g * clip / loss_scale. The first `decay_n` elements have weight_decay, the others none.
//   adamw: p *= 1 - lr*wd; m, v; p -= lr * (m / c1) / (sqrt(v / c2) + eps)      (Loshchilov & Hutter 2019)
//   adam:  g' += wd*p; m, v; the same update                                    (Kingma & Ba 2015)
//   sgd:   g' += wd*p; first update m = g', then m = beta1*m + (1-dampening)*g'; p -= lr * (nesterov ? g' + beta1*m : m); beta1 = 0: no m
//   lion:  p *= 1 - lr*wd; p -= lr * sign(beta1*m + (1-beta1)*g'); m = beta2*m + (1-beta2)*g'   (Chen et al. 2023)
struct OptimizerArgs {
  Optimizer kind;
  float *p, *m, *v;
  const float* g;
  int64_t n, decay_n;
  const StepState* state;
  double beta1, beta2;  // double: 1 - beta2 of a rounded 0.999 would be off by 1e-5
  float eps, weight_decay, dampening;
  bool nesterov;
};
struct MuonMomentumArgs {  // m = beta*m + (1-beta)*g'; x = nesterov ? (1-beta)*g' + beta*m : m
  const float* g;
  float *m, *x;
  int64_t n;
  const StepState* state;
  double beta;
  bool nesterov;
};
struct MuonApplyArgs {  // p = p * (1 - lr*wd) - lr * ratio * x, unless skip
  float* p;
  const float* x;
  int64_t n;
  const StepState* state;
  float weight_decay, ratio;
};

struct Backend {
  void (*copy)(const CopyArgs&);
  void (*fill)(const FillArgs&);
  void (*random)(const RandomArgs&);
  void (*gather)(const GatherArgs&);
  void (*gather_backward)(const GatherBackwardArgs&);
  void (*unary)(const UnaryArgs&);
  void (*unary_backward)(const UnaryBackwardArgs&);
  void (*binary)(const BinaryArgs&);
  void (*where)(const WhereArgs&);
  void (*swiglu)(const SwigluArgs&);
  void (*swiglu_backward)(const SwigluBackwardArgs&);
  void (*dropout)(const DropoutArgs&);
  void (*reduce)(const ReduceArgs&);
  void (*column_sum)(const ColumnSumArgs&);
  void (*softmax)(const SoftmaxArgs&);
  void (*softmax_backward)(const SoftmaxBackwardArgs&);
  void (*matmul)(const MatmulArgs&);
  void (*embedding)(const EmbeddingArgs&);
  void (*embedding_backward)(const EmbeddingBackwardArgs&);
  void (*rope)(const RopeArgs&);
  void (*norm)(const NormArgs&);
  void (*norm_backward)(const NormBackwardArgs&);
  void (*attention)(const AttentionArgs&);
  void (*attention_backward)(const AttentionBackwardArgs&);
  void (*cross_entropy)(const CrossEntropyArgs&);
  void (*step_begin)(const StepBeginArgs&);
  void (*grad_norm)(const GradNormArgs&);
  void (*optimizer)(const OptimizerArgs&);
  void (*muon_momentum)(const MuonMomentumArgs&);
  void (*muon_apply)(const MuonApplyArgs&);
};

}  // namespace heddle
