// 9.7.14 Warp-Level Matrix Instructions: mma.sync.
//
// Fragment maps, with g = lane / 4 and t = lane % 4 (9.7.14 "Matrix Fragments for mma"): a register of A or B holds
// E = 32 / bits consecutive k values from t * E; registers of A alternate between rows g and g + 8 and then go on by
// 4 E along k, registers of B go on by 4 E along k for column g.  C and D: row g (then g + 8), columns 2 t and 2 t + 1.
#include "sim/machine/lanes.h"
#include "sim/ops/formats.h"
#include "sim/ops/mma_count.h"

namespace sim {
namespace {

struct Bf16Format {
  static constexpr int per_register = 2;
  using value = float;
  static float get(uint32_t r, int e) { return bf16_to_float(uint16_t(r >> 16 * e)); }
};
struct F16Format {
  static constexpr int per_register = 2;
  using value = float;
  static float get(uint32_t r, int e) { return f16_to_float(uint16_t(r >> 16 * e)); }
};
struct Tf32Format {
  static constexpr int per_register = 1;
  using value = float;
  static float get(uint32_t r, int) { return tf32_to_float(r); }
};
template <Type T>
struct Fp8Format {
  static constexpr int per_register = 4;
  using value = float;
  static float get(uint32_t r, int e) { return fp8_to_float(uint8_t(r >> 8 * e), T); }
};
template <int Bits, bool Signed>
struct IntFormat {
  static constexpr int per_register = 32 / Bits;
  using value = int32_t;
  static int32_t get(uint32_t r, int e) {
    const uint32_t v = r << (32 - Bits * (e + 1));
    return Signed ? int32_t(v) >> (32 - Bits) : int32_t(v >> (32 - Bits));
  }
};

void whole_warp(Warp& w) {
  if (w.mask != ~0u) w.fault(-1, "executed by a partial warp (live lanes %08x)", w.live);
}

// The 8 columns of B, C and D.
using FloatRow = float __attribute__((vector_size(32)));
using IntegerRow = int32_t __attribute__((vector_size(32)));
template <class T>
using Row = std::conditional_t<std::is_same_v<T, float>, FloatRow, IntegerRow>;

enum class Result : uint8_t { f32, f16, s32 };

// A register of a 16-bit format as the 8 rows (columns for B) of 8 k values that its lanes hold.
template <class F>
void convert_halves(const uint32_t* reg, FloatRow* rows) {
  uint16_t half[64];
  float value[64];
  memcpy(half, reg, sizeof half);
  for (int j = 0; j < 64; ++j) value[j] = F::get(half[j], 0);
  memcpy(rows, value, sizeof value);
}

void transpose(FloatRow* r) {
  FloatRow t[8], s[8];
  for (int k = 0; k < 8; k += 2) {
    t[k] = __builtin_shufflevector(r[k], r[k + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    t[k + 1] = __builtin_shufflevector(r[k], r[k + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int k = 0; k < 8; k += 4)
    for (int j = 0; j < 2; ++j) {
      s[k + 2 * j] = __builtin_shufflevector(t[k + j], t[k + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      s[k + 2 * j + 1] = __builtin_shufflevector(t[k + j], t[k + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int k = 0; k < 4; ++k) {
    r[k] = __builtin_shufflevector(s[k], s[k + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    r[k + 4] = __builtin_shufflevector(s[k], s[k + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

// Two f32 registers of C or D as their 8 rows, and back.
using FloatQuad = float __attribute__((vector_size(16)));
void interleave(const uint32_t* even, const uint32_t* odd, FloatRow* rows) {
  for (int g = 0; g < 8; ++g) {
    FloatQuad x, y;
    memcpy(&x, even + 4 * g, 16), memcpy(&y, odd + 4 * g, 16);
    rows[g] = __builtin_shufflevector(x, y, 0, 4, 1, 5, 2, 6, 3, 7);
  }
}
void separate(const FloatRow* rows, uint32_t* even, uint32_t* odd) {
  for (int g = 0; g < 8; ++g) {
    const FloatQuad x = __builtin_shufflevector(rows[g], rows[g], 0, 2, 4, 6), y = __builtin_shufflevector(rows[g], rows[g], 1, 3, 5, 7);
    memcpy(even + 4 * g, &x, 16), memcpy(odd + 4 * g, &y, 16);
  }
  for (int l = 0; l < 32; ++l) {
    even[l] = Traits<float>::put(std::bit_cast<float>(even[l]));
    odd[l] = Traits<float>::put(std::bit_cast<float>(odd[l]));
  }
}

// Fragments to matrices.  M is 8 or 16.
template <int M, int K, class FA, class FB>
void gather(Warp& w, const uint32_t* ra, const uint32_t* rb, typename FA::value (*a)[K], Row<typename FB::value>* b) {
  constexpr int E = FA::per_register, span = 4 * E, rows = M / 8;
  if constexpr (E == 2 && std::is_same_v<typename FA::value, float>) {
    FloatRow part[8];
    for (int k = 0; k < rows * K / span; ++k) {
      convert_halves<FA>(w.reg<uint32_t>(ra[k]), part);
      for (int g = 0; g < 8; ++g) memcpy(&a[g + k % rows * 8][k / rows * span], &part[g], sizeof part[g]);
    }
    for (int k = 0; k < K / span; ++k) {
      convert_halves<FB>(w.reg<uint32_t>(rb[k]), b + k * span);
      transpose(b + k * span);
    }
    return;
  }
  for (int k = 0; k < rows * K / span; ++k) {
    auto* reg = w.reg<uint32_t>(ra[k]);
    for (int l = 0; l < 32; ++l)
      for (int e = 0; e < E; ++e) a[l / 4 + k % rows * 8][l % 4 * E + e + k / rows * span] = FA::get(reg[l], e);
  }
  for (int k = 0; k < K / span; ++k) {
    auto* reg = w.reg<uint32_t>(rb[k]);
    for (int l = 0; l < 32; ++l)
      for (int e = 0; e < E; ++e) b[l % 4 * E + e + k * span][l / 4] = FB::get(reg[l], e);
  }
}

// r: D, A, B, C registers.
template <int K, class FA, class FB, Result R>
void mma_run(Warp& w, const Instr& i) {
  if (!w.converged(~0u)) return;
  whole_warp(w);
  constexpr int span = 4 * FA::per_register, nd = R == Result::f16 ? 2 : 4;
  float a[16][K];
  Row<float> b[K], d[16];
  const uint32_t *rd = i.r, *ra = rd + nd, *rb = ra + 2 * K / span, *rc = rb + K / span;
  gather<16, K, FA, FB>(w, ra, rb, a, b);
  for (int k = 0; k < 2; ++k)
    if constexpr (R == Result::f16)
      convert_halves<F16Format>(w.reg<uint32_t>(rc[k]), d + 8 * k);
    else
      interleave(w.reg<uint32_t>(rc[2 * k]), w.reg<uint32_t>(rc[2 * k + 1]), d + 8 * k);
  for (int m = 0; m < 16; m += 8) {  // eight chains of additions at a time: one alone waits for itself
    Row<float> sum[8];
    for (int j = 0; j < 8; ++j) sum[j] = d[m + j];
    for (int k = 0; k < K; ++k)
      for (int j = 0; j < 8; ++j) sum[j] += a[m + j][k] * b[k];
    for (int j = 0; j < 8; ++j) d[m + j] = sum[j];
  }
  for (int k = 0; k < 2; ++k) {
    if constexpr (R == Result::f16) {
      auto* reg = w.reg<uint32_t>(rd[k]);
      for (int l = 0; l < 32; ++l)
        reg[l] = float_to_f16(d[l / 4 + k * 8][l % 4 * 2]) | uint32_t(float_to_f16(d[l / 4 + k * 8][l % 4 * 2 + 1])) << 16;
    } else {
      separate(d + 8 * k, w.reg<uint32_t>(rd[2 * k]), w.reg<uint32_t>(rd[2 * k + 1]));
    }
  }
  count_products(w, 16, 8, K, [&](int m, int k) { return a[m][k]; }, [&](int k, int n) { return b[k][n]; });
}

// Integer products; .satfinite clamps the sum, otherwise it wraps.  b1: popc(a ^ b) or popc(a & b).
enum IntegerFlags : uint64_t { kSatfinite = 1, kXor = 2 };
template <int M, int K, class FA, class FB>
void mma_integer_run(Warp& w, const Instr& i) {
  if (!w.converged(~0u)) return;
  whole_warp(w);
  constexpr int span = 4 * FA::per_register, rows = M / 8, nd = 2 * rows;
  int32_t a[M][K];
  Row<int32_t> b[K];
  const uint32_t *rd = i.r, *ra = rd + nd, *rb = ra + rows * K / span, *rc = rb + K / span;
  gather<M, K, FA, FB>(w, ra, rb, a, b);
  int32_t d[M][8];
  for (int m = 0; m < M; ++m) {
    Row<int32_t> sum{};
    if (i.flags & kXor)
      for (int k = 0; k < K; ++k) sum += a[m][k] ^ b[k];
    else
      for (int k = 0; k < K; ++k) sum += a[m][k] * b[k];
    for (int n = 0; n < 8; ++n) d[m][n] = sum[n];
  }
  for (int k = 0; k < nd; ++k) {
    auto *to = w.reg<uint32_t>(rd[k]), *c = w.reg<uint32_t>(rc[k]);
    for (int l = 0; l < 32; ++l) {
      const int64_t v = int64_t(int32_t(c[l])) + d[l / 4 + k / 2 * 8][l % 4 * 2 + k % 2];
      to[l] = uint32_t(i.flags & kSatfinite ? std::clamp<int64_t>(v, INT32_MIN, INT32_MAX) : v);
    }
  }
  count_products(w, M, 8, K, [&](int m, int k) { return a[m][k]; }, [&](int k, int n) { return b[k][n]; });
}

// f64: one value per register, A and B as for E = 1.
template <int M, int K>
void mma_double_run(Warp& w, const Instr& i) {
  if (!w.converged(~0u)) return;
  whole_warp(w);
  constexpr int rows = M / 8, na = rows * K / 4, nb = K / 4, nd = 2 * rows;
  double a[M][K], b[K][8];
  const uint32_t *rd = i.r, *ra = rd + nd, *rb = ra + na, *rc = rb + nb;
  for (int k = 0; k < na; ++k)
    for (int l = 0; l < 32; ++l) a[l / 4 + k % rows * 8][l % 4 + k / rows * 4] = w.reg<double>(ra[k])[l];
  for (int k = 0; k < nb; ++k)
    for (int l = 0; l < 32; ++l) b[l % 4 + k * 4][l / 4] = w.reg<double>(rb[k])[l];
  double d[nd][32];
  for (int k = 0; k < nd; ++k)
    for (int l = 0; l < 32; ++l) {
      double sum = w.reg<double>(rc[k])[l];
      for (int j = 0; j < K; ++j) sum = std::fma(a[l / 4 + k / 2 * 8][j], b[j][l % 4 * 2 + k % 2], sum);
      d[k][l] = sum;
    }
  for (int k = 0; k < nd; ++k)
    for (int l = 0; l < 32; ++l) w.reg<double>(rd[k])[l] = d[k][l];
  count_products(w, M, 8, K, [&](int m, int k) { return a[m][k]; }, [&](int k, int n) { return b[k][n]; });
}

// ---- decoding ----

template <class FA, class FB, int... Ks>
Handler float_handler(int k, bool half) {
  Handler h = nullptr;
  ((k == Ks ? void(h = half ? mma_run<Ks, FA, FB, Result::f16> : mma_run<Ks, FA, FB, Result::f32>) : void()), ...);
  return h;
}
Handler float_handler(Type a, Type b, int k, bool half) {
  using E4 = Fp8Format<Type::e4m3>;
  using E5 = Fp8Format<Type::e5m2>;
  if (a == Type::bf16 && b == a && !half) return float_handler<Bf16Format, Bf16Format, 8, 16>(k, false);
  if (a == Type::f16 && b == a) return float_handler<F16Format, F16Format, 8, 16>(k, half);
  if (a == Type::tf32 && b == a && !half) return float_handler<Tf32Format, Tf32Format, 4, 8>(k, false);
  if (a == Type::e4m3 && b == Type::e4m3) return float_handler<E4, E4, 16, 32>(k, half);
  if (a == Type::e4m3 && b == Type::e5m2) return float_handler<E4, E5, 16, 32>(k, half);
  if (a == Type::e5m2 && b == Type::e4m3) return float_handler<E5, E4, 16, 32>(k, half);
  if (a == Type::e5m2 && b == Type::e5m2) return float_handler<E5, E5, 16, 32>(k, half);
  return nullptr;
}

template <int Bits, bool SA, bool SB>
Handler integer_handler(int m, int k) {
  using FA = IntFormat<Bits, SA>;
  using FB = IntFormat<Bits, SB>;
  constexpr int span = 128 / Bits;
  if (m == 8 && k == span) return mma_integer_run<8, span, FA, FB>;
  if (m == 16 && k == span) return mma_integer_run<16, span, FA, FB>;
  if (m == 16 && k == 2 * span) return mma_integer_run<16, 2 * span, FA, FB>;
  return nullptr;
}
Handler integer_handler(Type a, Type b, int m, int k) {
  const bool sa = ptx::is_signed(a) || a == Type::s4, sb = ptx::is_signed(b) || b == Type::s4;
  if (ptx::bits(a) != ptx::bits(b)) return nullptr;
  switch (ptx::bits(a)) {
    case 8:
      return sa   ? sb ? integer_handler<8, true, true>(m, k) : integer_handler<8, true, false>(m, k)
             : sb ? integer_handler<8, false, true>(m, k)
                  : integer_handler<8, false, false>(m, k);
    case 4:
      return sa   ? sb ? integer_handler<4, true, true>(m, k) : integer_handler<4, true, false>(m, k)
             : sb ? integer_handler<4, false, true>(m, k)
                  : integer_handler<4, false, false>(m, k);
    case 1:
      return integer_handler<1, false, false>(m, k);
    default:
      return nullptr;
  }
}
Handler double_handler(int m, int k) {
  if (m == 8) return k == 4 ? mma_double_run<8, 4> : nullptr;
  return k == 4 ? mma_double_run<16, 4> : k == 8 ? mma_double_run<16, 8> : k == 16 ? mma_double_run<16, 16> : nullptr;
}

void mma(Decoder& d) {
  d.need("sync"), d.need("aligned");
  int m = 0, k = 0;
  for (int rows : {8, 16})
    for (int depth = 4; depth <= 256; depth *= 2)
      if (d.take(format("m%dn8k%d", rows, depth))) m = rows, k = depth;
  if (!k) d.unsupported("shape");
  const auto& mods = d.statement.mods;  // the order says which operand is which
  if (mods.size() < 5 || mods[3] != "row" || mods[4] != "col") d.unsupported("layout other than .row.col");
  d.need("row"), d.need("col");
  const bool satfinite = d.take("satfinite");
  const Type td = d.take_type(), ta = d.take_type(), tb = d.take_type(), tc = d.take_type();
  if (td != tc) d.unsupported("C and D of different types");
  Handler h = nullptr;
  int bits = ptx::bits(ta);
  if (td == Type::s32) {
    d.instr.flags = satfinite ? uint64_t(kSatfinite) : 0;
    if (ta == Type::b1) {
      d.need("popc");
      if (d.take("xor"))
        d.instr.flags |= kXor;
      else
        d.need("and");
    }
    h = integer_handler(ta, tb, m, k);
  } else if (td == Type::f64) {
    d.take("rn");
    if (ta == Type::f64 && tb == Type::f64) h = double_handler(m, k);
  } else if (m == 16 && !satfinite && (td == Type::f32 || td == Type::f16)) {
    h = float_handler(ta, tb, k, td == Type::f16);
  }
  if (!h) d.unsupported("types for this shape");
  if (td == Type::f64) bits = 32;  // one value per register
  const int span = 128 / bits, rows = m / 8, nd = td == Type::f16 ? rows : 2 * rows;
  const int sizes[4] = {nd, rows * k / span, k / span, nd};
  std::vector<uint32_t> r;
  const Type lane = td == Type::f64 ? Type::f64 : Type::b32;
  for (size_t o = 0; o < 4; ++o) {
    const Operand& v = d.operand(o);
    const std::vector<Operand> parts = v.kind == Operand::Vector ? v.parts : std::vector<Operand>{v};
    if (int(parts.size()) != sizes[o]) d.unsupported("number of registers in operand " + std::to_string(o));
    for (const Operand& p : parts) r.push_back(o == 0 ? d.dest(p) : d.source(p, o == 3 && td == Type::f32 ? Type::f32 : lane));
  }
  d.emit(h, r);
}

constexpr Family kFamilies[] = {
    {"mma", mma, "9.7.14 mma",
     ".row.col; m16n8k8, m16n8k16 bf16, f16 (D f32 or f16); m16n8k4, m16n8k8 tf32; m16n8k16, m16n8k32 e4m3, e5m2; m8n8k16, m16n8k16, "
     "m16n8k32 s8, u8; m8n8k32, m16n8k32, m16n8k64 s4, u4; m8n8k128, m16n8k128, m16n8k256 b1 (.xor .and); m8n8k4, m16n8k4, m16n8k8, "
     "m16n8k16 f64"},
};

}  // namespace

std::span<const Family> mma_families() { return kFamilies; }

}  // namespace sim
