// 9.7.15 Asynchronous Warpgroup Level Matrix Instructions.
//
// Each warp of the warpgroup computes its 16 rows.  An operation reads its operands in shared memory
// at some moment between issue and wait.  Accumulator registers hold poison until wait_group.
#include "sim/cuda/tensormap.h"
#include "sim/machine/lanes.h"
#include "sim/machine/tensor.h"
#include "sim/ops/formats.h"
#include "sim/ops/mma_count.h"

namespace sim {
namespace {

constexpr uint32_t kPoison = 0xffffdead;  // a NaN

struct Shape {  // decoded form of one instruction, kept in Instr::flags
  int16_t n;
  int8_t k;   // 8 (tf32), 16 (16-bit types) or 32 (8-bit types)
  Type type;  // of A
  Type type_b;
  bool half_d : 1, integer : 1, satfinite : 1, a_in_registers : 1, transpose_a : 1, transpose_b : 1;
  int8_t scale_a, scale_b;
  int registers() const { return half_d ? n / 4 : n / 2; }
  int element_bytes() const { return 32 / k; }
};
constexpr uint32_t kDepth = 32;  // row length of operands in k
static_assert(sizeof(Shape) == sizeof(Instr::flags));
Shape shape_of(const Instr& i) { return std::bit_cast<Shape>(i.flags); }

// 9.7.15 Shared Memory Matrix Layout, Matrix Descriptor Format.
struct Descriptor {
  uint32_t start, leading, stride, swizzle_bytes;
  explicit Descriptor(uint64_t d)
      : start(uint32_t(d & 0x3fff) << 4), leading(uint32_t(d >> 16 & 0x3fff) << 4), stride(uint32_t(d >> 32 & 0x3fff) << 4) {
    constexpr uint32_t modes[] = {0, 128, 64, 32};
    swizzle_bytes = modes[d >> 62];
    if (d >> 49 & 7) fail("wgmma: matrix descriptor %016lx: base offset must be 0 (tiles aligned to 1024 bytes)", d);
    if (d & 0x3ff0'c000'c000'c000 & ~(7ull << 49)) fail("wgmma: matrix descriptor %016lx: reserved bits are set", d);
  }
  // Address of the 16 bytes that hold element (mn, k); k or mn must be the first of its chunk.
  uint32_t chunk(uint32_t mn, uint32_t k, bool mn_major, uint32_t element) const {
    const uint32_t per_chunk = 16 / element, row = swizzle_bytes;
    uint32_t a;
    if (!mn_major) {
      if (!row)
        a = mn % 8 * 16 + mn / 8 * stride + k / per_chunk * leading;
      else
        a = mn % 8 * row + mn / 8 * stride + k * element;
    } else {
      const uint32_t mn_per_row = row / element;
      if (!row)
        a = k % 8 * 16 + k / 8 * leading + mn / per_chunk * stride;
      else
        a = k % 8 * row + k / 8 * stride + mn / mn_per_row * leading + mn % mn_per_row * element;
    }
    return swizzle(start + a, swizzle_bytes);
  }
};

float element_value(const uint8_t* p, Type t) {
  uint32_t b = 0;
  if (t == Type::e4m3 || t == Type::e5m2) return fp8_to_float(*p, t);
  if (t == Type::s8) return float(int8_t(*p));
  if (t == Type::u8) return float(*p);
  if (t == Type::tf32) {
    memcpy(&b, p, 4);
    return tf32_to_float(b);
  }
  memcpy(&b, p, 2);
  return t == Type::bf16 ? bf16_to_float(uint16_t(b)) : f16_to_float(uint16_t(b));
}

// Reads `count` rows (or columns) of k values: out[mn * kDepth + k].
void read_operand(Warp& w, const Shape& s, Type type, uint64_t descriptor, bool mn_major, uint32_t first, uint32_t count, float* out,
                  const char* what) {
  const Descriptor d(descriptor);
  const uint32_t element = uint32_t(s.element_bytes()), per_chunk = 16 / element;
  uint32_t reader = 0;
  auto fetch = [&](uint32_t mn, uint32_t k) {
    const int lane = int(reader++ % 32);
    const SharedPlace p = shared_place(w, lane, d.chunk(mn, k, mn_major, element), 16, 16);
    check_proxy(p, 16, what);
    touch_shared(w, lane, p, 16, Read | AsyncProxy);
    return p.data();
  };
  if (!mn_major) {
    for (uint32_t m = 0; m < count; ++m)
      for (uint32_t k = 0; k < uint32_t(s.k); k += per_chunk) {
        const uint8_t* p = fetch(first + m, k);
        for (uint32_t e = 0; e < per_chunk; ++e) out[m * kDepth + k + e] = element_value(p + e * element, type);
      }
  } else {
    for (uint32_t k = 0; k < uint32_t(s.k); ++k)
      for (uint32_t m = 0; m < count; m += per_chunk) {
        const uint8_t* p = fetch(first + m, k);
        for (uint32_t e = 0; e < per_chunk; ++e) out[(m + e) * kDepth + k] = element_value(p + e * element, type);
      }
  }
}

// Accumulators as a dense 16 x n matrix.  They are kept in double and rounded when they are delivered, so that sums are at
// least as exact as the device's, whose order and width the manual leaves open.
double& dense(std::vector<double>& c, const Shape& s, int lane, int i) {  // i-th value of a lane's fragment
  return c[size_t(lane / 4 + i / 2 % 2 * 8) * size_t(s.n) + size_t(i / 4 * 8 + lane % 4 * 2 + i % 2)];
}

void capture(Warp& w, const Instr& i, std::vector<double>& c) {
  const Shape s = shape_of(i);
  c.assign(size_t(16 * s.n), 0);
  for (int k = 0; k < s.registers(); ++k) {
    auto* reg = w.reg<uint32_t>(i.r[k]);
    for (int l = 0; l < 32; ++l) {
      if (s.half_d)
        for (int e = 0; e < 2; ++e) dense(c, s, l, k * 2 + e) = f16_to_float(uint16_t(reg[l] >> 16 * e));
      else
        dense(c, s, l, k) = s.integer ? double(int32_t(reg[l])) : double(std::bit_cast<float>(reg[l]));
      reg[l] = kPoison;
    }
  }
}
void deliver(Warp& w, const Instr& i, std::vector<double>& c) {
  const Shape s = shape_of(i);
  for (int k = 0; k < s.registers(); ++k) {
    auto* reg = w.reg<uint32_t>(i.r[k]);
    for (int l = 0; l < 32; ++l) {
      if (reg[l] != kPoison) w.fault(l, "accumulator register %d was modified while wgmma was in flight", k);
      if (s.half_d)
        reg[l] = double_to_f16(dense(c, s, l, k * 2)) | uint32_t(double_to_f16(dense(c, s, l, k * 2 + 1))) << 16;
      else if (s.integer)
        reg[l] = uint32_t(int32_t(dense(c, s, l, k)));
      else
        reg[l] = Traits<float>::put(float(dense(c, s, l, k)));
    }
  }
}

void execute(Warp& w, Wgmma& op) {
  if (std::exchange(op.done, true)) return;
  const Shape s = shape_of(*op.instr);
  static thread_local float a[16 * kDepth], b[256 * kDepth], bt[kDepth][256];
  if (s.a_in_registers) {
    const int per = 4 / s.element_bytes(), span = 4 * per;
    for (int r = 0; r < 4; ++r) {
      auto* reg = w.reg<uint32_t>(op.instr->r[s.registers() + r]);
      for (int l = 0; l < 32; ++l) {
        const uint32_t v = op.a[size_t(r * 32 + l)];
        if (reg[l] != v) w.fault(l, "A register %d was modified while wgmma was in flight", r);
        uint8_t bytes[4];
        memcpy(bytes, &v, 4);
        for (int e = 0; e < per; ++e)
          a[size_t(l / 4 + r % 2 * 8) * kDepth + size_t(l % 4 * per + e + r / 2 * span)] =
              element_value(bytes + e * s.element_bytes(), s.type);
      }
    }
  } else {
    read_operand(w, s, s.type, op.desc_a, s.transpose_a, w.index % 4 * 16, 16, a, "wgmma A");
  }
  read_operand(w, s, s.type_b, op.desc_b, s.transpose_b, 0, uint32_t(s.n), b, "wgmma B");
  for (int n = 0; n < s.n; ++n)
    for (int k = 0; k < s.k; ++k) bt[k][n] = b[size_t(n) * kDepth + size_t(k)] * float(s.scale_b);
  std::vector<double>& c = w.wgmma_accumulators.at(op.instr->r[0]);
  for (int m = 0; m < 16; ++m) {
    double* row = &c[size_t(m * s.n)];
    if (!op.accumulate) std::fill_n(row, s.n, 0.0);
    for (int k = 0; k < s.k; ++k) {
      const double x = double(a[size_t(m) * kDepth + size_t(k)]) * s.scale_a;
      for (int n = 0; n < s.n; ++n) row[n] += x * double(bt[k][n]);
    }
    if (s.integer)
      for (int n = 0; n < s.n; ++n) {  // exact in double; clamped or modulo 2^32
        const int64_t v = int64_t(row[n]);
        row[n] = int32_t(s.satfinite ? std::clamp<int64_t>(v, INT32_MIN, INT32_MAX) : v);
      }
  }
  count_products(w, 16, s.n, s.k, [&](int m, int k) { return a[m * kDepth + k]; }, [&](int k, int n) { return bt[k][n]; });
}

// Runs operations in issue order up to group `last`; delivers accumulators that nothing later uses.
void finish_groups(Warp& w, uint32_t last) {
  for (Wgmma& op : w.wgmma)
    if (op.group <= last) execute(w, op);
  for (size_t k = 0; k < w.wgmma.size() && w.wgmma[k].group <= last; ++k) {
    const uint32_t d = w.wgmma[k].instr->r[0];
    bool later = false;
    for (size_t j = k + 1; j < w.wgmma.size(); ++j) later = later || w.wgmma[j].instr->r[0] == d;
    if (later) continue;
    deliver(w, *w.wgmma[k].instr, w.wgmma_accumulators.at(d));
    w.wgmma_accumulators.erase(d);
  }
  std::erase_if(w.wgmma, [&](const Wgmma& op) { return op.group <= last; });
}

uint64_t uniform_descriptor(Warp& w, uint32_t slot, const char* what) {
  auto* d = w.reg<uint64_t>(slot);
  for (int l = 1; l < 32; ++l)
    if (d[l] != d[0]) w.fault(l, "wgmma: descriptor %s differs between the lanes of a warp", what);
  return d[0];
}

// r: D registers, A descriptor or 4 registers, B descriptor, scale-d predicate
void mma_async_run(Warp& w, const Instr& i) {
  if (!w.converged(~0u)) return;
  if (w.mask != ~0u || w.block->warps.size() % 4) w.fault(-1, "wgmma needs whole warpgroups of 128 threads");
  const Shape s = shape_of(i);
  if (!w.wgmma_fenced) w.fault(-1, "wgmma.mma_async without wgmma.fence after its registers were last usable");
  const uint32_t* r = i.r + s.registers();
  Wgmma op{&i, w.wgmma_group, 0, 0, false, false, {}};
  if (s.a_in_registers) {
    for (int k = 0; k < 4; ++k) op.a.insert(op.a.end(), w.reg<uint32_t>(r[k]), w.reg<uint32_t>(r[k]) + 32);
    r += 4;
  } else {
    op.desc_a = uniform_descriptor(w, *r++, "A");
  }
  op.desc_b = uniform_descriptor(w, *r++, "B");
  const uint32_t scale = w.pred(*r);
  if (scale && scale != ~0u) w.fault(-1, "wgmma: scale-d differs between the lanes of a warp");
  op.accumulate = scale;
  auto [c, fresh] = w.wgmma_accumulators.try_emplace(i.r[0]);
  if (fresh) {
    capture(w, i, c->second);
  } else {
    for (int k = 0; k < s.registers(); ++k)
      for (int l = 0; l < 32; ++l)
        if (w.reg<uint32_t>(i.r[k])[l] != kPoison) w.fault(l, "accumulator register %d was modified while wgmma was in flight", k);
  }
  w.wgmma.push_back(std::move(op));
  ++w.wgmma_count;
  if (w.machine->lands_early())
    for (Wgmma& pending : w.wgmma) execute(w, pending);
}

void fence_run(Warp& w, const Instr&) {
  if (w.converged(~0u)) w.wgmma_fenced = true;
}
void commit_run(Warp& w, const Instr&) {
  if (w.converged(~0u)) ++w.wgmma_group;
}
void wait_run(Warp& w, const Instr& i) {
  if (!w.converged(~0u)) return;
  if (w.wgmma_group > uint32_t(i.imm)) finish_groups(w, w.wgmma_group - 1 - uint32_t(i.imm));
  w.wgmma_fenced = false;
}

void wgmma(Decoder& d) {
  d.uses_async_proxy();
  if (d.take("fence")) {
    d.need("sync"), d.need("aligned");
    return d.emit(fence_run, {});
  }
  if (d.take("commit_group")) {
    d.need("sync"), d.need("aligned");
    return d.emit(commit_run, {});
  }
  if (d.take("wait_group")) {
    d.need("sync"), d.need("aligned");
    d.instr.imm = d.constant(0);
    return d.emit(wait_run, {});
  }
  d.need("mma_async"), d.need("sync"), d.need("aligned");
  Shape s{};
  for (int n = 8; n <= 256 && !s.n; n += 8)
    for (int k : {8, 16, 32})
      if (d.take("m64n" + std::to_string(n) + "k" + std::to_string(k))) s.n = int16_t(n), s.k = int8_t(k);
  if (!s.n) d.unsupported("shape");
  s.satfinite = d.take("satfinite");
  const Type td = d.take_type(), ta = d.take_type(), tb = d.take_type();
  s.type = ta, s.type_b = tb;
  s.half_d = td == Type::f16;
  s.integer = td == Type::s32;
  auto is_byte = [](Type t) { return t == Type::s8 || t == Type::u8; };
  auto is_fp8 = [](Type t) { return t == Type::e4m3 || t == Type::e5m2; };
  bool ok = false;
  if (s.k == 32)
    ok = s.integer ? is_byte(ta) && is_byte(tb) : is_fp8(ta) && is_fp8(tb);
  else if (ta == tb)
    ok = s.k == 16 ? ta == Type::f16 || (ta == Type::bf16 && !s.half_d) : ta == Type::tf32 && !s.half_d;
  if (!ok || (!s.integer && td != Type::f32 && !s.half_d) || (s.integer && s.k != 32)) d.unsupported("types for this shape");
  const Operand &dd = d.operand(0), &aa = d.operand(1);
  if (dd.kind != Operand::Vector || int(dd.parts.size()) != s.registers()) d.unsupported("number of accumulator registers");
  s.a_in_registers = aa.kind == Operand::Vector;
  std::vector<uint32_t> r;
  for (const Operand& o : dd.parts) r.push_back(d.source(o, s.half_d ? Type::b32 : Type::f32));
  if (s.a_in_registers) {
    if (aa.parts.size() != 4) d.unsupported("number of A registers");
    for (const Operand& o : aa.parts) r.push_back(d.source(o, Type::b32));
  } else {
    r.push_back(d.source(aa, Type::b64));
  }
  r.push_back(d.source(2, Type::b64));
  r.push_back(d.source(3, Type::pred));
  auto sign = [&](size_t at) {
    const int64_t v = d.constant(at);
    if (v != 1 && v != -1) d.unsupported("imm-scale");
    return int8_t(v);
  };
  s.scale_a = s.scale_b = 1;
  if (!s.integer) s.scale_a = sign(4), s.scale_b = sign(5);
  if (s.k == 16) {
    if (!s.a_in_registers) s.transpose_a = d.constant(6) != 0;
    s.transpose_b = d.constant(s.a_in_registers ? 6 : 7) != 0;
    if (d.count() != (s.a_in_registers ? 7u : 8u)) d.unsupported("number of operands");
  }
  d.instr.flags = std::bit_cast<uint64_t>(s);
  d.emit(mma_async_run, r);
}

constexpr Family kFamilies[] = {
    {"wgmma", wgmma, "9.7.15 wgmma",
     ".mma_async m64nNk16 bf16, f16 (D f32 or f16), m64nNk8 tf32, m64nNk32 e4m3, e5m2, s8, u8, every N; A from shared memory or registers; "
     "both transpositions; "
     "no, 32, 64 and 128-byte swizzle; .fence .commit_group .wait_group"},
};

}  // namespace

std::span<const Family> wgmma_families() { return kFamilies; }

}  // namespace sim
