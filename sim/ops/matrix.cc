// 9.7.14 Warp-Level Matrix Instructions: ldmatrix, stmatrix, movmatrix.
#include "sim/ops/access.h"

namespace sim {

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
  ++w.machine->profile.matrix.requests;
  w.machine->profile.matrix.conflicts += uint64_t(worst - 1);
}

template <bool Store>
void move_matrices(Warp& w, const Instr& i) {  // r: load: registers, address; store: address, registers
  if (!w.converged(~0u)) return;
  if (w.mask != ~0u) w.fault(-1, "executed by a partial warp (live lanes %08x)", w.live);
  const bool transpose = i.flags;
  const uint32_t* r = Store ? i.r + 1 : i.r;
  uint64_t address[32];
  lane_addresses(w, i, Store ? i.r[0] : i.r[i.count], address);
  // Row k of matrix m is at the address of lane 8 m + k; within a matrix a lane holds two elements of row lane / 4, or of a column.
  uint8_t stored[32][16];
  const auto element = [transpose](int m, int lane, int e, auto& rows) {
    const int row = transpose ? lane % 4 * 2 + e : lane / 4, column = transpose ? lane / 4 : lane % 4 * 2 + e;
    return &rows[m * 8 + row][column * 2];
  };
  if (Store) {
    for (int m = 0; m < i.count; ++m)
      for (int lane = 0; lane < 32; ++lane)
        for (int e = 0; e < 2; ++e) {
          const auto half = uint16_t(w.reg<uint32_t>(r[m])[lane] >> 16 * e);
          memcpy(element(m, lane, e, stored), &half, 2);
        }
    w.stored = stored[0];
  }
  uint8_t* rows[32];
  for (int m = 0; m < i.count; ++m) {
    uint32_t offset[8];
    for (int k = 0; k < 8; ++k) {
      const int owner = m * 8 + k;
      uint64_t a = address[owner];
      if (Space(i.space) == Space::generic) {
        if ((a & 0xf000'0000'0000'0000) != kSharedWindow) w.fault(owner, "address 0x%lx is not in shared memory", a);
        a -= kSharedWindow;
      }
      const SharedPlace p = shared_place(w, owner, a, 16, 16);
      touch_shared(w, owner, p, 16, Store ? Write : Read);
      rows[owner] = p.data();
      offset[k] = p.offset;
      if (Store) memcpy(rows[owner], stored[owner], 16);
    }
    if (w.machine->options.profile) count_conflicts(w, offset);
  }
  w.stored = nullptr;
  if (!Store)
    for (int m = 0; m < i.count; ++m) {
      auto* reg = w.reg<uint32_t>(r[m]);
      for (int lane = 0; lane < 32; ++lane) {
        uint16_t h[2];
        if (transpose)
          for (int e = 0; e < 2; ++e) memcpy(&h[e], element(m, lane, e, rows), 2);
        else
          memcpy(h, element(m, lane, 0, rows), 4);
        reg[lane] = h[0] | uint32_t(h[1]) << 16;
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

constexpr Family kFamilies[] = {
    {"ldmatrix", ldmatrix, "9.7.14 ldmatrix", ".m8n8 .x1 .x2 .x4, .trans, .b16"},
    {"stmatrix", stmatrix, "9.7.14 stmatrix", ".m8n8 .x1 .x2 .x4, .trans, .b16"},
    {"movmatrix", movmatrix, "9.7.14 movmatrix", ".m8n8.trans.b16"},
};

}  // namespace

std::span<const Family> matrix_families() { return kFamilies; }

}  // namespace sim
