#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>

#include "ops/check.h"
#include "ops/ops.h"

namespace heddle::ops {

Tensor empty(Device* device, DType dtype, const Shape& shape) { return Tensor::empty(device, dtype, shape); }
Tensor empty_on_host(Device* device, DType dtype, const Shape& shape) { return Tensor::empty(device, dtype, shape, Placement::host); }

void fill(const Tensor& out, double value) {
  if (out.elements()) launch(out.device(), out.device()->backend->fill, FillArgs{out.view(), value});
}

void random(const Tensor& out, Distribution distribution, double a, double b, double seed, int64_t stream) {
  require(out.dtype == DType::f32 && out.dense(), "out", "a dense f32 tensor", out);
  const uint64_t bits = seed_of(seed);
  if (!out.elements()) return;
  launch(out.device(), out.device()->backend->random,
         RandomArgs{out.data<float>(), out.elements(), distribution, static_cast<float>(a), static_cast<float>(b),
                    static_cast<uint32_t>(bits), static_cast<uint32_t>(bits >> 32), static_cast<uint32_t>(stream)});
}

Tensor cast(const Tensor& x, DType dtype) { return copy_of(x, dtype); }

void copy_into(const Tensor& out, const Tensor& x) {
  require_same_device(out, "out", x, "x");
  require(broadcast(out.shape, x.shape) == out.shape, "x", [&] { return "of a shape that broadcasts to " + text(out.shape); }, x.shape);
  enqueue_copy(out, expand(x, out.shape));
}

namespace {

// Bytes on their way from one device to another through the host's memory. Both streams hold it: whichever is done last frees it.
struct Transfer {
  void* staging = nullptr;
  std::mutex mutex;
  std::condition_variable wake;
  bool settled = false;  // the bytes are here, or `error` says why they never will be
  StreamResult error;
  std::atomic<int> holders{2};

  void settle(StreamResult why) {
    std::lock_guard<std::mutex> lock(mutex);
    if (settled) return;
    error = std::move(why);
    settled = true;
    wake.notify_one();
  }
  void wait() {  // throws what kept the bytes from coming
    std::unique_lock<std::mutex> lock(mutex);
    wake.wait(lock, [&] { return settled; });
    if (error) throw OpError(error->message, error->code);
  }
  void drop() {
    if (--holders) return;
    std::free(staging);
    delete this;
  }
};

}  // namespace

// The destination's stream waits for the source's, never the caller. Waits cannot form a circle: one thread enqueues, and a task
// waits only for what was enqueued before it.
Tensor to_device(const Tensor& x, Device* device) {
  if (x.device() == device) return alias(x);
  require_not_capturing(*x.device());
  require_not_capturing(*device);
  const Tensor from = x.dense() ? x : copy_of(x, x.dtype);
  Tensor to = Tensor::empty(device, x.dtype, x.shape);
  const size_t bytes = static_cast<size_t>(x.elements()) * size_of(x.dtype);
  if (!bytes) return to;
  void* staging = std::malloc(bytes);
  if (!staging)
    fail("out of memory: the system has no " + size_text(static_cast<int64_t>(bytes)) + " for the way from " + x.device()->name + " to " +
             device->name,
         ErrorCode::out_of_memory);
  auto* transfer = new Transfer;
  transfer->staging = staging;

  Stream* out = x.device()->stream.get();
  ++x.device()->copies_out;
  out->enqueue(current_op, [transfer, bytes, data = from.data<void>(), copy = x.device()->copy_out] {
    copy(transfer->staging, data, bytes);
    transfer->settle(std::nullopt);
  });
  out->enqueue_always(current_op, [transfer, out] {
    const StreamError ended{ErrorCode::device, "the device's stream has ended"};
    transfer->settle(out->error().value_or(ended));  // does nothing when the bytes are here
    transfer->drop();
  });
  device->stream->enqueue(current_op, [transfer, bytes, data = to.data<void>(), copy = device->copy_in] {
    transfer->wait();
    copy(data, transfer->staging, bytes);
  });
  device->stream->enqueue_always(current_op, [transfer] { transfer->drop(); });
  return to;
}

Tensor concat(const std::vector<Tensor>& tensors, int64_t dim) {
  require(!tensors.empty(), "tensors", "at least one tensor", "none");
  const Tensor& first = tensors[0];
  dim = dimension(dim, first, "dim");
  Shape shape = first.shape;
  shape[dim] = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& t = tensors[i];
    const std::string name = "tensors[" + std::to_string(i) + "]";
    require_same_device(t, name.c_str(), first, "tensors[0]");
    require_dtype(t, name.c_str(), first.dtype);
    Shape expected = first.shape;
    if (t.rank() == first.rank()) expected[dim] = t.shape[dim];
    require(t.shape == expected, name.c_str(), [&] { return text(first.shape) + " but for dimension " + std::to_string(dim); }, t.shape);
    shape[dim] += t.shape[dim];
  }
  Tensor out = Tensor::empty(first.device(), first.dtype, shape);
  int64_t at = 0;
  for (const Tensor& t : tensors) {
    enqueue_copy(slice(out, dim, at, at + t.shape[dim], 1), t);
    at += t.shape[dim];
  }
  return out;
}

namespace {

struct GatherShape {
  int64_t outer = 1, axis, picks, inner = 1;
};

GatherShape gather_shape(const Shape& x, const Tensor& index, int64_t dim) {
  Shape expected = x;
  if (index.rank() == static_cast<int64_t>(x.size())) expected[dim] = index.shape[dim];
  require(index.shape == expected, "index", [&] { return text(x) + " but for dimension " + std::to_string(dim); }, index.shape);
  GatherShape g;
  g.axis = x[dim];
  g.picks = index.shape[dim];
  for (int64_t i = 0; i < dim; ++i) g.outer *= x[i];
  for (size_t i = dim + 1; i < x.size(); ++i) g.inner *= x[i];
  return g;
}

}  // namespace

Tensor gather(const Tensor& x, int64_t dim, const Tensor& index) {
  require_same_device(x, "x", index, "index");
  dim = dimension(dim, x, "dim");
  const GatherShape g = gather_shape(x.shape, index, dim);
  const Tensor from = dense(x, "x", DType::f32), picks = dense_i32(index, "index");
  Tensor out = Tensor::empty(x.device(), DType::f32, index.shape);
  if (out.elements())
    launch(x.device(), x.device()->backend->gather,
           GatherArgs{from.data<float>(), picks.data<int32_t>(), out.data<float>(), g.outer, g.axis, g.picks, g.inner});
  return result_as(out, x.dtype);
}

void gather_backward(const Tensor& dy, int64_t dim, const Tensor& index, const Tensor& dx, bool accumulate) {
  require_same_device(dy, "dy", index, "index");
  dim = dimension(dim, dx, "dim");
  const GatherShape g = gather_shape(dx.shape, index, dim);
  require_shape(dy, "dy", index.shape);
  const Tensor from = dense(dy, "dy", DType::f32), picks = dense_i32(index, "index");
  const Output out(dx, "dx", dx.shape, accumulate, DType::f32);
  if (!dx.elements()) return;
  launch(dy.device(), dy.device()->backend->gather_backward,
         GatherBackwardArgs{from.data<float>(), picks.data<int32_t>(), out.f32(), g.outer, g.axis, g.picks, g.inner, out.accumulate()});
  out.finish();
}

}  // namespace heddle::ops
