// 9.7.9 st.async, 9.7.13 red.async: stores and reductions into a block's shared memory that signal an mbarrier there.
#include "sim/machine/mbarrier.h"
#include "sim/ops/access.h"
#include "sim/ops/rmw.h"

namespace sim {
namespace {

constexpr uint8_t kStore = 255;  // Instr::type: no reduction

// r: address, mbarrier, elements.  flags: bytes of an element; target: elements are signed; count: elements.
void remote_run(Warp& w, const Instr& i) {
  const uint32_t size = uint32_t(i.flags), bytes = size * i.count;
  uint64_t address[32];
  lane_addresses(w, i, i.r[0], address);
  for_lanes(w.mask, [&](int l) {
    const SharedPlace to = shared_place(w, l, address[l], bytes, bytes), bar = shared_place(w, l, w.reg<uint32_t>(i.r[1])[l], 8, 8);
    if (to.block != bar.block) w.fault(l, "the mbarrier and the destination are in different blocks");
    mbarrier_check(bar);
    uint64_t value[4] = {};
    for (int k = 0; k < i.count; ++k) value[k] = size == 8 ? w.reg<uint64_t>(i.r[2 + k])[l] : w.reg<uint32_t>(i.r[2 + k])[l];
    Machine& m = *w.machine;
    const bool race = m.options.race;
    std::shared_ptr<race::Agent> agent = race ? std::make_shared<race::Agent>(race::begin_agent(w, l, i)) : nullptr;
    const Instr* instr = &i;
    m.defer(
        w, l,
        [=, &m] {
          touch_shared(agent.get(), to, bytes, instr->type == kStore ? int(Write) : Write | Atomic | Update);
          for (int k = 0; k < instr->count; ++k) {
            uint8_t* p = to.data() + size_t(k) * size;
            if (instr->type == kStore) {
              memcpy(p, &value[k], size);
            } else if (size == 8) {
              uint64_t old;
              memcpy(&old, p, 8);
              old = apply<uint64_t>(Rmw(instr->type), old, value[k], 0);
              memcpy(p, &old, 8);
            } else {
              uint32_t old;
              memcpy(&old, p, 4);
              const uint32_t v = uint32_t(value[k]);
              old = instr->target ? uint32_t(apply<int32_t>(Rmw(instr->type), int32_t(old), int32_t(v), 0))
                                  : apply<uint32_t>(Rmw(instr->type), old, v, 0);
              memcpy(p, &old, 4);
            }
          }
          if (agent) race::finish_agent(*agent, bar.block->mbarriers[bar.offset].arriving);
          mbarrier_complete_tx(m, bar, bytes);
        },
        [&] {
          if (i.type == kStore) memset(to.data(), 0xff, bytes);
        });
  });
}

void remote(Decoder& d, bool store) {
  d.ignore({"weak", "relaxed", "cluster"});
  d.take_space(Space::shared_cluster);
  d.need("mbarrier::complete_tx::bytes");
  const int n = vector_size(d);
  d.instr.type = store ? kStore : uint8_t(take_rmw(d));
  const Type t = d.take_type();
  if (ptx::bits(t) != 32 && ptx::bits(t) != 64) d.unsupported("type");
  d.instr.count = uint8_t(n);
  d.instr.flags = uint64_t(ptx::bits(t)) / 8;
  d.instr.target = t == Type::s32;
  const uint32_t bar = d.address(2, Space::shared);
  if (d.instr.imm) d.unsupported("mbarrier address with an offset");
  if (d.instr.wide) d.unsupported("64-bit mbarrier address");
  std::vector<uint32_t> r{0, bar};
  for (const Operand& o : elements(d, 1, n)) r.push_back(d.source(o, t));
  r[0] = d.address(0, Space::shared);
  d.emit(remote_run, r);
}

}  // namespace

void decode_store_async(Decoder& d) { remote(d, true); }
void decode_reduce_async(Decoder& d) { remote(d, false); }

}  // namespace sim
