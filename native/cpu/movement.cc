// Moving data: copies with conversion, fills, gather and its gradient.
#include <cstdio>

#include "core/error.h"
#include "cpu/convert.h"
#include "cpu/kernels.h"
#include "cpu/output.h"
#include "cpu/strided.h"

namespace heddle::cpu::HEDDLE_ISA {
namespace {

constexpr int64_t kBlock = 256;
constexpr int64_t kTile = 16;

// Elements as bits: only conversions care what they mean.
struct Bits32 {
  typedef uint32_t T __attribute__((may_alias));
};
struct Bits16 {
  typedef uint16_t T __attribute__((may_alias));
};
struct Bits8 {
  typedef uint8_t T __attribute__((may_alias));
};

// f(Bits{}) for the element's size.
template <class F>
inline void with_size(size_t bytes, F&& f) {
  if (bytes == 4)
    f(Bits32{});
  else if (bytes == 2)
    f(Bits16{});
  else
    f(Bits8{});
}

template <class Bits>
inline void copy_strided(bool past, const void* from, int64_t src_stride, void* to, int64_t dst_stride, int64_t n) {
  const auto* src = static_cast<const typename Bits::T*>(from);
  auto* dst = static_cast<typename Bits::T*>(to);
  if (src_stride == 1 && dst_stride == 1)
    write_chunks(
        past, dst, n,
        [&](int64_t low, int64_t high, void* part) {
          __builtin_memcpy(part, src + low, static_cast<size_t>(high - low) * sizeof(typename Bits::T));
        },
        src);
  else if (dst_stride == 1)
    for (int64_t i = 0; i < n; ++i) dst[i] = src[i * src_stride];
  else
    for (int64_t i = 0; i < n; ++i) dst[i * dst_stride] = src[i * src_stride];
}

inline void copy_elements(bool past, size_t bytes, const void* src, int64_t src_stride, void* dst, int64_t dst_stride, int64_t n) {
  with_size(bytes, [&](auto bits) { copy_strided<decltype(bits)>(past, src, src_stride, dst, dst_stride, n); });
}

// One row with conversion: strided ends pass through blocks on the stack.
void convert_row(bool past, DType from, const char* src, int64_t src_stride, DType to, char* dst, int64_t dst_stride, int64_t n) {
  const auto from_size = static_cast<int64_t>(size_of(from)), to_size = static_cast<int64_t>(size_of(to));
  if (src_stride == 1 && dst_stride == 1) {
    const auto convert_part = [&](int64_t i, int64_t end, auto* part) { convert(from, src + i * from_size, to, part, end - i); };
    with_size(size_of(to), [&](auto to_bits) {
      with_size(size_of(from), [&](auto from_bits) {
        using T = typename decltype(to_bits)::T;
        using S = typename decltype(from_bits)::T;
        write_chunks(past, reinterpret_cast<T*>(dst), n, convert_part, reinterpret_cast<const S*>(src));
      });
    });
    return;
  }
  uint32_t block_in[kBlock], block_out[kBlock];
  for (int64_t i = 0; i < n; i += kBlock) {
    const int64_t count = n - i < kBlock ? n - i : kBlock;
    const char* s = src + i * src_stride * from_size;
    char* d = dst + i * dst_stride * to_size;
    if (src_stride != 1) copy_elements(false, size_of(from), s, src_stride, block_in, 1, count);
    const void* in = src_stride == 1 ? static_cast<const void*>(s) : block_in;
    convert(from, in, to, dst_stride == 1 ? static_cast<void*>(d) : block_out, count);
    if (dst_stride != 1) copy_elements(false, size_of(to), block_out, 1, d, dst_stride, count);
  }
}

#if defined(__AVX2__)
// Eight by eight elements of 4 bytes in registers: rows of s, `step` apart, become columns of d.
inline void transpose_8x8(const float* s, int64_t step, float* d, int64_t dst_step) {
  __m256 r[8], t[8], u[8];
  for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(s + i * step);
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4)
    for (int k = 0; k < 2; ++k) {
      u[i + 2 * k] = _mm256_shuffle_ps(t[i + k], t[i + k + 2], 0x44);
      u[i + 2 * k + 1] = _mm256_shuffle_ps(t[i + k], t[i + k + 2], 0xee);
    }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(d + i * dst_step, _mm256_permute2f128_ps(u[i], u[i + 4], 0x20));
    _mm256_storeu_ps(d + (i + 4) * dst_step, _mm256_permute2f128_ps(u[i], u[i + 4], 0x31));
  }
}
#endif

// dst's rows are dense and src's are not, but src is dense along another dimension: that of dst's columns. In tiles, so that
// whole cache lines of both are used.
template <class Bits>
void transpose(const Nest<2>& nest, int columns, const void* from, void* to) {
  using T = typename Bits::T;
  const int64_t width = nest.row(), height = nest.shape[columns];
  const int64_t dst_step = nest.stride[0][columns], src_step = nest.row_stride(1);
  Nest<2> outer = nest;  // the other dimensions
  outer.rank = nest.rank - 1;
  for (int d = columns; d + 1 < nest.rank; ++d) {
    outer.shape[d] = nest.shape[d + 1];
    for (int i = 0; i < 2; ++i) outer.stride[i][d] = nest.stride[i][d + 1];
  }
  outer.shape[outer.rank - 1] = 1;
  const int64_t strips = (height + kTile - 1) / kTile;
  const int64_t strip_size = width * kTile;
  parallel_range(outer.rows() * strips, strip_size < kPiece ? kPiece / strip_size : 1, [&](int64_t low, int64_t high) {
    for (int64_t item = low; item < high; ++item) {
      const RowWalk<2> walk(outer, item / strips);
      const int64_t first = item % strips * kTile, last = first + kTile < height ? first + kTile : height;
      T* d = static_cast<T*>(to) + walk.offset[0];
      const T* s = static_cast<const T*>(from) + walk.offset[1];
      for (int64_t x = 0; x < width; x += kTile) {
        const int64_t end = x + kTile < width ? x + kTile : width;
#if defined(__AVX2__)
        if constexpr (sizeof(T) == 4) {
          if (end - x == kTile && last - first == kTile) {
            for (int64_t i = x; i < end; i += 8)
              for (int64_t y = first; y < last; y += 8)
                transpose_8x8(reinterpret_cast<const float*>(s + i * src_step + y), src_step,
                              reinterpret_cast<float*>(d + y * dst_step + i), dst_step);
            continue;
          }
        }
#endif
        T tile[kTile][kTile];  // each line of src is read once, even where a power of two maps all of them to one cache set
        for (int64_t i = x; i < end; ++i)
          for (int64_t y = first; y < last; ++y) tile[i - x][y - first] = s[i * src_step + y];
        for (int64_t y = first; y < last; ++y)
          for (int64_t i = x; i < end; ++i) d[y * dst_step + i] = tile[i - x][y - first];
      }
    }
  });
}

// The dimension along which src is dense when a transposing copy pays, or -1.
int transposed_columns(const Nest<2>& nest) {
  if (nest.row_stride(0) != 1 || nest.row_stride(1) == 1 || nest.row_stride(1) == 0 || nest.row() < 4) return -1;
  for (int d = 0; d + 1 < nest.rank; ++d)
    if (nest.stride[1][d] == 1 && nest.shape[d] >= 4) return d;
  return -1;
}

int32_t checked_index(const char* op, int32_t index, int64_t axis) {
  if (index < 0 || index >= axis) {
    char message[120];
    std::snprintf(message, sizeof message, "%s: index must be within [0, %lld), got %d", op, static_cast<long long>(axis), index);
    throw_op_error(message);
  }
  return index;
}

}  // namespace

void copy(const CopyArgs& a) {
  const Nest<2> nest({&a.dst, &a.src});
  if (nest.row() == 0 || nest.rows() == 0) return;
  const DType from = a.src.dtype, to = a.dst.dtype;
  const auto from_size = static_cast<int64_t>(size_of(from)), to_size = static_cast<int64_t>(size_of(to));
  if (from == to) {
    if (const int columns = transposed_columns(nest); columns >= 0) {
      with_size(size_of(to), [&](auto bits) { transpose<decltype(bits)>(nest, columns, a.src.data, a.dst.data); });
      return;
    }
  }
  const bool past = past_caches(nest.rows() * nest.row() * to_size);
  for_each_row(nest, [&](const int64_t* offset, int64_t n) {
    char* d = static_cast<char*>(a.dst.data) + offset[0] * to_size;
    const char* s = static_cast<const char*>(a.src.data) + offset[1] * from_size;
    if (from == to)
      copy_elements(past, size_of(to), s, nest.row_stride(1), d, nest.row_stride(0), n);
    else
      convert_row(past, from, s, nest.row_stride(1), to, d, nest.row_stride(0), n);
  });
}

void fill(const FillArgs& a) {
  uint32_t bits = 0;  // the value in dst's type
  const auto value = static_cast<float>(a.value);
  if (a.dst.dtype == DType::i32) {  // not through f32, whose 24 bits would round
    const double v = a.value;
    bits = static_cast<uint32_t>(v != v ? 0 : v >= 0x1p31 ? INT32_MAX : v <= -0x1p31 ? INT32_MIN : static_cast<int32_t>(v));
  } else if (a.dst.dtype == DType::boolean) {  // nor a tiny value to 0
    bits = a.value != 0 ? 1 : 0;
  } else {
    alignas(4) unsigned char element[4] = {};
    from_f32(&value, a.dst.dtype, element, 1);
    __builtin_memcpy(&bits, element, 4);
  }
  const Nest<1> nest({&a.dst});
  const int64_t stride = nest.row_stride(0);
  const bool past = past_caches(nest.rows() * nest.row() * static_cast<int64_t>(size_of(a.dst.dtype)));
  with_size(size_of(a.dst.dtype), [&](auto size) {
    using T = typename decltype(size)::T;
    const T x = static_cast<T>(bits);
    for_each_row(nest, [&](const int64_t* offset, int64_t n) {
      T* d = static_cast<T*>(a.dst.data) + offset[0];
      if (stride == 1)
        write_chunks(past, d, n, [x](int64_t i, int64_t end, T* to) {
          const T value = x;  // its own: no store can change it
          for (; i < end; ++i) *to++ = value;
        });
      else
        for (int64_t i = 0; i < n; ++i) d[i * stride] = x;
    });
  });
}

void gather(const GatherArgs& a) {
  if (a.inner <= 0) return;
  const bool past = past_caches(a.outer * a.picks * a.inner * 4);
  parallel_range(a.outer * a.picks, (kPiece + a.inner - 1) / a.inner, [&](int64_t low, int64_t high) {
    for (int64_t row = low; row < high; ++row) {
      const float* x = a.x + row / a.picks * a.axis * a.inner;
      const int32_t* index = a.index + row * a.inner;
      float* out = a.out + row * a.inner;
      const auto part = [&](int64_t k, int64_t end, float* to) {
        for (; k < end; ++k) *to++ = x[checked_index("gather", index[k], a.axis) * a.inner + k];
      };
      write_chunks(past, out, a.inner, part, index);
    }
  });
}

// Parallel over what cannot meet: i, and slices of k.
void gather_backward(const GatherBackwardArgs& a) {
  if (a.inner <= 0 || a.outer <= 0 || a.axis <= 0) return;
  constexpr int64_t kSlice = 64;
  const int64_t slices = (a.inner + kSlice - 1) / kSlice;
  const int64_t work = (a.axis + a.picks) * (a.inner < kSlice ? a.inner : kSlice);
  parallel_range(a.outer * slices, work < kPiece ? kPiece / work : 1, [&](int64_t low, int64_t high) {
    for (int64_t item = low; item < high; ++item) {
      const int64_t i = item / slices, first = item % slices * kSlice;
      const int64_t count = first + kSlice < a.inner ? kSlice : a.inner - first;
      float* dx = a.dx + i * a.axis * a.inner + first;
      if (!a.accumulate)
        for (int64_t row = 0; row < a.axis; ++row) __builtin_memset(dx + row * a.inner, 0, static_cast<size_t>(count) * sizeof(float));
      for (int64_t j = 0; j < a.picks; ++j) {
        const int64_t at = (i * a.picks + j) * a.inner + first;
        for (int64_t k = 0; k < count; ++k) {
          float& sum = dx[checked_index("gather", a.index[at + k], a.axis) * a.inner + k];
          sum = sum + a.dy[at + k];
        }
      }
    }
  });
}

}  // namespace heddle::cpu::HEDDLE_ISA
