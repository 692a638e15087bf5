// Functions of two arrays with broadcasting, and where.
//
// A row's operands are either dense, one value for the whole row, or strided; strided ones pass through a block on the stack.
// Broadcasting a bias or a column so becomes the plain vector loop, by collapsing dimensions (strided.h).
#include <cstdio>

#include "core/error.h"
#include "cpu/kernels.h"
#include "cpu/output.h"
#include "cpu/rows.h"
#include "cpu/strided.h"
#include "cpu/vec.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int64_t kBlock = 256;

// `count` elements from p in steps of `stride`, dense: p itself, or gathered into `block`.
template <class T>
inline const T* dense(const T* p, int64_t stride, int64_t count, T* block) {
  if (stride == 1) return p;
  for (int64_t i = 0; i < count; ++i) block[i] = p[i * stride];
  return block;
}

// Whether the output is written past the caches; one that replaces an input or is added to has been read anyway.
template <int N>
bool goes_past(const BinaryArgs& args, const Nest<N>& nest) {
  const View& out = args.out;
  return !args.accumulate && out.data != args.a.data && out.data != args.b.data &&
         past_caches(nest.rows() * nest.row() * static_cast<int64_t>(size_of(out.dtype)));
}

inline vf maximum(vf a, vf b) { return select((a > b) | (a != a), a, b); }  // NaN wins
inline vf minimum(vf a, vf b) { return select((a < b) | (a != a), a, b); }
inline vf power(vf a, vf b) {
  for (int i = 0; i < VW; ++i) a[i] = __builtin_powf(a[i], b[i]);
  return a;
}

// out[i] (+)= f(a[i], b[i]); scalar_a: a[0] for all i.
template <bool scalar_a, bool scalar_b, class F>
inline void f32_row(bool past, const float* a, const float* b, float* out, int64_t n, bool accumulate, F f) {
  const vf a0 = splat(*a), b0 = splat(*b);
  const auto result = [&](int64_t i, int count) {
    const vf y = f(scalar_a ? a0 : load_n(a + i, count), scalar_b ? b0 : load_n(b + i, count));
    return accumulate ? load_n(out + i, count) + y : y;
  };
  write_vectors(past, out, n, result, scalar_a ? out : a, scalar_b ? out : b);
}

template <class F>
inline void f32_arithmetic(const BinaryArgs& args, F f) {
  const Nest<3> nest({&args.out, &args.a, &args.b});
  const bool past = goes_past(args, nest);
  const int64_t so = nest.row_stride(0), sa = nest.row_stride(1), sb = nest.row_stride(2);
  for_each_row(nest, [&](const int64_t* offset, int64_t n) {
    float* out = static_cast<float*>(args.out.data) + offset[0];
    const float* a = static_cast<const float*>(args.a.data) + offset[1];
    const float* b = static_cast<const float*>(args.b.data) + offset[2];
    if (so == 1 && sa == 1 && sb == 1) return f32_row<false, false>(past, a, b, out, n, args.accumulate, f);
    if (so == 1 && sa == 1 && sb == 0) return f32_row<false, true>(past, a, b, out, n, args.accumulate, f);
    if (so == 1 && sa == 0 && sb == 1) return f32_row<true, false>(past, a, b, out, n, args.accumulate, f);
    float block_a[kBlock], block_b[kBlock], block_out[kBlock];
    for (int64_t i = 0; i < n; i += kBlock) {
      const int64_t count = n - i < kBlock ? n - i : kBlock;
      const float *pa = dense(a + i * sa, sa, count, block_a), *pb = dense(b + i * sb, sb, count, block_b);
      f32_row<false, false>(false, pa, pb, block_out, count, false, f);
      float* o = out + i * so;
      if (args.accumulate)
        for (int64_t j = 0; j < count; ++j) o[j * so] = o[j * so] + block_out[j];
      else
        for (int64_t j = 0; j < count; ++j) o[j * so] = block_out[j];
    }
  });
}

// Pointers of its own, which no store can change: the compiler makes vectors of it. scalar_b: b[0] for all.
template <bool scalar_b, class T, class O, class F>
inline void plain_row(const T* a, const T* b, O* out, int64_t n, F f) {
  const T b0 = *b;
  for (int64_t i = 0; i < n; ++i) out[i] = f(a[i], scalar_b ? b0 : b[i]);
}

// For i32, and for comparisons of either type: a plain loop, which the compiler turns into vectors.
template <class T, class O, class F>
inline void plain(const BinaryArgs& args, F f) {
  const Nest<3> nest({&args.out, &args.a, &args.b});
  const bool past = goes_past(args, nest);
  const int64_t so = nest.row_stride(0), sa = nest.row_stride(1), sb = nest.row_stride(2);
  for_each_row(nest, [&](const int64_t* offset, int64_t n) {
    O* out = static_cast<O*>(args.out.data) + offset[0];
    const T* a = static_cast<const T*>(args.a.data) + offset[1];
    const T* b = static_cast<const T*>(args.b.data) + offset[2];
    if (so == 1 && sa == 1 && sb == 1) {
      const auto part = [&](int64_t i, int64_t end, O* to) { plain_row<false>(a + i, b + i, to, end - i, f); };
      write_chunks(past, out, n, part, a, b);
    } else if (so == 1 && sa == 1 && sb == 0) {
      const auto part = [&](int64_t i, int64_t end, O* to) { plain_row<true>(a + i, b, to, end - i, f); };
      write_chunks(past, out, n, part, a);
    } else {
      for (int64_t i = 0; i < n; ++i) out[i * so] = f(a[i * sa], b[i * sb]);
    }
  });
}

// i32 wraps around, as in C's unsigned arithmetic.
inline int32_t wrap(uint32_t x) { return static_cast<int32_t>(x); }
inline uint32_t bits(int32_t x) { return static_cast<uint32_t>(x); }

inline int32_t divide(int32_t a, int32_t b) {
  if (b == 0) throw_op_error("div: b must be nonzero for i32, got 0");
  return b == -1 ? wrap(0u - bits(a)) : a / b;  // INT32_MIN / -1 would trap
}

inline int32_t power(int32_t a, int32_t b) {
  if (b < 0) {
    char message[80];
    std::snprintf(message, sizeof message, "pow: b must be at least 0 for i32, got %d", b);
    throw_op_error(message);
  }
  uint32_t result = 1, factor = bits(a);
  for (; b; b >>= 1, factor *= factor)
    if (b & 1) result *= factor;
  return wrap(result);
}

void binary_f32(const BinaryArgs& args) {
  switch (args.kind) {
    case Binary::add:
      return f32_arithmetic(args, [](vf a, vf b) { return a + b; });
    case Binary::sub:
      return f32_arithmetic(args, [](vf a, vf b) { return a - b; });
    case Binary::mul:
      return f32_arithmetic(args, [](vf a, vf b) { return a * b; });
    case Binary::div:
      return f32_arithmetic(args, [](vf a, vf b) { return a / b; });
    case Binary::maximum:
      return f32_arithmetic(args, [](vf a, vf b) { return maximum(a, b); });
    case Binary::minimum:
      return f32_arithmetic(args, [](vf a, vf b) { return minimum(a, b); });
    case Binary::pow:
      return f32_arithmetic(args, [](vf a, vf b) { return power(a, b); });
    default:
      return;  // comparisons
  }
}

void binary_i32(const BinaryArgs& args) {
  using I = int32_t;
  switch (args.kind) {
    case Binary::add:
      return plain<I, I>(args, [](I a, I b) { return wrap(bits(a) + bits(b)); });
    case Binary::sub:
      return plain<I, I>(args, [](I a, I b) { return wrap(bits(a) - bits(b)); });
    case Binary::mul:
      return plain<I, I>(args, [](I a, I b) { return wrap(bits(a) * bits(b)); });
    case Binary::div:
      return plain<I, I>(args, [](I a, I b) { return divide(a, b); });
    case Binary::maximum:
      return plain<I, I>(args, [](I a, I b) { return a > b ? a : b; });
    case Binary::minimum:
      return plain<I, I>(args, [](I a, I b) { return a < b ? a : b; });
    case Binary::pow:
      return plain<I, I>(args, [](I a, I b) { return power(a, b); });
    default:
      return;  // comparisons
  }
}

template <class T>
void compare(const BinaryArgs& args) {
  using O = uint8_t;
  switch (args.kind) {
    case Binary::eq:
      return plain<T, O>(args, [](T a, T b) -> O { return a == b; });
    case Binary::ne:
      return plain<T, O>(args, [](T a, T b) -> O { return a != b; });
    case Binary::lt:
      return plain<T, O>(args, [](T a, T b) -> O { return a < b; });
    case Binary::le:
      return plain<T, O>(args, [](T a, T b) -> O { return a <= b; });
    default:
      return;  // arithmetic, gt and ge
  }
}

}  // namespace

void binary(const BinaryArgs& args) {
  const bool f32 = args.a.dtype == DType::f32;
  if (args.kind == Binary::gt || args.kind == Binary::ge) {
    BinaryArgs swapped = args;
    swapped.kind = args.kind == Binary::gt ? Binary::lt : Binary::le;
    swapped.a = args.b;
    swapped.b = args.a;
    return binary(swapped);
  }
  if (args.kind >= Binary::eq) return f32 ? compare<float>(args) : compare<int32_t>(args);
  return f32 ? binary_f32(args) : binary_i32(args);
}

void where(const WhereArgs& args) {
  const Nest<4> nest({&args.out, &args.condition, &args.a, &args.b});
  const int64_t so = nest.row_stride(0), sc = nest.row_stride(1), sa = nest.row_stride(2), sb = nest.row_stride(3);
  const bool past = args.out.data != args.a.data && args.out.data != args.b.data && past_caches(nest.rows() * nest.row() * 4);
  for_each_row(nest, [&](const int64_t* offset, int64_t n) {
    float* out = static_cast<float*>(args.out.data) + offset[0];
    const uint8_t* condition = static_cast<const uint8_t*>(args.condition.data) + offset[1];
    const float* a = static_cast<const float*>(args.a.data) + offset[2];
    const float* b = static_cast<const float*>(args.b.data) + offset[3];
    if (so == 1 && sc == 1 && sa == 1 && sb == 1) {
      const auto part = [&](int64_t i, int64_t end, float* to) {
        for (; i < end; ++i) {
          const float x = a[i], y = b[i];
          *to++ = condition[i] ? x : y;
        }
      };
      write_chunks(past, out, n, part, condition, a, b);
    } else if (so == 1 && sc == 1 && sa == 0 && sb == 1) {  // masked fill
      const float x = *a;
      const auto part = [&](int64_t i, int64_t end, float* to) {
        for (; i < end; ++i) {
          const float y = b[i];
          *to++ = condition[i] ? x : y;
        }
      };
      write_chunks(past, out, n, part, condition, b);
    } else {
      for (int64_t i = 0; i < n; ++i) out[i * so] = condition[i * sc] ? a[i * sa] : b[i * sb];
    }
  });
}

}  // namespace heddle::cpu::HEDDLE_ISA
