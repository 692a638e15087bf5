// 9.7.1 Integer Arithmetic: counting and moving bits, dot products of small integers; 9.7.9 prmt.
#include "sim/ops/integer.h"

namespace sim {
namespace {

template <class T>
void popc_run(Warp& w, const Instr& i) {
  auto* a = w.reg<LaneOf<T>>(i.r[1]);
  each_lane(w.mask, [&](int l) { w.reg<uint32_t>(i.r[0])[l] = uint32_t(std::popcount(a[l])); });
}
template <class T>
void clz_run(Warp& w, const Instr& i) {
  auto* a = w.reg<LaneOf<T>>(i.r[1]);
  each_lane(w.mask, [&](int l) { w.reg<uint32_t>(i.r[0])[l] = uint32_t(std::countl_zero(a[l])); });
}
template <class T>
void bfind_run(Warp& w, const Instr& i) {
  auto* a = w.reg<LaneOf<T>>(i.r[1]);
  each_lane(w.mask, [&](int l) {
    T v = Traits<T>::get(a[l]);
    if (v < 0) v = T(~v);
    const int zeros = std::countl_zero(Unsigned<T>(v)), width = 8 * sizeof(T);
    w.reg<uint32_t>(i.r[0])[l] = zeros == width ? ~0u : uint32_t(i.flags ? zeros : width - 1 - zeros);
  });
}
template <class T>
void brev_run(Warp& w, const Instr& i) {
  auto *d = w.reg<T>(i.r[0]), *a = w.reg<T>(i.r[1]);
  each_lane(w.mask, [&](int l) {
    T v = a[l], r = 0;
    for (size_t k = 0; k < 8 * sizeof(T); ++k, v >>= 1) r = T(r << 1 | (v & 1));
    d[l] = r;
  });
}
void popc(Decoder& d) {
  Type t = d.take_type();
  d.emit(is_wide(t) ? popc_run<uint64_t> : popc_run<uint32_t>, {d.dest(0), d.source(1, t)});
}
void clz(Decoder& d) {
  Type t = d.take_type();
  d.emit(is_wide(t) ? clz_run<uint64_t> : clz_run<uint32_t>, {d.dest(0), d.source(1, t)});
}
template <class T>
struct Bfind {
  static constexpr Handler handler = bfind_run<T>;
};
void bfind(Decoder& d) {
  d.instr.flags = d.take("shiftamt");
  Type t = d.take_type();
  d.emit(integer_handler<Bfind>(d, t), {d.dest(0), d.source(1, t)});
}
void brev(Decoder& d) {
  Type t = d.take_type();
  d.emit(is_wide(t) ? brev_run<uint64_t> : brev_run<uint32_t>, {d.dest(0), d.source(1, t)});
}

template <class T>
void bfe_run(Warp& w, const Instr& i) {
  auto *d = w.reg<LaneOf<T>>(i.r[0]), *a = w.reg<LaneOf<T>>(i.r[1]);
  auto *b = w.reg<uint32_t>(i.r[2]), *c = w.reg<uint32_t>(i.r[3]);
  constexpr int msb = 8 * sizeof(T) - 1;
  each_lane(w.mask, [&](int l) {
    const int pos = b[l] & 0xff, len = c[l] & 0xff;
    const Unsigned<T> v = Unsigned<T>(a[l]);
    const bool sign = std::is_signed_v<T> && len && (v >> std::min(pos + len - 1, msb) & 1);
    Unsigned<T> r = sign ? ~Unsigned<T>(0) : 0;
    for (int k = 0; k <= msb && k < len && pos + k <= msb; ++k) {
      const Unsigned<T> bit = Unsigned<T>(1) << k;
      r = (v >> (pos + k) & 1) ? r | bit : r & ~bit;
    }
    d[l] = r;
  });
}
template <class T>
struct Bfe {
  static constexpr Handler handler = bfe_run<T>;
};
void bfe(Decoder& d) {
  Type t = d.take_type();
  d.emit(integer_handler<Bfe>(d, t), {d.dest(0), d.source(1, t), d.source(2, Type::u32), d.source(3, Type::u32)});
}
template <class T>
void bfi_run(Warp& w, const Instr& i) {
  auto *d = w.reg<T>(i.r[0]), *a = w.reg<T>(i.r[1]), *b = w.reg<T>(i.r[2]);
  auto *c = w.reg<uint32_t>(i.r[3]), *n = w.reg<uint32_t>(i.r[4]);
  constexpr uint32_t width = 8 * sizeof(T);
  each_lane(w.mask, [&](int l) {
    const uint32_t pos = c[l] & 0xff, len = n[l] & 0xff;
    T field = len >= width ? ~T(0) : (T(1) << len) - 1;
    field = pos >= width ? 0 : field << pos;
    d[l] = (b[l] & ~field) | ((pos >= width ? 0 : a[l] << pos) & field);
  });
}
void bfi(Decoder& d) {
  Type t = d.take_type();
  d.emit(is_wide(t) ? bfi_run<uint64_t> : bfi_run<uint32_t>,
         {d.dest(0), d.source(1, t), d.source(2, t), d.source(3, Type::u32), d.source(4, Type::u32)});
}

// ---- fns: the position of the n-th set bit, upwards (n > 0) or downwards (n < 0) from `base` ----

void fns_run(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *mask = w.reg<uint32_t>(i.r[1]), *base = w.reg<uint32_t>(i.r[2]), *offset = w.reg<uint32_t>(i.r[3]);
  for_lanes(w.mask, [&](int l) {
    const int n = int(offset[l]), step = n < 0 ? -1 : 1;
    int left = n < 0 ? -n : n;
    d[l] = ~0u;
    if (n == 0) {
      if (base[l] < 32 && mask[l] >> base[l] & 1) d[l] = base[l];
      return;
    }
    for (int k = int(base[l]); k >= 0 && k < 32; k += step)
      if (mask[l] >> k & 1 && --left == 0) {
        d[l] = uint32_t(k);
        return;
      }
  });
}
void fns(Decoder& d) {
  d.need("b32");
  emit_same<3>(d, fns_run, Type::b32);
}

// ---- bmsk: b ones from bit a; szext: the low b bits of a, extended ----

template <bool Clamp>
void bmsk_run(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]);
  each_lane(w.mask, [&](int l) {
    const uint32_t first = a[l] & 31, sum = first + (b[l] & 31);
    const uint32_t below = Clamp && a[l] >= 32 ? 0 : ~0u << first;
    const bool open = sum >= 32 || (Clamp && (a[l] >= 32 || b[l] >= 32));
    d[l] = below & ~(open ? 0 : ~0u << (sum & 31));
  });
}
void bmsk(Decoder& d) {
  const bool clamp = d.take("clamp");
  if (!clamp) d.need("wrap");
  d.need("b32");
  emit_same<2>(d, clamp ? bmsk_run<true> : bmsk_run<false>, Type::b32);
}
template <bool Clamp, bool Signed>
void szext_run(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]);
  each_lane(w.mask, [&](int l) {
    const uint32_t n = b[l] & 31;
    const uint32_t above = Clamp && b[l] >= 32 ? 0 : ~0u << n;
    const bool sign = Signed && n && above && (a[l] >> (n - 1) & 1);
    d[l] = (a[l] & ~above) | (sign ? above : 0);
  });
}
void szext(Decoder& d) {
  const bool clamp = d.take("clamp");
  if (!clamp) d.need("wrap");
  const bool s = d.take_type() == Type::s32;
  emit_same<2>(d, clamp ? (s ? szext_run<true, true> : szext_run<true, false>) : (s ? szext_run<false, true> : szext_run<false, false>),
               Type::b32);
}

// 9.7.9 prmt: the special modes are the default mode with selectors chosen by c & 3.
constexpr struct {
  const char* name;
  uint32_t selectors[4];
} kPrmtModes[] = {
    {"f4e", {0x3210, 0x4321, 0x5432, 0x6543}}, {"b4e", {0x5670, 0x6701, 0x7012, 0x0123}}, {"rc8", {0x0000, 0x1111, 0x2222, 0x3333}},
    {"ecl", {0x3210, 0x3211, 0x3222, 0x3333}}, {"ecr", {0x0000, 0x1110, 0x2210, 0x3210}}, {"rc16", {0x1010, 0x3232, 0x1010, 0x3232}},
};

void prmt_run(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]), *c = w.reg<uint32_t>(i.r[3]);
  const auto* mode = reinterpret_cast<const uint32_t*>(i.flags);
  auto selector = [&](uint32_t v) { return mode ? mode[v & 3] : v; };
  each_lane(w.mask, [&](int l) {
    const uint64_t bytes = uint64_t(b[l]) << 32 | a[l];
    uint32_t r = 0;
    for (int k = 0; k < 4; ++k) {
      const uint32_t sel = selector(c[l]) >> 4 * k & 15;
      uint32_t byte = uint32_t(bytes >> 8 * (sel & 7)) & 0xff;
      if (sel & 8) byte = byte & 0x80 ? 0xff : 0;
      r |= byte << 8 * k;
    }
    d[l] = r;
  });
}
void prmt(Decoder& d) {
  d.need("b32");
  for (const auto& m : kPrmtModes)
    if (d.take(m.name)) d.instr.flags = reinterpret_cast<uint64_t>(m.selectors);
  d.emit(prmt_run, {d.dest(0), d.source(1, Type::b32), d.source(2, Type::b32), d.source(3, Type::b32)});
}

// ---- dp4a, dp2a ----

template <bool SignedA, bool SignedB>
void dp4a_run(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]), *c = w.reg<uint32_t>(i.r[3]);
  each_lane(w.mask, [&](int l) {
    uint32_t sum = c[l];
    for (int k = 0; k < 32; k += 8) {
      const int x = SignedA ? int8_t(a[l] >> k) : uint8_t(a[l] >> k), y = SignedB ? int8_t(b[l] >> k) : uint8_t(b[l] >> k);
      sum += uint32_t(x * y);
    }
    d[l] = sum;
  });
}
void dp4a(Decoder& d) {
  const bool sa = d.take_type() == Type::s32, sb = d.take_type() == Type::s32;
  d.emit(sa   ? sb ? dp4a_run<true, true> : dp4a_run<true, false>
         : sb ? dp4a_run<false, true>
              : dp4a_run<false, false>,
         {d.dest(0), d.source(1, Type::b32), d.source(2, Type::b32), d.source(3, Type::b32)});
}

// Two 16-bit values of a and two bytes of b, the lower or the upper ones.
void dp2a_run(Warp& w, const Instr& i) {
  auto *d = w.reg<uint32_t>(i.r[0]), *a = w.reg<uint32_t>(i.r[1]), *b = w.reg<uint32_t>(i.r[2]), *c = w.reg<uint32_t>(i.r[3]);
  const bool sa = i.flags & 1, sb = i.flags & 2;
  const int first = i.flags & 4 ? 16 : 0;
  each_lane(w.mask, [&](int l) {
    uint32_t sum = c[l];
    for (int k = 0; k < 2; ++k) {
      const uint32_t x = a[l] >> 16 * k, y = b[l] >> (first + 8 * k);
      sum += uint32_t((sa ? int(int16_t(x)) : int(uint16_t(x))) * (sb ? int(int8_t(y)) : int(uint8_t(y))));
    }
    d[l] = sum;
  });
}
void dp2a(Decoder& d) {
  const bool high = d.take("hi");
  if (!high) d.need("lo");
  const bool sa = d.take_type() == Type::s32, sb = d.take_type() == Type::s32;
  d.instr.flags = unsigned(sa) | unsigned(sb) << 1 | unsigned(high) << 2;
  emit_same<3>(d, dp2a_run, Type::b32);
}

constexpr Family kFamilies[] = {
    {"popc", popc, "9.7.1", ".b32 .b64"},
    {"clz", clz, "9.7.1", ".b32 .b64"},
    {"bfind", bfind, "9.7.1", "all types, .shiftamt"},
    {"fns", fns, "9.7.1", ".b32"},
    {"brev", brev, "9.7.1", ".b32 .b64"},
    {"bfe", bfe, "9.7.1", "all types"},
    {"bfi", bfi, "9.7.1", ".b32 .b64"},
    {"bmsk", bmsk, "9.7.1", ".clamp .wrap"},
    {"szext", szext, "9.7.1", ".clamp .wrap, .u32 .s32"},
    {"dp4a", dp4a, "9.7.1", "all types"},
    {"dp2a", dp2a, "9.7.1", ".lo .hi, all types"},
    {"prmt", prmt, "9.7.9", ".b32, default mode and .f4e .b4e .rc8 .ecl .ecr .rc16"},
};

}  // namespace

std::span<const Family> bits_families() { return kFamilies; }

}  // namespace sim
