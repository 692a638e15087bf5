#include "ops/check.h"
#include "ops/names.h"
#include "ops/ops.h"

namespace heddle::ops {

Tensor unary(const Tensor& x, Unary kind) {
  current_op = text_of(kind);
  const Tensor in = dense_f32(x, "x");
  Tensor out = Tensor::empty(x.device(), DType::f32, x.shape);
  if (out.elements()) launch(x.device(), x.device()->backend->unary, UnaryArgs{kind, in.data<float>(), out.data<float>(), in.elements()});
  return result_as(out, x.dtype);
}

void unary_backward(const Tensor& x, const Tensor& dy, Unary kind, const Tensor& dx, bool accumulate) {
  require_shape(dy, "dy", x.shape);
  const Tensor in = dense_f32(x, "x"), grad = dense_f32(dy, "dy");
  const Output out(dx, "dx", x.shape, accumulate);
  if (!in.elements()) return;
  launch(x.device(), x.device()->backend->unary_backward,
         UnaryBackwardArgs{kind, in.data<float>(), grad.data<float>(), out.data(), in.elements(), out.accumulate()});
  out.finish();
}

namespace {

bool compares(Binary kind) { return kind >= Binary::eq; }

// Both operands in one computing type: i32 stays when both are i32, everything else is f32.
Tensor arithmetic(const Tensor& t, bool integers) {
  if (integers) return t.dtype == DType::i32 ? t : copy_of(t, DType::i32);
  return t.dtype == DType::f32 ? t : copy_of(t, DType::f32);
}

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
  const Tensor x = arithmetic(a, integers), y = arithmetic(b, integers);
  Tensor out = Tensor::empty(a.device(), compares(kind) ? DType::boolean : integers ? DType::i32 : DType::f32, shape);
  if (out.elements())
    launch(a.device(), a.device()->backend->binary, BinaryArgs{kind, expand(x, shape).view(), expand(y, shape).view(), out.view(), false});
  return compares(kind) || integers ? out : result_as(out, promoted(a, b));
}

void binary_into(const Tensor& a, const Tensor& b, Binary kind, const Tensor& out, bool accumulate) {
  require_same_device(a, "a", b, "b");
  require_same_device(a, "a", out, "out");
  require(!compares(kind), "kind", "an arithmetic operation", "a comparison");
  require(broadcast(broadcast(a.shape, b.shape), out.shape) == out.shape, "out", "of the shape that a and b broadcast to", text(out.shape));
  const Output to(out, "out", out.shape, accumulate);
  if (!out.elements()) return;
  const Tensor x = arithmetic(a, false), y = arithmetic(b, false);
  launch(a.device(), a.device()->backend->binary,
         BinaryArgs{kind, expand(x, out.shape).view(), expand(y, out.shape).view(), to.tensor().view(), to.accumulate()});
  to.finish();
}

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  require_same_device(condition, "condition", a, "a");
  require_same_device(a, "a", b, "b");
  require(condition.dtype == DType::boolean || condition.dtype == DType::u8, "condition", "bool or u8", name_of(condition.dtype));
  require_float(a, "a");
  require_float(b, "b");
  const Shape shape = broadcast(condition.shape, broadcast(a.shape, b.shape));
  const Tensor x = arithmetic(a, false), y = arithmetic(b, false);
  Tensor out = Tensor::empty(a.device(), DType::f32, shape);
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

bool row_strided(const Tensor& t, int64_t* stride) {
  if (t.dtype != DType::f32 || t.rank() == 0 || (t.shape.back() != 1 && t.stride.back() != 1)) return false;
  *stride = t.rank() > 1 ? t.stride[t.rank() - 2] : t.shape.back();
  for (int64_t i = t.rank() - 2; i > 0; --i)
    if (t.stride[i - 1] != t.stride[i] * t.shape[i]) return false;
  return true;
}

Rows rows_of(const Tensor& t, const char* argument) {
  require_float(t, argument);
  require(t.rank() >= 1, argument, "of at least one dimension", text(t.shape));
  Rows r{t, 0, t.shape.back(), t.shape.back()};
  r.rows = r.cols ? t.elements() / r.cols : 0;
  if (!row_strided(t, &r.stride)) {
    r.tensor = copy_of(t, DType::f32);
    r.stride = r.cols;
  }
  return r;
}

}  // namespace

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  require_same_device(gate, "gate", up, "up");
  require_shape(up, "up", gate.shape);
  const Rows g = rows_of(gate, "gate"), u = rows_of(up, "up");
  Tensor y = Tensor::empty(gate.device(), DType::f32, gate.shape);
  if (y.elements())
    launch(gate.device(), gate.device()->backend->swiglu,
           SwigluArgs{g.tensor.data<float>(), u.tensor.data<float>(), y.data<float>(), g.rows, g.cols, g.stride, u.stride});
  return result_as(y, gate.dtype);
}

void swiglu_backward(const Tensor& gate, const Tensor& up, const Tensor& dy, const Tensor& dgate, const Tensor& dup, bool accumulate) {
  require_shape(up, "up", gate.shape);
  require_shape(dy, "dy", gate.shape);
  require_shape(dgate, "dgate", gate.shape);
  require_shape(dup, "dup", gate.shape);
  const Rows g = rows_of(gate, "gate"), u = rows_of(up, "up");
  const Tensor grad = dense_f32(dy, "dy");
  int64_t gate_stride, up_stride;
  if (row_strided(dgate, &gate_stride) && row_strided(dup, &up_stride)) {
    if (grad.elements())
      launch(gate.device(), gate.device()->backend->swiglu_backward,
             SwigluBackwardArgs{g.tensor.data<float>(), u.tensor.data<float>(), grad.data<float>(), dgate.data<float>(), dup.data<float>(),
                                g.rows, g.cols, g.stride, u.stride, gate_stride, up_stride, accumulate});
    return;
  }
  // An output of another type or layout: computed beside it, then carried over.
  const Tensor beside[2] = {Tensor::empty(gate.device(), DType::f32, gate.shape), Tensor::empty(gate.device(), DType::f32, gate.shape)};
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
  require(p >= 0 && p <= 1, "p", "a probability from 0 to 1", std::to_string(p));
  require(random.dtype == DType::i32 && random.dense() && random.elements() == 4, "random", "a dense i32 tensor of 4 elements", random);
  require_same_device(dy, "x", random, "random");
  const Tensor in = dense_f32(dy, "x");
  const Output out(dx, "dx", dy.shape, accumulate);
  if (!in.elements()) return;
  launch(dy.device(), dy.device()->backend->dropout,
         DropoutArgs{in.data<float>(), out.data(), in.elements(), static_cast<float>(p), random.data<RandomState>(),
                     static_cast<uint32_t>(stream), out.accumulate()});
  out.finish();
}

}  // namespace heddle::ops
