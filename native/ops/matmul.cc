#include "ops/check.h"
#include "ops/ops.h"

namespace heddle::ops {
namespace {

// A matrix operand: one of its last two strides is 1.
Tensor matrix(const Tensor& t, const char* argument, DType type) {
  require_float(t, argument);
  require(t.rank() >= 2, argument, "of at least two dimensions", t.shape);
  const int64_t r = t.rank();
  const bool unit = t.stride[r - 1] == 1 || t.stride[r - 2] == 1 || t.shape[r - 1] == 1 || t.shape[r - 2] == 1;
  return t.dtype == type && unit ? t : copy_of(t, type);
}

// Row and column step of a matrix whose dimensions may be swapped. A dimension of size 1 has no step of its own: it gets
// one that lets the other be (or this one be) the unit stride.
void steps(const Tensor& t, bool transposed, int64_t* row, int64_t* col) {
  const int64_t r = t.rank();
  int64_t a = t.stride[r - 2], b = t.stride[r - 1];
  const int64_t rows = t.shape[r - 2], cols = t.shape[r - 1];
  if (a != 1 && b != 1) (cols == 1 ? b : a) = 1;
  if (rows == 1 && b == 1) a = cols;
  if (cols == 1 && a == 1) b = rows;
  *row = transposed ? b : a;
  *col = transposed ? a : b;
}

struct Batch {
  int64_t size, a, b, c;
};

// The leading dimensions as few loops as possible, innermost last.
std::vector<Batch> batches(const Shape& shape, const Tensor& a, const Tensor& b, const Tensor& c) {
  std::vector<Batch> loops;
  for (size_t i = 0; i < shape.size(); ++i) {
    const Batch next{shape[i], a.stride[i], b.stride[i], c.stride[i]};
    if (next.size == 1) continue;
    if (!loops.empty()) {
      Batch& last = loops.back();
      if (last.a == next.a * next.size && last.b == next.b * next.size && last.c == next.c * next.size) {
        last = {last.size * next.size, next.a, next.b, next.c};
        continue;
      }
    }
    loops.push_back(next);
  }
  return loops;
}

// Enqueues one product for every combination of the loops that the kernel (two of them) does not take.
void launch_batched(Device* device, MatmulArgs args, std::vector<Batch> loops) {
  while (loops.size() < 2) loops.insert(loops.begin(), Batch{1, 0, 0, 0});
  if (loops.size() > 2) {
    const Batch outer = loops.front();
    loops.erase(loops.begin());
    for (int64_t i = 0; i < outer.size; ++i) {
      launch_batched(device, args, loops);
      args.a = static_cast<const char*>(args.a) + outer.a * static_cast<int64_t>(size_of(args.type));
      args.b = static_cast<const char*>(args.b) + outer.b * static_cast<int64_t>(size_of(args.type));
      args.c = static_cast<char*>(args.c) + outer.c * static_cast<int64_t>(size_of(args.c_type));
    }
    return;
  }
  for (int i = 0; i < 2; ++i) {
    args.batch[i] = loops[i].size;
    args.a_batch[i] = loops[i].a;
    args.b_batch[i] = loops[i].b;
    args.c_batch[i] = loops[i].c;
  }
  launch(device, device->backend->matmul, args);
}

struct Product {
  Shape lead;  // of the result
  int64_t M, N, K;
};

Product product_of(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b) {
  require_same_device(a, "a", b, "b");
  require(a.rank() >= 2, "a", "of at least two dimensions", a.shape);
  require(b.rank() >= 2, "b", "of at least two dimensions", b.shape);
  Product p;
  p.M = a.shape[a.rank() - (trans_a ? 1 : 2)];
  p.K = a.shape[a.rank() - (trans_a ? 2 : 1)];
  p.N = b.shape[b.rank() - (trans_b ? 2 : 1)];
  const int64_t k = b.shape[b.rank() - (trans_b ? 1 : 2)];
  if (p.K != k)
    fail("a and b must have equal inner sizes, got " + text(a.shape) + (trans_a ? " transposed" : "") + " and " + text(b.shape) +
         (trans_b ? " transposed" : ""));
  p.lead = broadcast(Shape(a.shape.begin(), a.shape.end() - 2), Shape(b.shape.begin(), b.shape.end() - 2));
  return p;
}

Unary function_of(Activation activation) {
  switch (activation) {
    case Activation::gelu_tanh:
      return Unary::gelu_tanh;
    case Activation::gelu_erf:
      return Unary::gelu_erf;
    case Activation::relu:
      return Unary::relu;
    case Activation::relu2:
      return Unary::relu2;
    case Activation::silu:
      return Unary::silu;
    case Activation::none:
      break;
  }
  fail("no activation has no derivative", ErrorCode::internal);
}

// (..., C) as (rows, C).
Tensor as_rows(const Tensor& t) {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < t.shape.size(); ++i) rows *= t.shape[i];
  return reshape(t, {rows, t.shape.back()});
}

Tensor with_lead(const Tensor& t, const Shape& lead) {
  Shape shape = lead;
  shape.append(t.shape.end() - 2, t.shape.end());
  return expand(t, shape);
}

}  // namespace

void matmul_into(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b, const Tensor& out, bool accumulate, Precision precision) {
  const Product p = product_of(a, b, trans_a, trans_b);
  Shape shape = p.lead;
  shape.append({p.M, p.N});
  const DType type = compute_type({&a, &b}), c_type = out.dtype == type ? type : DType::f32;
  const Output to(out, "out", shape, accumulate, c_type);
  if (!out.elements()) return;
  if (p.K == 0) {
    if (!accumulate) fill(out, 0);
    return;
  }
  const Tensor x = with_lead(matrix(a, "a", type), p.lead), y = with_lead(matrix(b, "b", type), p.lead);
  MatmulArgs args{};
  args.type = type;
  args.c_type = c_type;
  args.precision = precision;
  args.a = x.data<void>();
  args.b = y.data<void>();
  args.c = to.data();
  args.M = p.M;
  args.N = p.N;
  args.K = p.K;
  steps(x, trans_a, &args.a_m, &args.a_k);
  steps(y, trans_b, &args.b_k, &args.b_n);
  args.c_m = p.N;
  args.accumulate = to.accumulate();
  args.activation = Activation::none;
  std::vector<Batch> loops = batches(p.lead, x, y, to.tensor());
  // One matrix for all rows: a batch of a's matrices is one tall matrix.
  if (loops.size() == 1 && loops[0].b == 0 && loops[0].a == p.M * args.a_m && loops[0].c == p.M * p.N && args.a_k == 1) {
    args.M *= loops[0].size;
    loops.clear();
  }
  launch_batched(out.device(), args, loops);
  to.finish();
}

Tensor matmul(const Tensor& a, const Tensor& b, bool trans_a, bool trans_b, Precision precision) {
  const Product p = product_of(a, b, trans_a, trans_b);
  require_float(a, "a");
  require_float(b, "b");
  Shape shape = p.lead;
  shape.append({p.M, p.N});
  Tensor out = Tensor::empty(a.device(), compute_type({&a, &b}), shape);
  matmul_into(a, b, trans_a, trans_b, out, false, precision);
  return result_as(out, a.dtype);
}

Tensor matmul_derivative(const Tensor& a, const Tensor& b, bool trans_b, const Tensor& pre, Activation activation, Precision precision) {
  require_float(pre, "pre");
  require_same_device(a, "a", pre, "pre");
  if (a.rank() < 1) fail("a must have at least one dimension, got a scalar");
  const Product p = product_of(as_rows(a), b, false, trans_b);
  require(b.rank() == 2, "b", "a matrix", b.shape);
  if (activation == Activation::none) fail("activation must have a derivative, got none");
  Shape shape = a.shape;
  shape.back() = p.N;
  require_shape(pre, "pre", shape);
  if (p.K == 0) fail("b must have an inner size of at least 1, got " + text(b.shape));
  const DType type = compute_type({&a, &b, &pre});
  const Tensor rows = dense(a, "a", type), weight = matrix(b, "b", type), at = dense(pre, "pre", type);
  Tensor out = Tensor::empty(a.device(), type, shape);
  if (out.elements()) {
    MatmulArgs args{};
    args.type = args.c_type = type;
    args.precision = precision;
    args.a = rows.data<void>();
    args.b = weight.data<void>();
    args.c = out.data<void>();
    args.M = p.M;
    args.N = p.N;
    args.K = p.K;
    args.a_m = p.K;
    args.a_k = 1;
    steps(weight, trans_b, &args.b_k, &args.b_n);
    args.c_m = p.N;
    args.batch[0] = args.batch[1] = 1;
    args.activation = activation;
    args.derivative_at = at.data<void>();
    launch(out.device(), out.device()->backend->matmul, args);
  }
  return result_as(out, a.dtype);
}

std::tuple<Tensor, std::optional<Tensor>> linear(const Tensor& x, const Tensor& w, const Tensor* bias, const Tensor* residual,
                                                 Activation activation, bool conv1d, bool keep_pre, Precision precision) {
  require_same_device(x, "x", w, "w");
  require(w.rank() == 2, "w", conv1d ? "(in, out)" : "(out, in)", w.shape);
  const int64_t in = w.shape[conv1d ? 0 : 1], out = w.shape[conv1d ? 1 : 0];
  require(x.rank() >= 1 && x.shape.back() == in, "x", [&] { return "(..., " + std::to_string(in) + ") for w " + text(w.shape); }, x.shape);
  Shape shape = x.shape;
  shape.back() = out;
  if (bias) require_shape(*bias, "bias", {out});
  if (residual) require_shape(*residual, "residual", shape);

  const DType type = compute_type({&x, &w, bias, residual});
  if (precision == Precision::fp8 && x.elements() && w.elements()) {
    const auto [codes, scale] = fp8_quantize(x, FP8::e4m3);
    const auto [w_codes, w_scale] = fp8_quantize(conv1d ? permute(w, {1, 0}) : w, FP8::e4m3);
    auto [y, pre] = fp8_linear(codes, scale, FP8::e4m3, w_codes, w_scale, FP8::e4m3, bias, residual, activation, keep_pre, type);
    if (pre) pre = result_as(*pre, x.dtype);
    return {result_as(y, x.dtype), pre};
  }
  const Tensor rows = dense(x, "x", type), weight = matrix(w, "w", type);
  const std::optional<Tensor> b = bias ? std::optional(dense(*bias, "bias", type)) : std::nullopt;
  const std::optional<Tensor> r = residual ? std::optional(dense(*residual, "residual", type)) : std::nullopt;
  Tensor y = Tensor::empty(x.device(), type, shape);
  std::optional<Tensor> pre;
  if (keep_pre) pre = Tensor::empty(x.device(), type, shape);
  if (y.elements() && in == 0) fail("w must have an inner size of at least 1, got " + text(w.shape));
  if (y.elements()) {
    MatmulArgs args{};
    args.type = args.c_type = type;
    args.precision = precision;
    args.a = rows.data<void>();
    args.b = weight.data<void>();
    args.c = y.data<void>();
    args.M = y.elements() / out;
    args.N = out;
    args.K = in;
    args.a_m = in;
    args.a_k = 1;
    steps(weight, !conv1d, &args.b_k, &args.b_n);
    args.c_m = out;
    args.batch[0] = args.batch[1] = 1;
    args.bias = b ? b->data<void>() : nullptr;
    args.pre = pre ? pre->data<void>() : nullptr;
    args.residual = r ? r->data<void>() : nullptr;
    args.activation = activation;
    launch(x.device(), x.device()->backend->matmul, args);
  }
  if (pre) pre = result_as(*pre, x.dtype);
  return {result_as(y, x.dtype), pre};
}

void linear_backward(const Tensor& dy, bool spend_dy, const Tensor* x, const Tensor& w, const Tensor* pre, Activation activation,
                     bool conv1d, const Tensor* dx, bool add_dx, const Tensor* dw, bool add_dw, const Tensor* db, bool add_db,
                     Precision precision) {
  require(w.rank() == 2, "w", conv1d ? "(in, out)" : "(out, in)", w.shape);
  const int64_t in = w.shape[conv1d ? 0 : 1], out_size = w.shape[conv1d ? 1 : 0];
  require(dy.rank() >= 1 && dy.shape.back() == out_size, "dy", [&] { return "(..., out) for w " + text(w.shape); }, dy.shape);
  const Shape shape = dy.shape;
  Shape shape_x = shape;
  shape_x.back() = in;
  if (x) require_shape(*x, "x", shape_x);
  if (dw) {
    if (!x) fail("x must be what w was multiplied by, got null");
    require_shape(*dw, "dw", w.shape);
  }

  Tensor g = dy;
  if (activation != Activation::none) {
    if (!pre) fail("pre must be what the activation got, got null");
    if (!spend_dy || !dy.dense()) g = Tensor::empty(dy.device(), dy.dtype, shape);
    unary_backward(*pre, dy, function_of(activation), g, false);
  }
  const Tensor rows_g = as_rows(g);
  if (dw) {
    const Tensor rows_x = as_rows(*x);
    matmul_into(conv1d ? rows_x : rows_g, conv1d ? rows_g : rows_x, true, false, *dw, add_dw, precision);
  }
  if (db) sum_into(rows_g, *db, add_db);
  if (dx) {
    const Output out(*dx, "dx", shape_x, add_dx, dx->dtype);
    matmul_into(rows_g, w, false, conv1d, as_rows(out.tensor()), out.accumulate(), precision);
    out.finish();
  }
}

}  // namespace heddle::ops
