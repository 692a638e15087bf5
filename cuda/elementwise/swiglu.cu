// y = silu(gate) * up and its gradients, on rows of `cols` elements; gate and up may be halves of one array.
#include "common/activation.cuh"
#include "common/strided.cuh"
#include "kernels.h"

namespace heddle::cuda {
namespace {

View rows_of(const void* data, DType type, int64_t rows, int64_t cols, int64_t stride) {
  return {const_cast<void*>(data), type, 2, {rows, cols}, {stride, 1}};
}

template <class T>
__device__ inline T product(T gate, T up) {
  return from_float<T>(silu(to_float(gate)) * to_float(up));
}

template <class T>
__global__ void __launch_bounds__(kThreads) swiglu_kernel(const __grid_constant__ Strided<3> s, T* y, const T* gate, const T* up) {
  constexpr int V = kVector<T>;
  const uint32_t item = blockIdx.x * kThreads + threadIdx.x;
  if (item >= s.items) return;
  const Place<3> p = place<V>(s, item);
  if (p.vector) {
    Vector<T, V> g = load_vector(gate + p.at[1]);
    const Vector<T, V> u = load_vector(up + p.at[2]);
#pragma unroll
    for (int j = 0; j < V; ++j) g.x[j] = product(g.x[j], u.x[j]);
    store_vector(y + p.at[0], g);
  } else {
    y[p.at[0]] = product(gate[p.at[1]], up[p.at[2]]);
  }
}

// dgate (+)= dy up silu'(gate), dup (+)= dy silu(gate)
template <class T>
__device__ inline void gradients(T gate, T up, T dy, bool accumulate, T& dgate, T& dup) {
  const float g = to_float(gate), d = to_float(dy);
  const Silu s = silu_parts(g);
  const float to_gate = d * to_float(up) * s.derivative, to_up = d * (g * s.sigmoid);
  dgate = from_float<T>(accumulate ? to_float(dgate) + to_gate : to_gate);
  dup = from_float<T>(accumulate ? to_float(dup) + to_up : to_up);
}

template <class T>
__global__ void __launch_bounds__(kThreads) swiglu_backward_kernel(const __grid_constant__ Strided<5> s, T* dgate, T* dup, const T* gate,
                                                                   const T* up, const T* dy, bool accumulate) {
  constexpr int V = kVector<T>;
  const uint32_t item = blockIdx.x * kThreads + threadIdx.x;
  if (item >= s.items) return;
  const Place<5> p = place<V>(s, item);
  T *to_gate = dgate + p.at[0], *to_up = dup + p.at[1];
  if (p.vector) {
    const Vector<T, V> g = load_vector(gate + p.at[2]), u = load_vector(up + p.at[3]), d = load_vector(dy + p.at[4]);
    Vector<T, V> dg{}, du{};
    if (accumulate) {
      dg = load_vector(to_gate);
      du = load_vector(to_up);
    }
#pragma unroll
    for (int j = 0; j < V; ++j) gradients(g.x[j], u.x[j], d.x[j], accumulate, dg.x[j], du.x[j]);
    store_vector(to_gate, dg);
    store_vector(to_up, du);
  } else {
    T dg{}, du{};
    if (accumulate) {
      dg = *to_gate;
      du = *to_up;
    }
    gradients(gate[p.at[2]], up[p.at[3]], dy[p.at[4]], accumulate, dg, du);
    *to_gate = dg;
    *to_up = du;
  }
}

}  // namespace

void swiglu(const SwigluArgs& a) {
  dispatch_float(a.type, [&](auto t) {
    using T = decltype(t);
    const View y = rows_of(a.y, a.type, a.rows, a.cols, a.cols), gate = rows_of(a.gate, a.type, a.rows, a.cols, a.gate_stride),
               up = rows_of(a.up, a.type, a.rows, a.cols, a.up_stride);
    each_strided(kVector<T>, Nest<3>({&y, &gate, &up}), {a.y, a.gate, a.up}, {sizeof(T), sizeof(T), sizeof(T)},
                 [&](const Strided<3>& s, const int64_t (&offset)[3]) {
                   launch("swiglu", swiglu_kernel<T>, blocks_for(s.items, kThreads), kThreads, 0, s, static_cast<T*>(a.y) + offset[0],
                          static_cast<const T*>(a.gate) + offset[1], static_cast<const T*>(a.up) + offset[2]);
                 });
  });
}

void swiglu_backward(const SwigluBackwardArgs& a) {
  dispatch_float(a.type, [&](auto t) {
    using T = decltype(t);
    const View dgate = rows_of(a.dgate, a.type, a.rows, a.cols, a.dgate_stride), dup = rows_of(a.dup, a.type, a.rows, a.cols, a.dup_stride),
               gate = rows_of(a.gate, a.type, a.rows, a.cols, a.gate_stride), up = rows_of(a.up, a.type, a.rows, a.cols, a.up_stride),
               dy = rows_of(a.dy, a.type, a.rows, a.cols, a.cols);
    each_strided(kVector<T>, Nest<5>({&dgate, &dup, &gate, &up, &dy}), {a.dgate, a.dup, a.gate, a.up, a.dy},
                 {sizeof(T), sizeof(T), sizeof(T), sizeof(T), sizeof(T)}, [&](const Strided<5>& s, const int64_t (&offset)[5]) {
                   launch("swiglu_backward", swiglu_backward_kernel<T>, blocks_for(s.items, kThreads), kThreads, 0, s,
                          static_cast<T*>(a.dgate) + offset[0], static_cast<T*>(a.dup) + offset[1],
                          static_cast<const T*>(a.gate) + offset[2], static_cast<const T*>(a.up) + offset[3],
                          static_cast<const T*>(a.dy) + offset[4], a.accumulate);
                 });
  });
}

}  // namespace heddle::cuda
