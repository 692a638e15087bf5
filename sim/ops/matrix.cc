// 9.7.14 Warp-Level Matrix Instructions: ldmatrix, stmatrix, movmatrix, mma.sync.
//
// Fragment maps, with g = lane / 4 and t = lane % 4: see 9.7.14 "Matrix Fragments for mma.m16n8k16".
#include "sim/machine/lanes.h"

namespace sim {

void lane_addresses(Warp& w, const Instr& i, uint32_t base, uint64_t* address);

namespace {

// ---------------------------------------------------------------------------- ldmatrix, stmatrix

// Eight 16-byte rows are fetched per 8x8 matrix; different rows on the same banks cost extra cycles.
void count_conflicts(Warp& w, const uint32_t* offset) {
  int worst = 1;
  for (int i = 0; i < 8; ++i) {
    int same = 0;
    for (int j = 0; j < 8; ++j) same += offset[i] / 16 % 8 == offset[j] / 16 % 8 && (j == i || offset[i] != offset[j]);
    worst = std::max(worst, same);
  }
  ++w.machine->profile.shared_requests;
  w.machine->profile.shared_conflicts += uint64_t(worst - 1);
}

template <bool Store>
void move_matrices(Warp& w, const Instr& i) {  // r: load: registers, address; store: address, registers
  if (!w.converged(~0u)) return;
  if (w.mask != ~0u) w.fault(-1, "executed by a partial warp (live lanes %08x)", w.live);
  const bool transpose = i.flags;
  const uint32_t* r = Store ? i.r + 1 : i.r;
  uint64_t address[32];
  lane_addresses(w, i, Store ? i.r[0] : i.r[i.count], address);
  for (int m = 0; m < i.count; ++m) {
    uint8_t* rows[8];
    uint32_t offset[8];
    for (int k = 0; k < 8; ++k) {
      const int owner = m * 8 + k;
      uint64_t a = address[owner];
      if (Space(i.space) == Space::generic) {
        if ((a & 0xf000'0000'0000'0000) != kSharedWindow) w.fault(owner, "address 0x%lx is not in shared memory", a);
        a -= kSharedWindow;
      }
      const SharedPlace p = shared_place(w, owner, a, 16, 16);
      if (w.machine->options.race) race::shared_access(w, owner, *p.block, p.offset, 16, Store ? Write : Read);
      if (Store && w.program->uses_async_proxy) note_generic_write(w, owner, p, 16);
      rows[k] = p.data();
      offset[k] = p.offset;
    }
    if (w.machine->options.profile) count_conflicts(w, offset);
    auto* reg = w.reg<uint32_t>(r[m]);
    for (int lane = 0; lane < 32; ++lane) {
      uint16_t h[2];
      if (!Store) {
        if (transpose)
          for (int e = 0; e < 2; ++e) memcpy(&h[e], rows[lane % 4 * 2 + e] + lane / 4 * 2, 2);
        else
          memcpy(h, rows[lane / 4] + lane % 4 * 4, 4);
        reg[lane] = h[0] | uint32_t(h[1]) << 16;
      } else {
        h[0] = uint16_t(reg[lane]), h[1] = uint16_t(reg[lane] >> 16);
        if (transpose)
          for (int e = 0; e < 2; ++e) memcpy(rows[lane % 4 * 2 + e] + lane / 4 * 2, &h[e], 2);
        else
          memcpy(rows[lane / 4] + lane % 4 * 4, h, 4);
      }
    }
  }
  if (Store) ++w.machine->progress;
}

void matrices(Decoder& d, bool store) {
  d.need("sync"), d.need("aligned"), d.need("m8n8");
  const int n = d.take("x4") ? 4 : d.take("x2") ? 2 : 1;
  if (n == 1) d.need("x1");
  d.instr.flags = d.take("trans");
  const Space space = d.take_space();
  d.need("b16");
  d.instr.count = uint8_t(n);
  const Operand& v = d.operand(store ? 1 : 0);
  if (v.kind != Operand::Vector || int(v.parts.size()) != n) d.unsupported("number of registers");
  std::vector<uint32_t> r;
  if (store) r.push_back(d.address(0, space));
  for (const Operand& o : v.parts) r.push_back(store ? d.source(o, Type::b32) : d.dest(o));
  if (!store) r.push_back(d.address(1, space));
  d.emit(store ? move_matrices<true> : move_matrices<false>, r);
}
void ldmatrix(Decoder& d) { matrices(d, false); }
void stmatrix(Decoder& d) { matrices(d, true); }

void movmatrix_run(Warp& w, const Instr& i) {
  if (!w.converged(~0u)) return;
  uint16_t m[8][8];
  auto* a = w.reg<uint32_t>(i.r[1]);
  for (int l = 0; l < 32; ++l)
    for (int e = 0; e < 2; ++e) m[l / 4][l % 4 * 2 + e] = uint16_t(a[l] >> 16 * e);
  for (int l = 0; l < 32; ++l) w.reg<uint32_t>(i.r[0])[l] = m[l % 4 * 2][l / 4] | uint32_t(m[l % 4 * 2 + 1][l / 4]) << 16;
}
void movmatrix(Decoder& d) {
  d.need("sync"), d.need("aligned"), d.need("m8n8"), d.need("trans"), d.need("b16");
  d.emit(movmatrix_run, {d.dest(0), d.source(1, Type::b32)});
}

// --------------------------------------------------------------------------------------- mma.sync

struct Bf16Format {
  static constexpr int per_register = 2;
  static float get(uint32_t r, int e) { return bf16_to_float(uint16_t(r >> 16 * e)); }
};
struct F16Format {
  static constexpr int per_register = 2;
  static float get(uint32_t r, int e) { return f16_to_float(uint16_t(r >> 16 * e)); }
};
struct Tf32Format {
  static constexpr int per_register = 1;
  static float get(uint32_t r, int) { return tf32_to_float(r); }
};

using Row = float __attribute__((vector_size(32)));  // the 8 columns of B, C and D

// m16n8kK, A row-major, B column-major, C and D f32 (or packed f16).
template <int K, class Format, bool HalfD>
void mma_run(Warp& w, const Instr& i) {
  if (!w.converged(~0u)) return;
  if (w.mask != ~0u) w.fault(-1, "executed by a partial warp (live lanes %08x)", w.live);
  constexpr int E = Format::per_register, span = 4 * E;  // k values that one register covers across t
  constexpr int na = 2 * K / span, nb = K / span, nd = HalfD ? 2 : 4;
  float a[16][K];
  Row b[K], d[16];
  const uint32_t *rd = i.r, *ra = rd + nd, *rb = ra + na, *rc = rb + nb;
  for (int k = 0; k < na; ++k) {  // a0: (g, lo)  a1: (g+8, lo)  a2: (g, hi)  a3: (g+8, hi)
    auto* reg = w.reg<uint32_t>(ra[k]);
    for (int l = 0; l < 32; ++l)
      for (int e = 0; e < E; ++e) a[l / 4 + k % 2 * 8][l % 4 * E + e + k / 2 * span] = Format::get(reg[l], e);
  }
  for (int k = 0; k < nb; ++k) {
    auto* reg = w.reg<uint32_t>(rb[k]);
    for (int l = 0; l < 32; ++l)
      for (int e = 0; e < E; ++e) b[l % 4 * E + e + k * span][l / 4] = Format::get(reg[l], e);
  }
  for (int k = 0; k < nd; ++k) {
    auto* reg = w.reg<uint32_t>(rc[k]);
    for (int l = 0; l < 32; ++l) {
      if (HalfD)
        for (int e = 0; e < 2; ++e) d[l / 4 + k * 8][l % 4 * 2 + e] = f16_to_float(uint16_t(reg[l] >> 16 * e));
      else
        d[l / 4 + k / 2 * 8][l % 4 * 2 + k % 2] = std::bit_cast<float>(reg[l]);
    }
  }
  for (int m = 0; m < 16; ++m) {
    Row sum = d[m];
    for (int k = 0; k < K; ++k) sum += a[m][k] * b[k];
    d[m] = sum;
  }
  for (int k = 0; k < nd; ++k) {
    auto* reg = w.reg<uint32_t>(rd[k]);
    for (int l = 0; l < 32; ++l) {
      if (HalfD)
        reg[l] = float_to_f16(d[l / 4 + k * 8][l % 4 * 2]) | uint32_t(float_to_f16(d[l / 4 + k * 8][l % 4 * 2 + 1])) << 16;
      else
        reg[l] = std::bit_cast<uint32_t>(d[l / 4 + k / 2 * 8][l % 4 * 2 + k % 2]);
    }
  }
  w.machine->profile.mma_flops += 2 * 16 * 8 * K;
}

void mma(Decoder& d) {
  d.need("sync"), d.need("aligned");
  const int k = d.take("m16n8k16") ? 16 : d.take("m16n8k8") ? 8 : d.take("m16n8k4") ? 4 : 0;
  if (!k) d.unsupported("shape");
  const auto& mods = d.statement.mods;  // the order says which operand is which
  if (mods.size() < 5 || mods[3] != "row" || mods[4] != "col") d.unsupported("layout other than .row.col");
  d.need("row"), d.need("col");
  const Type td = d.take_type(), ta = d.take_type(), tb = d.take_type(), tc = d.take_type();
  if (ta != tb || td != tc) d.unsupported("mixed types");
  const bool half = td == Type::f16;
  if (!half && td != Type::f32) d.unsupported("type of D");
  Handler h = nullptr;
  if (ta == Type::bf16 && !half) h = k == 16 ? mma_run<16, Bf16Format, false> : k == 8 ? mma_run<8, Bf16Format, false> : nullptr;
  if (ta == Type::f16)
    h = half ? (k == 16  ? mma_run<16, F16Format, true>
                : k == 8 ? mma_run<8, F16Format, true>
                         : nullptr)
             : (k == 16  ? mma_run<16, F16Format, false>
                : k == 8 ? mma_run<8, F16Format, false>
                         : nullptr);
  if (ta == Type::tf32 && !half) h = k == 8 ? mma_run<8, Tf32Format, false> : k == 4 ? mma_run<4, Tf32Format, false> : nullptr;
  if (!h) d.unsupported("types for this shape");
  const int span = ta == Type::tf32 ? 4 : 8, sizes[4] = {half ? 2 : 4, 2 * k / span, k / span, half ? 2 : 4};
  std::vector<uint32_t> r;
  for (size_t o = 0; o < 4; ++o) {
    const Operand& v = d.operand(o);
    const std::vector<Operand> parts = v.kind == Operand::Vector ? v.parts : std::vector<Operand>{v};
    if (int(parts.size()) != sizes[o]) d.unsupported("number of registers in operand " + std::to_string(o));
    for (const Operand& p : parts) r.push_back(o == 0 ? d.dest(p) : d.source(p, o == 3 && !half ? Type::f32 : Type::b32));
  }
  d.emit(h, r);
}

constexpr Family kFamilies[] = {
    {"ldmatrix", ldmatrix, "9.7.14 ldmatrix", ".m8n8 .x1 .x2 .x4, .trans, .b16"},
    {"stmatrix", stmatrix, "9.7.14 stmatrix", ".m8n8 .x1 .x2 .x4, .trans, .b16"},
    {"movmatrix", movmatrix, "9.7.14 movmatrix", ".m8n8.trans.b16"},
    {"mma", mma, "9.7.14 mma", "m16n8k16 and m16n8k8 bf16, f16 (D f32 or f16); m16n8k8 and m16n8k4 tf32; .row.col"},
};

}  // namespace

std::span<const Family> matrix_families() { return kFamilies; }

}  // namespace sim
