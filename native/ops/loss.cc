#include "ops/check.h"
#include "ops/ops.h"

namespace heddle::ops {

Tensor cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& scale, const Tensor* dlogits, int64_t valid,
                     int64_t ignore_index, double smoothing, double z_loss) {
  require_same_device(logits, "logits", targets, "targets");
  require(logits.rank() >= 1 && logits.shape.back() > 0, "logits", "(..., V) with V of at least 1", logits.shape);
  const int64_t V = logits.shape.back();
  require_shape(targets, "targets", Shape(logits.shape.begin(), logits.shape.end() - 1));
  require(scale.dtype == DType::f32 && scale.elements() == 1, "scale", "one f32", scale);
  require(valid >= 0 && valid <= V, "valid", [&] { return "from 0 to " + std::to_string(V); }, valid);
  require(smoothing >= 0 && smoothing <= 1, "smoothing", "from 0 to 1", smoothing);
  require(z_loss >= 0, "zLoss", "at least 0", z_loss);
  const DType type = compute_type(logits);
  const Tensor in = dense(logits, "logits", type), ids = dense_i32(targets, "targets");
  std::optional<Output> to;
  if (dlogits) to.emplace(*dlogits, "dlogits", logits.shape, false, type);
  Tensor losses = Tensor::empty(logits.device(), DType::f32, targets.shape);
  if (losses.elements())
    launch(logits.device(), logits.device()->backend->cross_entropy,
           CrossEntropyArgs{type, in.data<void>(), to ? to->data() : nullptr, ids.data<int32_t>(), losses.data<float>(),
                            scale.data<float>(), losses.elements(), V, valid ? valid : V, static_cast<int32_t>(ignore_index),
                            static_cast<float>(smoothing), static_cast<float>(z_loss)});
  if (to) to->finish();
  return losses;
}

}  // namespace heddle::ops
