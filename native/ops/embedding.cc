#include "ops/check.h"
#include "ops/ops.h"

namespace heddle::ops {

Tensor embedding(const Tensor& table, const Tensor& ids, const Tensor* positions, int64_t first) {
  require_same_device(table, "table", ids, "ids");
  require(table.rank() == 2, "table", "(V, C)", table.shape);
  const DType type = compute_type({&table, positions});
  const Tensor weights = dense(table, "table", type), index = dense_i32(ids, "ids");
  const int64_t C = table.shape[1], T = ids.rank() ? ids.shape.back() : 1;
  require(first >= 0, "first", "at least 0", first);
  std::optional<Tensor> pos;
  if (positions) {
    require(
        positions->rank() == 2 && positions->shape[1] == C && positions->shape[0] >= first + T, "positions",
        [&] { return "(at least " + std::to_string(first + T) + ", " + std::to_string(C) + ")"; }, positions->shape);
    pos = dense(*positions, "positions", type);
  }
  Shape shape = ids.shape;
  shape.push_back(C);
  Tensor out = Tensor::empty(table.device(), type, shape);
  if (out.elements())
    launch(table.device(), table.device()->backend->embedding,
           EmbeddingArgs{type, weights.data<void>(), pos ? pos->data<void>() : nullptr, index.data<int32_t>(), out.data<void>(),
                         index.elements(), C, table.shape[0], T, first});
  return result_as(out, table.dtype);
}

void embedding_backward(const Tensor& dy, const Tensor& ids, const Tensor& dtable, bool accumulate) {
  require(dtable.rank() == 2, "dtable", "(V, C)", dtable.shape);
  Shape expected = ids.shape;
  expected.push_back(dtable.shape[1]);
  require_shape(dy, "dy", expected);
  const DType type = compute_type(dy);
  const Tensor grad = dense(dy, "dy", type), index = dense_i32(ids, "ids");
  const Output out(dtable, "dtable", dtable.shape, accumulate, DType::f32);
  if (!dtable.elements()) return;
  launch(dy.device(), dy.device()->backend->embedding_backward,
         EmbeddingBackwardArgs{type, grad.data<void>(), index.data<int32_t>(), out.f32(), index.elements(), dtable.shape[1],
                               dtable.shape[0], out.accumulate(), nullptr});
  out.finish();
}

}  // namespace heddle::ops
