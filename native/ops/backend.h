#pragma once
// What a device must be able to do: one argument struct and one typed slot per kernel. Arguments are checked before they
// get here (native/ops/*.cc); a kernel may only assert. Pointers are device memory of the stream that runs the kernel.
//
// Letters: B batch, T time (Tq queries, Tk keys), C width, H heads, D head size, V vocabulary; rows = B*T where only that
// matters. Unless a stride is given, arrays are dense and row-major. Strides count elements.
//
// `accumulate`: add to what the output holds; otherwise overwrite it without reading. Every kernel gives the same bits for
// every thread count: sums run in an order that depends on the shapes alone.
//
// `type` is the float type of every operand that is a void pointer, unless said otherwise: f32, or bf16 and f16 on a device that
// computes_half. Arithmetic is in f32 whatever the storage. Statistics, losses and the gradients of parameters are f32.
//
// `workspace`: scratch memory, as many bytes as the kernel's second function in Backend asks for.
#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "core/fp8.h"
#include "core/random.h"
#include "core/rope_scaling.h"
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
struct UnaryArgs {  // y = f(x), dense; y may be x
  Unary kind;
  DType type;
  const void* x;
  void* y;
  int64_t n;
};
struct UnaryBackwardArgs {  // dx (+)= dy * f'(x), dense; dx may be dy
  Unary kind;
  DType type;
  const void *x, *dy;
  void* dx;
  int64_t n;
  bool accumulate;
};
enum class Binary : int32_t { add, sub, mul, div, maximum, minimum, pow, eq, ne, lt, le, gt, ge };
struct BinaryArgs {  // out = f(a, b); a and b of one type (float or i32) broadcast to out's shape; out of that type, or bool for eq..ge
  Binary kind;
  View a, b, out;  // out is dense, or aliases a exactly (in place); floats and accumulate: out += f(a, b)
  bool accumulate;
};
struct WhereArgs {  // out = condition ? a : b; condition u8/bool; a, b, out of one float type; all of out's shape by strides
  View condition, a, b, out;
};
struct SwigluArgs {  // y = silu(gate) * up; rows of `cols`, row strides given (gate and up may be halves of one array)
  DType type;
  const void *gate, *up;
  void* y;
  int64_t rows, cols, gate_stride, up_stride;
};
struct SwigluBackwardArgs {
  DType type;
  const void *gate, *up, *dy;
  void *dgate, *dup;
  int64_t rows, cols, gate_stride, up_stride, dgate_stride, dup_stride;
  bool accumulate;
};
struct DropoutArgs {  // y (+)= keep(i) ? x / (1 - p) : 0; element i kept when philox(.., i / 4, stream, step).x[i % 4] >= drop_threshold(p)
  DType type;
  const void* x;
  void* y;
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
  View x;            // a float type, any strides
  int32_t kept;
  void* out;
  bool accumulate;  // sum and mean
  void* workspace;
};
struct ColumnSumArgs {  // out[c] (+)= sum over rows of x[r][c]: bias gradients
  DType type;           // of x
  const void* x;
  float* out;
  int64_t rows, cols;
  bool accumulate;
  void* workspace;
};
struct SoftmaxArgs {  // over the last dimension; -inf entries give 0 (a row of nothing else gives NaN, as in PyTorch)
  DType type;
  const void* x;
  void* y;
  int64_t rows, cols;
  bool log;
};
struct SoftmaxBackwardArgs {  // y as the forward gave it
  DType type;
  const void *y, *dy;
  void* dx;
  int64_t rows, cols;
  bool log, accumulate;
};

// ---- matmul ----

enum class Activation : int32_t { none, gelu_tanh, gelu_erf, relu, relu2, silu };
// What operands of f32 products are rounded to, where the device multiplies such faster; elsewhere, and where few rows leave a product to
// memory, it computes them in full. Sums are f32. fp8 is for `linear`, which makes it of operands of any type, everywhere, and has the
// product below; all others take it as bf16.
enum class Precision : int32_t { full, tf32, bf16, fp8 };
// c[m][n] (+)= sum_k a(m,k) * b(k,n), then the epilogue. a(m,k) = a[m*a_m + k*a_k], b(k,n) = b[k*b_k + n*b_n]; one stride of
// each is 1. Batched: `batch` products, each operand with its own batch stride (0 broadcasts), at most two batch dimensions.
// Epilogue, in this order: * a_scale * b_scale; + bias[n]; store to pre; activation; + residual[m][n]. Bits of a row do not depend on M.
struct MatmulArgs {
  DType type, c_type;  // of a, b, bias, pre, residual; of c: `type`, or f32
  Precision precision;
  const void *a, *b;
  void* c;
  int64_t M, N, K;
  int64_t a_m, a_k, b_k, b_n, c_m;
  int64_t batch[2], a_batch[2], b_batch[2], c_batch[2];  // batch {1, 1} for a plain product
  bool accumulate;
  const void* bias;      // [N] or null
  void* pre;             // [M][N] dense, the activation's input, or null
  const void* residual;  // [M][N] dense, or null
  Activation activation;
  // [M][N] dense, of `type`, or null: the sum is multiplied by activation'(derivative_at), in place of all of the above.
  const void* derivative_at;
  const float *a_scale, *b_scale;  // [1] each, or both null
  void* workspace;
};

// ---- fp8 (core/fp8.h) ----

struct FP8QuantizeArgs {  // codes[i] = the code of x[i] / scale, scale = largest |x[i]| / largest value; NaN are left out of it
  DType type;             // of x
  FP8 format;
  const void* x;
  uint8_t* codes;
  float* scale;  // [1]; 1 where it would be 0
  int64_t n;     // at least 1
  void* workspace;
};
struct FP8DequantizeArgs {  // out[i] = value(codes[i]) * scale, rounded to type; scale null: 1
  DType type;
  FP8 format;
  const uint8_t* codes;
  const float* scale;  // [1] or null
  void* out;
  int64_t n;
};
// A product whose a [M][K] and b [N][K] are codes, dense, with their scales. One product, nothing is added to.
struct FP8MatmulArgs : MatmulArgs {
  FP8 a_format, b_format;
};

// ---- quantised weights ----

// NF4 (core/nf4.h): n weights in the order of memory, the first of two in the high half of a byte.
struct NF4QuantizeArgs {
  const float* w;   // [n]
  uint8_t* codes;   // [(n + 1) / 2]; the half behind an odd n is a 0
  uint8_t* scales;  // [blocks], blocks = ceil(n / 64): codes of the blocks' constants
  float* ranges;    // [ceil(blocks / 256)]
  float* mean;      // [1]: of the constants
  int64_t n;
  void* workspace;
};
struct NF4DequantizeArgs {  // out[i] = level(code) * (mean + level(scale) * range), rounded to type
  DType type;
  const uint8_t *codes, *scales;
  const float *ranges, *mean;
  void* out;
  int64_t n;
};

// ---- embedding, positions ----

struct EmbeddingArgs {  // out[i] = table[ids[i]] (+ positions[first + i % T]); an id outside [0, V) throws
  DType type;
  const void* table;      // [V][C]
  const void* positions;  // [>= first + T][C] or null
  const int32_t* ids;
  void* out;  // [n][C]
  int64_t n, C, V, T, first;
};
struct EmbeddingBackwardArgs {  // dtable[ids[i]] += dy[i] in order of i; dtable is cleared first unless accumulate
  DType type;                   // of dy
  const void* dy;
  const int32_t* ids;
  float* dtable;
  int64_t n, C, V;
  bool accumulate;
  void* workspace;
};
struct RopeArgs {  // rotary positions on (B, T, H, D) with the inner dimension dense; the first `rotary` of D turn, the rest is copied
  DType type;
  const void* x;
  void* y;
  int64_t B, T, H, D, rotary;
  int64_t x_stride[3], y_stride[3];  // of B, T, H
  const int32_t* positions;          // [B][T], or null: first, first + 1, ...
  int64_t first;
  float theta;
  bool interleaved;  // pairs (2i, 2i+1) as in the paper; otherwise (i, i + rotary/2) as in Llama files
  bool inverse;      // turn back: the gradient
  bool accumulate;
  RopeScaling scaling = {};
};

// ---- normalisation ----

// h = x (+ residual); y = (h - mean) * rstd * w (+ b). rms: mean is 0, rstd = 1/sqrt(mean(h^2) + eps).
// The variance is that of the centred values, never E[h^2] - mean^2.
struct NormArgs {
  bool rms;
  DType type;
  const void *x, *residual, *w, *b;  // residual, w, b may be null
  void *h, *y;                       // h only with residual
  float *mean, *rstd;                // [rows]; mean null for rms
  int64_t rows, cols;
  float eps;
};
struct NormBackwardArgs {
  bool rms;
  DType type;
  const void *h, *w, *dy;
  const float *mean, *rstd;
  void* dx;  // null: not wanted; so are
  float *dw, *db;
  int64_t rows, cols;
  bool accumulate_dx, accumulate_dw, accumulate_db;
  void* workspace;
};

// ---- attention ----

// o = dropout(softmax(scale * q k^T + mask)) v, never materialising Tq x Tk. Query i stands at position i + Tk - Tq.
// Key j is seen by the query at position i when: not causal or j <= i; window == 0 or j > i - window (and, not causal,
// j < i + window); documents == null or equal ids. A query that sees nothing gives o = 0, lse = -inf and no gradient.
// Head h of q reads head h / (H / Hkv) of k and v. Strides are of B, T, H; the inner dimension is dense.
// Dropout draws element ((b*H + h)*Tq + i)*Tk + j.
struct AttentionShape {
  DType type;
  int64_t B, Tq, Tk, H, Hkv, D;
  float scale;
  bool causal;
  int64_t window;
  const int32_t *q_documents, *k_documents;  // [B][Tq], [B][Tk], or null
  float dropout;
  const RandomState* random;  // when dropout > 0
  uint32_t stream;
};
// Keys and values in pages (Kwon et al. 2023): key j of row b is position j % size of page table[b][j / size] of k and v, whose strides
// are then of pages, positions of a page, heads. Rows may share pages. An entry outside [0, count) that is needed throws. No documents, no
// dropout.
struct AttentionPages {
  const int32_t* table;          // [B][columns], or null: rows of keys lie on their own
  int64_t columns, size, count;  // size: positions of a page, a power of two from kSmallestPage on
};
constexpr int64_t kSmallestPage = 16;

struct AttentionArgs {
  AttentionShape s;
  const void *q, *k, *v;
  void* o;
  float* lse;  // [B][H][Tq]: natural logarithm of the sum of exponentials
  int64_t q_stride[3], k_stride[3], v_stride[3], o_stride[3];
  AttentionPages pages;
  void* workspace;
};
// pages[places[i] / size][places[i] % size] = x[i / T][i % T], a row (H, D) each: what is new goes into its pages. Both of one type, copied
// as it is. Strides of pages are of pages, positions of a page, heads, those of x of B, T, H; the inner dimension is dense. No two places
// are the same.
struct WritePagesArgs {
  DType type;
  void* pages;
  const void* x;
  const int32_t* places;  // [n], within [0, count * size)
  int64_t n, T, H, D, size, count;
  int64_t pages_stride[3], x_stride[3];
};
struct AttentionBackwardArgs {
  AttentionShape s;
  const void *q, *k, *v, *o, *d_o;
  const float* lse;
  void *dq, *dk, *dv;
  int64_t q_stride[3], k_stride[3], v_stride[3], o_stride[3], do_stride[3], dq_stride[3], dk_stride[3], dv_stride[3];
  bool accumulate_dq, accumulate_dk, accumulate_dv;
  void* workspace;
};

// ---- loss ----

// losses[r] = lse(r) - (1-s)*logit[target] - s*mean(logits) + z*lse(r)^2 over the first `valid` columns; 0 where the target
// is ignore_index. With dlogits: d(scale * sum of losses)/dlogits; columns from `valid` to `cols` get 0. dlogits may be logits.
// A target that is neither ignore_index nor within [0, valid) throws.
struct CrossEntropyArgs {
  DType type;
  const void* logits;  // [rows][cols]
  void* dlogits;       // [rows][cols] or null
  const int32_t* targets;
  float* losses;       // [rows]
  const float* scale;  // one f32 in device memory: 1 / target tokens of the whole step
  int64_t rows, cols, valid;
  int32_t ignore_index;
  float smoothing, z_loss;
};

// ---- optimizers: flat buffers, one launch each ----

struct StepBeginArgs {  // lr = next_lr; without `keep_clip`: clip = 1, skip = 0; then updates += 1 unless skip
  StepState* state;
  bool keep_clip;
};
struct GradNormArgs {  // grad_norm = |g| / loss_scale; clip = min(1, max_norm / (grad_norm + 1e-6)), 1 if max_norm <= 0; skip = norm not
                       // finite
  const float* g;
  int64_t n;
  StepState* state;
  float max_norm;
  void* workspace;
};
enum class Optimizer : int32_t { adamw, adam, sgd, lion };
// g' = g * clip / loss_scale. The first `decay_n` elements have weight_decay, the others none.
//   adamw: p *= 1 - lr*wd; m, v; p -= lr * (m / c1) / (sqrt(v / c2) + eps)      (Loshchilov & Hutter 2019)
//   adam:  g' += wd*p; m, v; the same update                                    (Kingma & Ba 2015)
//   sgd:   g' += wd*p; first update m = g', then m = beta1*m + (1-dampening)*g'; p -= lr * (nesterov ? g' + beta1*m : m); beta1 = 0: no m
//   lion:  p *= 1 - lr*wd; p -= lr * sign(beta1*m + (1-beta1)*g'); m = beta2*m + (1-beta2)*g'   (Chen et al. 2023)
//
// What is kept in bf16 is widened when it is read and rounded at random (core/random.h) when it is written: element i with word i % 4 of
// Philox block i / 4 of (seed, kMomentStream or kWeightStream, step = updates). To nearest would not do. With beta2 = 0.999 a v that meets
// no gradient changes by 1/1000 a step, less than the half unit in the last place, 1/512 to 1/256, that rounding would undo: it never
// falls, and rises only by squares larger than about four times v. A weight's step, lr times about 1, is lost below 1/512 of the weight.
struct OptimizerArgs {
  Optimizer kind;
  void *p, *m, *v;  // of p_type and moment_type: f32 or bf16
  const float* g;
  void* copy;  // what kernels compute with: p rounded to copy_type in the same pass, or null
  DType copy_type;
  int64_t n, decay_n;
  const StepState* state;
  double beta1, beta2;  // double: 1 - beta2 of a rounded 0.999 would be off by 1e-5
  float eps, weight_decay, dampening;
  bool nesterov;
  DType p_type = DType::f32, moment_type = DType::f32;  // bf16 p: no copy
  uint32_t seed_low = 0, seed_high = 0;                 // of the rounding
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
  void* copy;  // as in OptimizerArgs
  DType copy_type;
  int64_t n;
  const StepState* state;
  float weight_decay, ratio;
};

// A device's kernel: run() is called on the stream's worker. `workspace` says how many bytes of scratch memory it wants for these
// arguments on the device's card of that number; null: none.
template <class Args>
struct Kernel {
  void (*run)(const Args&) = nullptr;
  size_t (*workspace)(const Args&, int card) = nullptr;
};

struct Backend {
  Kernel<CopyArgs> copy;
  Kernel<FillArgs> fill;
  Kernel<RandomArgs> random;
  Kernel<GatherArgs> gather;
  Kernel<GatherBackwardArgs> gather_backward;
  Kernel<UnaryArgs> unary;
  Kernel<UnaryBackwardArgs> unary_backward;
  Kernel<BinaryArgs> binary;
  Kernel<WhereArgs> where;
  Kernel<SwigluArgs> swiglu;
  Kernel<SwigluBackwardArgs> swiglu_backward;
  Kernel<DropoutArgs> dropout;
  Kernel<ReduceArgs> reduce;
  Kernel<ColumnSumArgs> column_sum;
  Kernel<SoftmaxArgs> softmax;
  Kernel<SoftmaxBackwardArgs> softmax_backward;
  Kernel<MatmulArgs> matmul;
  Kernel<FP8QuantizeArgs> fp8_quantize;
  Kernel<FP8DequantizeArgs> fp8_dequantize;
  Kernel<FP8MatmulArgs> fp8_matmul;
  Kernel<NF4QuantizeArgs> nf4_quantize;
  Kernel<NF4DequantizeArgs> nf4_dequantize;
  Kernel<EmbeddingArgs> embedding;
  Kernel<EmbeddingBackwardArgs> embedding_backward;
  Kernel<RopeArgs> rope;
  Kernel<NormArgs> norm;
  Kernel<NormBackwardArgs> norm_backward;
  Kernel<AttentionArgs> attention;
  Kernel<AttentionBackwardArgs> attention_backward;
  Kernel<WritePagesArgs> write_pages;
  Kernel<CrossEntropyArgs> cross_entropy;
  Kernel<StepBeginArgs> step_begin;
  Kernel<GradNormArgs> grad_norm;
  Kernel<OptimizerArgs> optimizer;
  Kernel<MuonMomentumArgs> muon_momentum;
  Kernel<MuonApplyArgs> muon_apply;
};

}  // namespace heddle
