// Rotary positions (Su et al. 2021): the pair (a, b) at position t turns by t * theta^(-2i / rotary).
//   y_a = a cos - b sin,  y_b = b cos + a sin
// Angles are in double, since t * frequency in float is off by 6e-8 * t; what is left after whole quarter turns goes to sinf and cosf.
#include <cmath>

#include "common/row.cuh"
#include "kernels.h"
#include "runtime/launch.cuh"

namespace heddle::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kAngles = 256;  // of a block at a time, in shared memory
constexpr int kDigits = 4;    // of a pair's number, in base 32

// theta^(-2i / rotary) is the product of the powers that belong to the digits of i.
struct Frequencies {
  double power[kDigits][32];
};

Frequencies frequencies_of(const RopeArgs& a) {
  Frequencies f;
  for (int d = 0; d < kDigits; ++d)
    for (int64_t k = 0; k < 32; ++k)
      f.power[d][k] = std::pow(static_cast<double>(a.theta), -2.0 * static_cast<double>(k << (5 * d)) / static_cast<double>(a.rotary));
  return f;
}

// (cos, sin) of a double angle: x = quarter turns * pi/2 + rest, pi/2 in two doubles (exact to 2^-106 * turns).
__device__ inline float2 turn_of(double angle) {
  const double turns = rint(angle * 0.63661977236758134);
  const float rest = static_cast<float>(fma(-turns, 6.123233995736766e-17, fma(-turns, 1.5707963267948966, angle)));
  // |rest| <= pi/4: Taylor to below f32 rounding
  const float z = rest * rest;
  const float s = fmaf(fmaf(fmaf(fmaf(2.7557319e-6f, z, -1.9841270e-4f), z, 8.3333333e-3f), z, -1.6666667e-1f), z * rest, rest);
  const float c = fmaf(fmaf(fmaf(fmaf(fmaf(-2.7557319e-7f, z, 2.4801587e-5f), z, -1.3888889e-3f), z, 4.1666667e-2f), z, -0.5f), z, 1.0f);
  const int64_t quarter = static_cast<int64_t>(turns) & 3;
  const float cosine = quarter & 1 ? s : c, sine = quarter & 1 ? c : s;
  return {quarter == 1 || quarter == 2 ? -cosine : cosine, quarter >= 2 ? -sine : sine};
}

// The elements [column, column + V) of y from those of x. They are the first or the second of V pairs, or V / 2 pairs.
template <class T, int V>
__device__ inline void put(T* y, const float (&v)[V], bool accumulate) {
  Vector<T, V> out, old;
  if (accumulate) old = load_vector<T, V>(y);
#pragma unroll
  for (int j = 0; j < V; ++j) out.x[j] = from_float<T>(accumulate ? to_float(old.x[j]) + v[j] : v[j]);
  store_vector<T, V>(y, out);
}

// V pairs (i, i + rotary/2).
template <class T, int V>
__device__ inline void turn_halves(const RopeArgs& a, const T* x, T* y, const float2* turn) {
  const int64_t half = a.rotary / 2;
  const Vector<T, V> first = load_vector<T, V>(x), second = load_vector<T, V>(x + half);
  float p[V], q[V];
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const float u = to_float(first.x[j]), v = to_float(second.x[j]), c = turn[j].x, s = turn[j].y;
    p[j] = fmaf(u, c, -(v * s));
    q[j] = fmaf(v, c, u * s);
  }
  put<T, V>(y, p, a.accumulate);
  put<T, V>(y + half, q, a.accumulate);
}

// V / 2 pairs (2i, 2i + 1) in one vector, or one pair in two elements.
template <class T, int V>
__device__ inline void turn_neighbours(const RopeArgs& a, const T* x, T* y, const float2* turn) {
  constexpr int size = V > 1 ? V : 2;
  float v[size / V][V];
#pragma unroll
  for (int k = 0; k < size / V; ++k) {
    const Vector<T, V> part = load_vector<T, V>(x + k * V);
#pragma unroll
    for (int j = 0; j < V; ++j) v[k][j] = to_float(part.x[j]);
  }
#pragma unroll
  for (int j = 0; j < size; j += 2) {
    float &first = v[j / V][j % V], &second = v[(j + 1) / V][(j + 1) % V];
    const float p = first, q = second, c = turn[j / 2].x, s = turn[j / 2].y;
    first = fmaf(p, c, -(q * s));
    second = fmaf(q, c, p * s);
  }
#pragma unroll
  for (int k = 0; k < size / V; ++k) put<T, V>(y + k * V, v[k], a.accumulate);
}

// A block has `tokens` rows of B*T and `pairs` of the pairs of each (blockIdx.y): it computes their turns once for all heads. An item is
// V pairs of a head. V: elements of a vector, 1 where strides forbid vectors.
template <class T, bool interleaved, int V>
__global__ void __launch_bounds__(kThreads, 4) rope_turn(RopeArgs a, Frequencies f, int tokens, int pairs) {
  constexpr int P = interleaved && V > 1 ? V / 2 : V;  // pairs of an item
  __shared__ float2 turns[kAngles];
  __shared__ int64_t x_offsets[kAngles], y_offsets[kAngles];  // of the tokens
  const int64_t rows = a.B * a.T, low = static_cast<int64_t>(blockIdx.x) * tokens, first_pair = static_cast<int64_t>(blockIdx.y) * pairs;
  const int here = static_cast<int>(rows - low < tokens ? rows - low : tokens);
  const int size = static_cast<int>(a.rotary / 2 - first_pair < pairs ? a.rotary / 2 - first_pair : pairs);
  for (int k = threadIdx.x; k < here * size; k += kThreads) {
    const int64_t row = low + k / size, i = first_pair + k % size;
    const int64_t position = a.positions ? a.positions[row] : a.first + row % a.T;
    double frequency = f.power[0][i % 32];
#pragma unroll
    for (int d = 1; d < kDigits; ++d)
      if (i >> (5 * d)) frequency *= f.power[d][(i >> (5 * d)) % 32];
    float2 turn = turn_of(static_cast<double>(position) * scaled_frequency(a.scaling, frequency));
    if (a.inverse) turn.y = -turn.y;
    turns[k] = turn;
  }
  for (int k = threadIdx.x; k < here; k += kThreads) {
    const int64_t b = (low + k) / a.T, t = (low + k) % a.T;
    x_offsets[k] = b * a.x_stride[0] + t * a.x_stride[1];
    y_offsets[k] = b * a.y_stride[0] + t * a.y_stride[1];
  }
  __syncthreads();
  const int parts = size / P, heads = static_cast<int>(a.H);
  for (int item = threadIdx.x; item < here * heads * parts; item += kThreads) {
    const int part = item % parts, head = item / parts % heads, token = item / parts / heads;
    const int64_t column = (first_pair + part * P) * (interleaved ? 2 : 1);
    const T* x = static_cast<const T*>(a.x) + x_offsets[token] + head * a.x_stride[2] + column;
    T* y = static_cast<T*>(a.y) + y_offsets[token] + head * a.y_stride[2] + column;
    const float2* turn = turns + token * size + part * P;
    if constexpr (interleaved)
      turn_neighbours<T, V>(a, x, y, turn);
    else
      turn_halves<T, P>(a, x, y, turn);
  }
}

// The elements from `rotary` to D, as they are.
template <class T, int V>
__global__ void __launch_bounds__(kThreads, 4) rope_rest(RopeArgs a) {
  const int64_t parts = (a.D - a.rotary) / V, item = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (item >= a.B * a.T * a.H * parts) return;
  const int64_t column = a.rotary + item % parts * V, head = item / parts % a.H, row = item / parts / a.H, b = row / a.T, t = row % a.T;
  const Vector<T, V> part =
      load_vector<T, V>(static_cast<const T*>(a.x) + b * a.x_stride[0] + t * a.x_stride[1] + head * a.x_stride[2] + column);
  T* y = static_cast<T*>(a.y) + b * a.y_stride[0] + t * a.y_stride[1] + head * a.y_stride[2] + column;
  float v[V];
#pragma unroll
  for (int j = 0; j < V; ++j) v[j] = to_float(part.x[j]);
  put<T, V>(y, v, a.accumulate);
}

template <class T>
bool strides_aligned(const RopeArgs& a) {
  constexpr int V = kVector<T>;
  const auto whole = [](const int64_t (&stride)[3]) { return stride[0] % V == 0 && stride[1] % V == 0 && stride[2] % V == 0; };
  return aligned16(a.x) && aligned16(a.y) && whole(a.x_stride) && whole(a.y_stride);
}

template <class T, bool interleaved>
void rope_as(const RopeArgs& a) {
  constexpr int V = kVector<T>;
  const int64_t half = a.rotary / 2, rows = a.B * a.T;
  const bool aligned = strides_aligned<T>(a), vectors = aligned && (interleaved ? a.rotary : half) % V == 0;
  const int pairs = static_cast<int>(half < kAngles ? half : kAngles), tokens = kAngles / pairs;
  const dim3 grid(static_cast<unsigned>((rows + tokens - 1) / tokens), static_cast<unsigned>((half + pairs - 1) / pairs));
  dispatch_block_row<T>(vectors, [&](auto v) {
    launch("rope_turn", rope_turn<T, interleaved, v()>, grid, kThreads, 0, a, frequencies_of(a), tokens, pairs);
  });
  if (a.D == a.rotary || (a.x == a.y && !a.accumulate)) return;
  dispatch_block_row<T>(aligned && a.rotary % V == 0 && a.D % V == 0, [&](auto v) {
    launch("rope_rest", rope_rest<T, v()>, blocks_for(rows * a.H * ((a.D - a.rotary) / v()), kThreads), kThreads, 0, a);
  });
}

}  // namespace

void rope(const RopeArgs& a) {
  if (a.B * a.T * a.H == 0) return;
  dispatch_float(a.type, [&](auto type) {
    using T = decltype(type);
    a.interleaved ? rope_as<T, true>(a) : rope_as<T, false>(a);
  });
}

}  // namespace heddle::cuda
