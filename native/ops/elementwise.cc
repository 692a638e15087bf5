#include "ops/check.h"
#include "ops/names.h"
#include "ops/ops.h"

namespace heddle::ops {

Tensor unary(const Tensor& x, Unary kind) {
  current_op = text_of(kind);
  const DType type = compute_type(x);
  const Tensor in = dense(x, "x", type);
  Tensor out = Tensor::empty(x.device(), type, x.shape);
  if (out.elements())
    launch(x.device(), x.device()->backend->unary, UnaryArgs{kind, type, in.data<void>(), out.data<void>(), in.elements()});
  return result_as(out, x.dtype);
}

void unary_backward(const Tensor& x, const Tensor& dy, Unary kind, const Tensor& dx, bool accumulate) {
  require_shape(dy, "dy", x.shape);
  const DType type = compute_type({&x, &dy});
  const Tensor in = dense(x, "x", type), grad = dense(dy, "dy", type);
  const Output out(dx, "dx", x.shape, accumulate, type);
  if (!in.elements()) return;
  launch(x.device(), x.device()->backend->unary_backward,
         UnaryBackwardArgs{kind, type, in.data<void>(), grad.data<void>(), out.data(), in.elements(), out.accumulate()});
  out.finish();
}

namespace {

bool compares(Binary kind) { return kind >= Binary::eq; }

bool integral(const Tensor& t) { return !is_float(t.dtype); }

// The type of a float result: that of both operands; next to an integer, or to a single number, that of the other; f32
// where two types of equal standing meet.
DType promoted(const Tensor& a, const Tensor& b) {
  if (a.dtype == b.dtype || integral(b)) return a.dtype;
  if (integral(a)) return b.dtype;
  if ((a.rank() == 0) != (b.rank() == 0)) return a.rank() == 0 ? b.dtype : a.dtype;
  return DType::f32;
}

}  // namespace

Tensor binary(const Tensor& a, const Tensor& b, Binary kind) {
  current_op = text_of(kind);
  require_same_device(a, "a", b, "b");
  const bool integers = integral(a) && integral(b);
  const Shape shape = broadcast(a.shape, b.shape);
  const DType type = integers ? DType::i32 : compute_type({&a, &b});
  const Tensor x = result_as(a, type), y = result_as(b, type);
  Tensor out = Tensor::empty(a.device(), compares(kind) ? DType::boolean : type, shape);
  if (out.elements())
    launch(a.device(), a.device()->backend->binary, BinaryArgs{kind, expand(x, shape).view(), expand(y, shape).view(), out.view(), false});
  return compares(kind) || integers ? out : result_as(out, promoted(a, b));
}

void binary_into(const Tensor& a, const Tensor& b, Binary kind, const Tensor& out, bool accumulate) {
  require_same_device(a, "a", b, "b");
  require_same_device(a, "a", out, "out");
  require(!compares(kind), "kind", "an arithmetic operation", "a comparison");
  require(broadcast(broadcast(a.shape, b.shape), out.shape) == out.shape, "out", "of the shape that a and b broadcast to", out.shape);
  const DType type = compute_type({&a, &b, &out});  // out too: a sum in f32 is not rounded on its way there
  const Output to(out, "out", out.shape, accumulate, type);
  if (!out.elements()) return;
  const Tensor x = result_as(a, type), y = result_as(b, type);
  launch(a.device(), a.device()->backend->binary,
         BinaryArgs{kind, expand(x, out.shape).view(), expand(y, out.shape).view(), to.tensor().view(), to.accumulate()});
  to.finish();
}

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  require_same_device(condition, "condition", a, "a");
  require_same_device(a, "a", b, "b");
  require(condition.dtype == DType::boolean || condition.dtype == DType::u8, "condition", "bool or u8", condition.dtype);
  require_float(a, "a");
  require_float(b, "b");
  const Shape shape = broadcast(condition.shape, broadcast(a.shape, b.shape));
  const DType type = compute_type({&a, &b});
  const Tensor x = result_as(a, type), y = result_as(b, type);
  Tensor out = Tensor::empty(a.device(), type, shape);
  if (out.elements())
    launch(a.device(), a.device()->backend->where,
           WhereArgs{expand(condition, shape).view(), expand(x, shape).view(), expand(y, shape).view(), out.view()});
  return result_as(out, promoted(a, b));
}

namespace {

// A row-strided operand of (..., cols): dense, or one half of a packed (..., 2 * cols).
struct Rows {
  Tensor tensor;
  int64_t rows, cols, stride;
};

bool row_strided(const Tensor& t, DType type, int64_t* stride) {
  if (t.dtype != type || t.rank() == 0 || (t.shape.back() != 1 && t.stride.back() != 1)) return false;
  *stride = t.rank() > 1 ? t.stride[t.rank() - 2] : t.shape.back();
  for (int64_t i = t.rank() - 2; i > 0; --i)
    if (t.stride[i - 1] != t.stride[i] * t.shape[i]) return false;
  return true;
}

Rows rows_of(const Tensor& t, const char* argument, DType type) {
  require_float(t, argument);
  require(t.rank() >= 1, argument, "of at least one dimension", t.shape);
  Rows r{t, 0, t.shape.back(), t.shape.back()};
  r.rows = r.cols ? t.elements() / r.cols : 0;
  if (!row_strided(t, type, &r.stride)) {
    r.tensor = copy_of(t, type);
    r.stride = r.cols;
  }
  return r;
}

}  // namespace

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  require_same_device(gate, "gate", up, "up");
  require_shape(up, "up", gate.shape);
  const DType type = compute_type({&gate, &up});
  const Rows g = rows_of(gate, "gate", type), u = rows_of(up, "up", type);
  Tensor y = Tensor::empty(gate.device(), type, gate.shape);
  if (y.elements())
    launch(gate.device(), gate.device()->backend->swiglu,
           SwigluArgs{type, g.tensor.data<void>(), u.tensor.data<void>(), y.data<void>(), g.rows, g.cols, g.stride, u.stride});
  return result_as(y, gate.dtype);
}

void swiglu_backward(const Tensor& gate, const Tensor& up, const Tensor& dy, const Tensor& dgate, const Tensor& dup, bool accumulate) {
  require_shape(up, "up", gate.shape);
  require_shape(dy, "dy", gate.shape);
  require_shape(dgate, "dgate", gate.shape);
  require_shape(dup, "dup", gate.shape);
  const DType type = compute_type({&gate, &up, &dy});
  const Rows g = rows_of(gate, "gate", type), u = rows_of(up, "up", type);
  const Tensor grad = dense(dy, "dy", type);
  int64_t gate_stride, up_stride;
  if (row_strided(dgate, type, &gate_stride) && row_strided(dup, type, &up_stride)) {
    if (grad.elements())
      launch(gate.device(), gate.device()->backend->swiglu_backward,
             SwigluBackwardArgs{type, g.tensor.data<void>(), u.tensor.data<void>(), grad.data<void>(), dgate.data<void>(), dup.data<void>(),
                                g.rows, g.cols, g.stride, u.stride, gate_stride, up_stride, accumulate});
    return;
  }
  // An output of another type or layout: computed beside it, then carried over.
  const Tensor beside[2] = {Tensor::empty(gate.device(), type, gate.shape), Tensor::empty(gate.device(), type, gate.shape)};
  swiglu_backward(gate, up, dy, beside[0], beside[1], false);
  if (accumulate) {
    binary_into(dgate, beside[0], Binary::add, beside[0], false);
    binary_into(dup, beside[1], Binary::add, beside[1], false);
  }
  enqueue_copy(dgate, beside[0]);
  enqueue_copy(dup, beside[1]);
}

Tensor dropout(const Tensor& x, double p, const Tensor& random, int64_t stream) {
  Tensor out = Tensor::empty(x.device(), x.dtype, x.shape);
  dropout_backward(x, p, random, stream, out, false);  // the same product with the same mask
  return out;
}

void dropout_backward(const Tensor& dy, double p, const Tensor& random, int64_t stream, const Tensor& dx, bool accumulate) {
  require(p >= 0 && p <= 1, "p", "a probability from 0 to 1", p);
  require(random.dtype == DType::i32 && random.dense() && random.elements() == 4, "random", "a dense i32 tensor of 4 elements", random);
  require_same_device(dy, "x", random, "random");
  const DType type = compute_type(dy);
  const Tensor in = dense(dy, "x", type);
  const Output out(dx, "dx", dy.shape, accumulate, type);
  if (!in.elements()) return;
  launch(dy.device(), dy.device()->backend->dropout,
         DropoutArgs{type, in.data<void>(), out.data(), in.elements(), static_cast<float>(p), random.data<RandomState>(),
                     static_cast<uint32_t>(stream), out.accumulate()});
  out.finish();
}

}  // namespace heddle::ops
