#pragma once
// What a reduction has found so far, how an element joins it and how two of them do.
#include <type_traits>

#include "common/types.cuh"
#include "reduce/plan.h"

namespace heddle::cuda {

struct Total {
  static constexpr bool kSums = true;
  float value = 0;

  __device__ void take(float x, int64_t) { value += x; }
  __device__ void merge(const Total& later) { value += later.value; }
  __device__ static Total stored(float v, int64_t) { return {v}; }
  __device__ int64_t place() const { return 0; }
};

// NaN beats every number, nothing beats NaN; of equals the lowest index stays.
template <bool kMin>
struct Extreme {
  static constexpr bool kSums = false;
  float value = 0;
  int64_t index = -1;  // nothing yet

  __device__ static bool beats(float x, float best) { return best == best && (x != x || (kMin ? x < best : x > best)); }
  __device__ void take(float x, int64_t i) {  // i greater than before
    if (index >= 0 && !beats(x, value)) return;
    value = x;
    index = i;
  }
  __device__ void merge(const Extreme& other) {
    if (other.index < 0) return;
    if (index >= 0 && !beats(other.value, value) && (beats(value, other.value) || index < other.index)) return;
    *this = other;
  }
  __device__ static Extreme stored(float v, int64_t i) { return {v, i}; }
  __device__ int64_t place() const { return index; }
};

__device__ inline Total shuffled(const Total& s, int offset) { return {__shfl_xor_sync(0xffffffffu, s.value, offset)}; }
template <bool kMin>
__device__ inline Extreme<kMin> shuffled(const Extreme<kMin>& s, int offset) {
  const float value = __shfl_xor_sync(0xffffffffu, s.value, offset);
  return {value, __shfl_xor_sync(0xffffffffu, s.index, offset)};
}

// The result of one output.
template <class State>
__device__ inline void finish(const ReducePlan& p, int64_t output, const State& s) {
  if (p.arg) {
    static_cast<int32_t*>(p.out)[output] = static_cast<int32_t>(s.place());
    return;
  }
  float* to = static_cast<float*>(p.out) + output;
  const float v = p.mean ? s.value / static_cast<float>(p.count) : s.value;
  *to = p.accumulate ? *to + v : v;
}

// The result of one chunk of one output.
template <class State>
__device__ inline void put(const ReducePlan& p, int64_t chunk, int64_t output, const State& s) {
  if (p.chunks == 1) return finish(p, output, s);
  const int64_t at = chunk * p.outputs + output;
  p.values[at] = s.value;
  if (p.arg) p.indices[at] = static_cast<int32_t>(s.place());
}

// f(State{}) for the kind.
template <class F>
void dispatch_reduce(Reduce kind, F&& f) {
  switch (kind) {
    case Reduce::sum:
    case Reduce::mean:
      return f(Total{});
    case Reduce::max:
    case Reduce::argmax:
      return f(Extreme<false>{});
    case Reduce::min:
    case Reduce::argmin:
      return f(Extreme<true>{});
  }
}

void reduce_rows(const ReduceArgs& a, const ReducePlan& p);
void reduce_columns(const ReduceArgs& a, const ReducePlan& p);

}  // namespace heddle::cuda
