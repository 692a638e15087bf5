// out = condition ? a : b over arrays of any strides. Elements are chosen as bits.
#include "common/strided.cuh"
#include "kernels.h"

namespace heddle::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(kThreads)
    where_kernel(const __grid_constant__ Strided<4> s, T* out, const uint8_t* condition, const T* a, const T* b) {
  constexpr int V = kVector<T>;
  const uint32_t item = blockIdx.x * kThreads + threadIdx.x;
  if (item >= s.items) return;
  const Place<4> p = place<V>(s, item);
  if (p.vector) {
    const Vector<uint8_t, V> c = fetch<uint8_t, V>(condition + p.at[1], s.row_stride[1]);
    const Vector<T, V> x = fetch<T, V>(a + p.at[2], s.row_stride[2]), y = fetch<T, V>(b + p.at[3], s.row_stride[3]);
    Vector<T, V> z;
#pragma unroll
    for (int j = 0; j < V; ++j) z.x[j] = c.x[j] ? x.x[j] : y.x[j];
    store_vector(out + p.at[0], z);
  } else {
    const T x = a[p.at[2]], y = b[p.at[3]];
    out[p.at[0]] = condition[p.at[1]] ? x : y;
  }
}

template <class T>
void run(const WhereArgs& args) {
  const Nest<4> nest({&args.out, &args.condition, &args.a, &args.b});
  each_strided(kVector<T>, nest, {args.out.data, args.condition.data, args.a.data, args.b.data}, {sizeof(T), 1, sizeof(T), sizeof(T)},
               [&](const Strided<4>& s, const int64_t (&offset)[4]) {
                 launch("where", where_kernel<T>, blocks_for(s.items, kThreads), kThreads, 0, s, static_cast<T*>(args.out.data) + offset[0],
                        static_cast<const uint8_t*>(args.condition.data) + offset[1], static_cast<const T*>(args.a.data) + offset[2],
                        static_cast<const T*>(args.b.data) + offset[3]);
               });
}

}  // namespace

void where(const WhereArgs& args) { return size_of(args.out.dtype) == 4 ? run<uint32_t>(args) : run<uint16_t>(args); }

}  // namespace heddle::cuda
