// Blocks and clusters: their memory and threads at the start, what must be true at the end.
#include <algorithm>

#include "sim/machine/machine.h"
#include "sim/machine/tensor.h"

namespace sim {

namespace {

// Where dynamic shared memory begins: after what the system reserves and the static variables, aligned as declared, as on the device.
// Here the static variables have gaps between them, so with any the place is the next one that is as well aligned as the device's.
// In strict mode it is aligned as declared and no better, so that code that needs more is found out.
uint32_t dynamic_base(const Machine& m, const Program& p) {
  const uint32_t align = p.dynamic_align, after = uint32_t(p.shared_end + 64);
  if (m.options.strict) return uint32_t(round_up(after, 2 * align) + align);
  bool reserved = m.launch.reserved_shared != 0;
  for (const SharedObject& o : p.shared) reserved = reserved || o.begin < kSharedBase;
  const uint32_t device = uint32_t(round_up((reserved ? kSharedBase : 0) + p.static_shared, align));
  if (!p.static_shared) return device;
  const uint32_t period = std::max(1024u, align);
  return device + uint32_t(round_up(std::max(after, device) - device, period));
}

void prepare_memory(Machine& m, Block& b) {
  const Program& p = *m.launch.program;
  b.dynamic_base = dynamic_base(m, p);
  b.dynamic_bytes = m.launch.dynamic_bytes;
  b.objects = p.shared;
  if (b.dynamic_bytes) b.objects.push_back({"dynamic shared memory", b.dynamic_base, b.dynamic_base + b.dynamic_bytes});
  uint32_t end = 0;
  for (const SharedObject& o : b.objects) end = std::max(end, o.end);
  b.shared.assign(round_up(end, 16) + 16, 0xff);  // poison: NaN
  const size_t size = b.shared.size();
  b.generic_writes.assign(p.uses_async_proxy ? size / 16 : 0, 0);
  b.unwaited_copies.assign(p.uses_cp_async ? size / 4 : 0, 0);
  b.initialised.assign(m.options.init ? size : 0, 0);
}

void start_block(Machine& m, Block& b, uint32_t first_id) {
  const Program& p = *m.launch.program;
  const uint32_t threads = uint32_t(m.launch.block.count()), warps = (threads + 31) / 32;
  b.live = threads;
  prepare_memory(m, b);
  const size_t file = round_up(p.image.size(), 64);
  b.registers.resize(file * warps + 64);
  uint8_t* base = b.registers.data();
  base += round_up(reinterpret_cast<uintptr_t>(base), 64) - reinterpret_cast<uintptr_t>(base);
  for (uint32_t k = 0; k < warps; ++k) {
    Warp& w = b.warps.emplace_back();
    w.machine = &m;
    w.block = &b;
    w.program = &p;
    w.index = k;
    w.first_id = first_id + k * 32;
    w.regs = base + k * file;
    const uint32_t lanes = std::min(32u, threads - k * 32);
    w.present = w.live = lanes == 32 ? ~0u : (1u << lanes) - 1;
    w.fragments.push_back({0, w.live, Fragment::Ready, 0});
    memcpy(w.regs, p.image.data(), p.image.size());
    w.local.assign(size_t(p.local_bytes) * 32, 0xff);
    for (auto [special, slot] : p.specials)
      for (uint32_t l = 0; l < 32; ++l) {
        if (special == Special::dynamic_smem_base64)
          w.reg<uint64_t>(slot)[l] = b.dynamic_base;
        else
          w.reg<uint32_t>(slot)[l] = special_value(special, w, l);
      }
  }
}

// A block whose memory is used again: only its buffers are kept.
std::unique_ptr<Block> fresh_block(Machine& m) {
  auto b = std::make_unique<Block>();
  if (m.spare.empty()) return b;
  Block& old = *m.spare.back();
  b->shared.swap(old.shared);
  b->registers.swap(old.registers);
  m.spare.pop_back();
  return b;
}

void check_wgmma_counts(const Block& b) {
  for (size_t k = 0; k < b.warps.size(); ++k)
    if (b.warps[k].wgmma_count != b.warps[k & ~size_t(3)].wgmma_count)
      fail("the warps of a warpgroup issued different numbers of wgmma\n  in %s, block (%u,%u,%u), warps %zu and %zu",
           readable(b.warps[k].program->function->name).c_str(), b.index.x, b.index.y, b.index.z, k & ~size_t(3), k);
}

}  // namespace

void start_cluster(Machine& m, uint64_t number) {
  const Launch& l = m.launch;
  const uint32_t nx = l.grid.x / l.cluster.x, ny = l.grid.y / l.cluster.y, blocks = uint32_t(l.cluster.count());
  auto c = std::make_unique<Cluster>();
  c->number = number;
  c->serial = m.first_serial + uint32_t(number) + 1;
  c->live = blocks * uint32_t(l.block.count());
  for (uint32_t r = 0; r < blocks; ++r) {
    auto b = fresh_block(m);
    b->machine = &m;
    b->cluster = c.get();
    b->rank = r;
    b->index = {uint32_t(number % nx) * l.cluster.x + r % l.cluster.x,
                uint32_t(number / nx % ny) * l.cluster.y + r / l.cluster.x % l.cluster.y,
                uint32_t(number / nx / ny) * l.cluster.z + r / (l.cluster.x * l.cluster.y)};
    start_block(m, *b, r * uint32_t(round_up(l.block.count(), 32)));
    c->blocks.push_back(std::move(b));
  }
  uint64_t n = number << 16;
  for (auto& b : c->blocks)
    for (Warp& w : b->warps) {
      ++n;
      w.priority = m.options.seed == 0 ? ~n : m.options.seed == 1 ? 1ull << 62 | n : m.random();  // above Machine::lowest_priority
    }
  if (m.options.race) race::begin_cluster(m, *c);
  m.clusters.push_back(std::move(c));
}

void finish_cluster(Machine& m, Cluster& c) {
  for (const AsyncOp& o : m.engine)
    if (o.cluster == &c) {
      o.issuer->pc = o.pc;
      o.issuer->fault_lane = o.lane;
      throw Error("the block ends while this copy, which nobody waited for, is still in flight" + context(*o.issuer));
    }
  for (auto& b : c.blocks) {
    check_wgmma_counts(*b);
    check_mbarriers_at_exit(*b);
  }
  for (auto& b : c.blocks) m.spare.push_back(std::move(b));
  while (m.spare.size() > 16) m.spare.pop_back();
}

}  // namespace sim
