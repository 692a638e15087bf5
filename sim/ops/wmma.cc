// 9.7.14 Warp-Level Matrix Instructions: wmma.load, wmma.store, wmma.mma.
//
// The manual leaves open which lane holds which element.  Here lane l holds `share` = rows * columns / 32 consecutive
// elements of the row-major matrix; registers beyond the share repeat them.
#include <array>

#include "sim/ops/access.h"
#include "sim/ops/formats.h"
#include "sim/ops/mma_count.h"

namespace sim {
namespace {

enum class Part : uint8_t { a, b, c };

struct Tile {  // kept in Instr::flags
  uint8_t m, n, k;
  Part part;
  Type type;
  bool column, satfinite, unused;
  int rows() const { return part == Part::b ? k : m; }
  int columns() const { return part == Part::a ? k : n; }
  int share() const { return rows() * columns() / 32; }
  int bits() const { return type == Type::tf32 ? 32 : ptx::bits(type); }
  int per_register() const { return bits() >= 32 ? 1 : 32 / bits(); }
};
static_assert(sizeof(Tile) == sizeof(Instr::flags));

uint64_t element(Warp& w, const uint32_t* r, const Tile& t, int lane, int j) {
  const int per = t.per_register(), bits = t.bits();
  if (bits == 64) return w.reg<uint64_t>(r[j])[lane];
  const uint32_t v = w.reg<uint32_t>(r[j / per])[lane] >> (j % per * bits % 32);
  return bits == 32 ? v : v & ((1u << bits) - 1);
}
void set_element(Warp& w, const uint32_t* r, const Tile& t, int lane, int j, uint64_t v) {
  const int per = t.per_register(), bits = t.bits();
  if (bits == 64) {
    w.reg<uint64_t>(r[j])[lane] = v;
    return;
  }
  uint32_t& reg = w.reg<uint32_t>(r[j / per])[lane];
  const uint32_t mask = bits == 32 ? ~0u : ((1u << bits) - 1) << j % per * bits;
  reg = (reg & ~mask) | (uint32_t(v) << j % per * bits & mask);
}

// r: address, stride or none, registers.  count: registers.
template <bool Store>
void move_run(Warp& w, const Instr& i) {
  if (!w.converged(~0u)) return;
  const Tile t = std::bit_cast<Tile>(i.flags);
  const uint32_t bytes = uint32_t(t.bits()) / 8;
  uint64_t base[32], address[32];
  uint8_t* p[32];
  lane_addresses(w, i, i.r[0], base);
  const uint32_t lead = i.r[1] == kNone ? uint32_t(t.column ? t.rows() : t.columns()) : w.reg<uint32_t>(i.r[1])[0];
  const int held = i.count * t.per_register(), share = t.share();
  for (int j = 0; j < (Store ? share : held); ++j) {
    for (uint32_t l = 0; l < 32; ++l) {
      const uint32_t e = l * uint32_t(share) + uint32_t(j % share), row = e / uint32_t(t.columns()), column = e % uint32_t(t.columns());
      address[l] = base[l] + uint64_t(t.column ? column * lead + row : row * lead + column) * bytes;
    }
    resolve(w, i, Space(i.space), address, bytes, Store ? Write : Read, p);
    for (int l = 0; l < 32; ++l) {
      uint64_t v = Store ? element(w, i.r + 2, t, l, j) : 0;
      if (Store) {
        memcpy(p[l], &v, bytes);
      } else {
        memcpy(&v, p[l], bytes);
        set_element(w, i.r + 2, t, l, j, v);
      }
    }
  }
  if (Store) ++w.machine->progress;
}

template <class T>
T value_of(uint64_t v, Type t) {
  switch (t) {
    case Type::f16:
      return T(f16_to_float(uint16_t(v)));
    case Type::bf16:
      return T(bf16_to_float(uint16_t(v)));
    case Type::tf32:
      return T(tf32_to_float(uint32_t(v)));
    case Type::f32:
      return T(std::bit_cast<float>(uint32_t(v)));
    case Type::s8:
      return T(int8_t(v));
    case Type::u8:
      return T(uint8_t(v));
    case Type::s32:
      return T(int32_t(v));
    default:
      return T(std::bit_cast<double>(v));
  }
}

// r: d, a, b, c registers; flags: tile of A; imm: types of B, C, D and the numbers of registers.
template <class T>
void mma_run(Warp& w, const Instr& i) {
  if (!w.converged(~0u)) return;
  const Tile a = std::bit_cast<Tile>(i.flags);
  const auto packed = std::bit_cast<std::array<uint8_t, 8>>(i.imm);
  Tile b = a, c = a, d = a;
  b.part = Part::b, c.part = d.part = Part::c;
  b.type = Type(packed[0]), c.type = Type(packed[1]), d.type = Type(packed[2]);
  const uint32_t *rd = i.r, *ra = rd + packed[3], *rb = ra + packed[4], *rc = rb + packed[5];
  static thread_local T ma[32 * 16], mb[32 * 16], mc[32 * 32];
  auto gather = [&](const uint32_t* r, const Tile& t, T* out) {
    for (int l = 0; l < 32; ++l)
      for (int j = 0; j < t.share(); ++j) out[l * t.share() + j] = value_of<T>(element(w, r, t, l, j), t.type);
  };
  gather(ra, a, ma), gather(rb, b, mb), gather(rc, c, mc);
  for (int m = 0; m < a.m; ++m)
    for (int k = 0; k < a.k; ++k)
      for (int n = 0; n < a.n; ++n) mc[m * a.n + n] += ma[m * a.k + k] * mb[k * a.n + n];
  const int held = packed[3] * d.per_register();
  for (int l = 0; l < 32; ++l)
    for (int j = 0; j < held; ++j) {
      const T v = mc[l * d.share() + j % d.share()];
      uint64_t bits;
      if constexpr (std::is_same_v<T, double>)
        bits = std::bit_cast<uint64_t>(v);
      else if constexpr (std::is_same_v<T, int64_t>)
        bits = uint32_t(a.satfinite ? std::clamp<int64_t>(v, INT32_MIN, INT32_MAX) : v);
      else
        bits = d.type == Type::f16 ? float_to_f16(v) : std::bit_cast<uint32_t>(v);
      set_element(w, rd, d, l, j, bits);
    }
  count_products(w, a.m, a.n, a.k, [&](int m, int k) { return ma[m * a.k + k]; }, [&](int k, int n) { return mb[k * a.n + n]; });
}

Tile take_shape(Decoder& d) {
  constexpr uint8_t shapes[][3] = {{16, 16, 16}, {8, 32, 16}, {32, 8, 16}, {16, 16, 8}, {8, 8, 4}};
  for (auto& s : shapes)
    if (d.take(format("m%dn%dk%d", s[0], s[1], s[2]))) return {s[0], s[1], s[2], Part::a, Type::none, false, false, false};
  d.unsupported("shape");
}

void move(Decoder& d, bool store) {
  Part part = Part::c;
  if (!store && d.take("a"))
    part = Part::a;
  else if (!store && d.take("b"))
    part = Part::b;
  else if (!d.take("c"))
    d.need("d");
  d.need("sync"), d.need("aligned");
  const bool column = d.take("col");
  if (!column) d.need("row");
  Tile t = take_shape(d);
  const Space space = d.take_space();
  t.part = part, t.column = column, t.type = d.take_type();
  const Operand& registers = d.operand(store ? 1 : 0);
  if (registers.kind != Operand::Vector) d.unsupported("registers");
  const Type lane = t.bits() == 64 ? Type::f64 : t.bits() == 32 && t.type == Type::f32 ? Type::f32 : Type::b32;
  std::vector<uint32_t> r{d.address(store ? 0 : 1, space), d.count() > 2 ? d.source(2, Type::u32) : kNone};
  for (const Operand& o : registers.parts) r.push_back(store ? d.source(o, lane) : d.dest(o));
  d.instr.count = uint8_t(registers.parts.size());
  d.instr.flags = std::bit_cast<uint64_t>(t);
  if (d.instr.count * t.per_register() < t.share()) d.unsupported("number of registers");
  d.emit(store ? move_run<true> : move_run<false>, r);
}

void wmma(Decoder& d) {
  if (d.take("load")) return move(d, false);
  if (d.take("store")) return move(d, true);
  d.need("mma"), d.need("sync"), d.need("aligned");
  for (int k = 0; k < 2; ++k)
    if (!d.take("row")) d.need("col");
  Tile t = take_shape(d);
  t.satfinite = d.take("satfinite");
  d.take("rn");
  Type types[4] = {d.take_type(), d.take_type(), Type::none, Type::none};  // D, A, B, C; halves name D and C only
  if (t.k == 16 && (types[0] == Type::f16 || types[0] == Type::f32) && (types[1] == Type::f16 || types[1] == Type::f32)) {
    types[3] = types[1], types[1] = types[2] = Type::f16;
  } else {
    types[2] = d.take_type(), types[3] = d.take_type();
  }
  t.type = types[1];
  std::array<uint8_t, 8> packed{uint8_t(types[2]), uint8_t(types[3]), uint8_t(types[0]), 0, 0, 0, 0, 0};
  std::vector<uint32_t> r;
  for (size_t o = 0; o < 4; ++o) {
    const Operand& v = d.operand(o);
    if (v.kind != Operand::Vector) d.unsupported("registers");
    packed[3 + o] = uint8_t(v.parts.size());
    const Type lane = types[o] == Type::f64 ? Type::f64 : types[o] == Type::f32 ? Type::f32 : Type::b32;
    for (const Operand& p : v.parts) r.push_back(o == 0 ? d.dest(p) : d.source(p, lane));
  }
  d.instr.flags = std::bit_cast<uint64_t>(t);
  d.instr.imm = std::bit_cast<int64_t>(packed);
  d.emit(types[0] == Type::f64 ? mma_run<double> : types[0] == Type::s32 ? mma_run<int64_t> : mma_run<float>, r);
}

constexpr Family kFamilies[] = {
    {"wmma", wmma, "9.7.14 wmma",
     ".load .store .mma; m16n16k16, m8n32k16, m32n8k16 f16, bf16, s8, u8; m16n16k8 tf32; m8n8k4 f64; .row .col"},
};

}  // namespace

std::span<const Family> wmma_families() { return kFamilies; }

}  // namespace sim
