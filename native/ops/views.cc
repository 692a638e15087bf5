#include <algorithm>

#include "ops/check.h"
#include "ops/ops.h"

namespace heddle::ops {
namespace {

// Strides that show x in `shape` without moving data, or nothing. Runs of x's dimensions that lie one in the other are
// cut anew; a new dimension must not straddle two such runs.
bool view_strides(const Tensor& x, const Shape& shape, Shape* stride) {
  Shape sizes, steps;
  for (int64_t i = 0; i < x.rank(); ++i) {
    if (x.shape[i] == 1) continue;
    if (!sizes.empty() && steps.back() == x.shape[i] * x.stride[i]) {
      sizes.back() *= x.shape[i];
      steps.back() = x.stride[i];
    } else {
      sizes.push_back(x.shape[i]);
      steps.push_back(x.stride[i]);
    }
  }
  stride->assign(shape.size(), 1);
  size_t run = sizes.size();
  int64_t left = 1, step = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 1) continue;
    if (left == 1) {
      if (run == 0) return false;
      --run;
      left = sizes[run];
      step = steps[run];
    }
    if (left % shape[i]) return false;
    (*stride)[i] = step;
    step *= shape[i];
    left /= shape[i];
  }
  return left == 1 && run == 0;
}

}  // namespace

Tensor alias(const Tensor& x) { return x; }

Tensor reshape(const Tensor& x, const Shape& wanted) {
  Shape shape = wanted;
  int64_t known = 1, unknown = -1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1 && unknown < 0) {
      unknown = static_cast<int64_t>(i);
    } else {
      require(shape[i] >= 0, "shape", "dimensions of at least 0 and at most one -1", wanted);
      known *= shape[i];
    }
  }
  if (unknown >= 0) {
    require(known > 0, "shape", "without -1 beside a 0, where any size would fit", wanted);
    shape[unknown] = x.elements() / known;
  }
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  require(n == x.elements(), "shape", [&] { return "of the " + std::to_string(x.elements()) + " elements of " + text(x.shape); }, wanted);
  if (n == 0 || x.dense()) return reshaped(x, shape);
  Tensor r = x;
  r.shape = shape;
  if (view_strides(x, shape, &r.stride)) return r;
  return reshaped(copy_of(x, x.dtype), shape);
}

Tensor permute(const Tensor& x, const Shape& dims) {
  Tensor r = x;
  Shape seen(x.shape.size(), 0);
  require(
      dims.size() == x.shape.size(), "dims",
      [&] { return "an order of the " + std::to_string(x.rank()) + " dimensions of " + text(x.shape); }, dims);
  for (size_t i = 0; i < dims.size(); ++i) {
    const int64_t d = dimension(dims[i], x, "dims");
    require(!seen[d], "dims", "each dimension once", dims);
    seen[d] = 1;
    r.shape[i] = x.shape[d];
    r.stride[i] = x.stride[d];
  }
  return r;
}

Tensor slice(const Tensor& x, int64_t dim, int64_t start, int64_t stop, int64_t step) {
  dim = dimension(dim, x, "dim");
  require(step >= 1, "step", "at least 1", step);
  const int64_t n = x.shape[dim];
  if (start < 0) start += n;
  if (stop < 0) stop += n;
  start = std::clamp<int64_t>(start, 0, n);
  stop = std::clamp<int64_t>(stop, start, n);
  Tensor r = x;
  r.offset += start * x.stride[dim];
  r.shape[dim] = (stop - start + step - 1) / step;
  r.stride[dim] *= step;
  return r;
}

Tensor expand(const Tensor& x, const Shape& wanted) {
  Shape shape = wanted;
  for (size_t i = 0; i < shape.size(); ++i) {
    const size_t from_end = shape.size() - i;
    if (shape[i] == -1 && from_end <= x.shape.size()) shape[i] = x.shape[x.shape.size() - from_end];
    require(shape[i] >= 0, "shape", "sizes of at least 0, or -1 for one that stays", wanted);
  }
  const size_t lead = shape.size() - x.shape.size();
  bool fits = shape.size() >= x.shape.size();
  for (size_t i = 0; fits && i < x.shape.size(); ++i) fits = x.shape[i] == 1 || x.shape[i] == shape[lead + i];
  require(fits, "shape", [&] { return "one that " + text(x.shape) + " broadcasts to"; }, wanted);
  Tensor r = x;
  r.shape = shape;
  r.stride.assign(shape.size(), 0);
  for (size_t i = 0; i < x.shape.size(); ++i)
    if (x.shape[i] != 1 || shape[lead + i] == 1) r.stride[lead + i] = x.stride[i];
  return r;
}

std::tuple<Tensor, Tensor, Tensor> split_heads(const Tensor& qkv, int64_t heads, int64_t kv_heads) {
  const int64_t parts = heads + 2 * kv_heads;
  const bool fits = heads >= 1 && kv_heads >= 1 && qkv.rank() == 3 && qkv.shape[2] % parts == 0;
  require(fits, "qkv", [&] { return "(B, T, (" + std::to_string(heads) + " + 2 * " + std::to_string(kv_heads) + ") * D)"; }, qkv.shape);
  const Tensor all = reshape(qkv, {qkv.shape[0], qkv.shape[1], parts, qkv.shape[2] / parts});
  return {slice(all, 2, 0, heads, 1), slice(all, 2, heads, heads + kv_heads, 1), slice(all, 2, heads + kv_heads, parts, 1)};
}

}  // namespace heddle::ops
