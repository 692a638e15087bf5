#pragma once
// Errors in the data that only a kernel can see (a token id outside the table). The kernel notes the first one in memory that
// the host reads when it waits for the stream; it goes on with a harmless value.
#include <cstdint>
#include <string>

namespace heddle::cuda {

enum class FaultKind : int32_t { none, embedding_id, gather_index, target, zero_divisor, negative_exponent, page, place };

struct Fault {
  FaultKind kind;
  int32_t value;  // what came
  int64_t index;  // where
  int64_t bound;  // values from 0 to bound - 1 were expected
  int32_t other;  // target: the ignored one
};

std::string fault_text(const Fault& fault);  // as the CPU says it

#ifdef __CUDACC__
__device__ inline void report(Fault* fault, FaultKind kind, int64_t index, int32_t value, int64_t bound, int32_t other = 0) {
  if (atomicCAS_system(reinterpret_cast<int*>(&fault->kind), 0, static_cast<int>(kind)) != 0) return;
  fault->value = value;
  fault->index = index;
  fault->bound = bound;
  fault->other = other;
}
#endif

}  // namespace heddle::cuda
