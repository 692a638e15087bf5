// 9.7.12 call, ret in functions, brx.idx; 9.7.20 alloca, stacksave, stackrestore.
//
// Each thread has a stack of frames in its local memory.  A function's registers exist once per warp; when a lane
// enters a function that is already active in it, that lane's registers are saved and restored by the return.
#include "sim/machine/lanes.h"

namespace sim {

struct CallStack {
  struct Record {
    uint32_t pc;  // where the caller goes on
    const CallSite* site;
    const FunctionCode* callee;
    uint32_t top, caller_frame;
    bool saved;
  };
  struct Lane {
    uint32_t top = 0;  // first free byte of local memory
    std::vector<Record> records;
    std::vector<uint64_t> values;  // saved registers
  };
  Lane lanes[32];
};

namespace {

CallStack& stack_of(Warp& w) {
  if (!w.calls) {
    w.calls = std::make_shared<CallStack>();
    for (CallStack::Lane& l : w.calls->lanes) l.top = uint32_t(round_up(w.program->main->frame_bytes, 16));
  }
  return *w.calls;
}

uint8_t* local_bytes(Warp& w, int lane, uint32_t offset) { return w.local.data() + size_t(lane) * w.program->local_bytes + offset; }

uint32_t frame_of(Warp& w, const FunctionCode& f, int lane) { return f.frame == kNone ? 0 : uint32_t(w.reg<uint64_t>(f.frame)[lane]); }

void reserve(Warp& w, CallStack::Lane& l, int lane, uint64_t bytes) {
  if (l.top + bytes > w.program->local_bytes)
    w.fault(lane, "stack overflow: %lu bytes more than %u of %u in use", bytes, l.top, w.program->local_bytes);
  memset(local_bytes(w, lane, l.top), 0xff, bytes);  // poison
  l.top += uint32_t(bytes);
}

void save_registers(Warp& w, CallStack::Lane& l, const FunctionCode& f, int lane) {
  for (auto [offset, bytes] : f.registers)
    l.values.push_back(bytes == 8   ? w.reg<uint64_t>(offset)[lane]
                       : bytes == 4 ? w.reg<uint32_t>(offset)[lane]
                                    : w.pred(offset) >> lane & 1);
}
void restore_registers(Warp& w, CallStack::Lane& l, const FunctionCode& f, int lane) {
  const uint64_t* v = l.values.data() + (l.values.size() - f.registers.size());
  for (auto [offset, bytes] : f.registers) {
    const uint64_t value = *v++;
    if (bytes == 8)
      w.reg<uint64_t>(offset)[lane] = value;
    else if (bytes == 4)
      w.reg<uint32_t>(offset)[lane] = uint32_t(value);
    else
      w.pred(offset) = (w.pred(offset) & ~(1u << lane)) | uint32_t(value) << lane;
  }
  l.values.resize(l.values.size() - f.registers.size());
}

void copy_slots(Warp& w, int lane, const std::vector<FrameSlot>& from, uint32_t from_frame, const std::vector<FrameSlot>& to,
                uint32_t to_frame) {
  for (size_t k = 0; k < from.size(); ++k)
    memcpy(local_bytes(w, lane, to_frame + to[k].offset), local_bytes(w, lane, from_frame + from[k].offset),
           std::min(from[k].bytes, to[k].bytes));
}

// The function at an address; fails for the lane if there is none of this shape.
const FunctionCode& function_at(Warp& w, const CallSite& site, int lane) {
  if (site.callee) return *site.callee;
  const uint64_t address = w.reg<uint64_t>(site.target)[lane], number = (address - kCodeWindow) / 16 - 1;
  const auto& functions = w.program->functions;
  if (address <= kCodeWindow || address % 16 || number >= functions.size() || !functions[number])
    w.fault(lane, "indirect call of address 0x%lx, which is no function", address);
  const FunctionCode& f = *functions[number];
  if (f.params.size() != site.params.size() || f.returns.size() != site.returns.size())
    w.fault(lane, "indirect call of %s with %zu arguments and %zu results; it has %zu and %zu", f.function->name.c_str(),
            site.params.size(), site.returns.size(), f.params.size(), f.returns.size());
  return f;
}

void enter(Warp& w, const CallSite& site, const FunctionCode& f, int lane) {
  CallStack::Lane& l = stack_of(w).lanes[lane];
  if (l.records.size() > 4096) w.fault(lane, "stack overflow: more than 4096 calls deep");
  CallStack::Record r{w.pc + 1, &site, &f, l.top, frame_of(w, *site.caller, lane), false};
  for (const CallStack::Record& active : l.records) r.saved = r.saved || active.callee == &f;
  if (r.saved) save_registers(w, l, f, lane);
  const uint32_t frame = uint32_t(round_up(l.top, 16));
  reserve(w, l, lane, frame + f.frame_bytes - l.top);
  copy_slots(w, lane, site.params, r.caller_frame, f.params, frame);
  w.reg<uint64_t>(f.frame)[lane] = frame;
  l.records.push_back(r);
}

void call_run(Warp& w, const Instr& i) {
  const CallSite& site = *reinterpret_cast<const CallSite*>(i.flags);
  const FunctionCode* callee[32];
  for_lanes(w.mask, [&](int l) { callee[l] = &function_at(w, site, l); });
  for_lanes(w.mask, [&](int l) { enter(w, site, *callee[l], l); });
  for (uint32_t left = w.mask; left;) {
    const FunctionCode* f = callee[__builtin_ctz(left)];
    w.mask = 0;
    for_lanes(left, [&](int l) { w.mask |= uint32_t(callee[l] == f) << l; });
    left &= ~w.mask;
    w.branch(f->start);
  }
}

void return_run(Warp& w, const Instr&) {
  uint32_t pc[32];
  for_lanes(w.mask, [&](int lane) {
    CallStack::Lane& l = stack_of(w).lanes[lane];
    const CallStack::Record r = l.records.back();
    l.records.pop_back();
    copy_slots(w, lane, r.callee->returns, frame_of(w, *r.callee, lane), r.site->returns, r.caller_frame);
    if (r.saved) restore_registers(w, l, *r.callee, lane);
    l.top = r.top;
    pc[lane] = r.pc;
  });
  for (uint32_t left = w.mask; left;) {
    const uint32_t to = pc[__builtin_ctz(left)];
    w.mask = 0;
    for_lanes(left, [&](int l) { w.mask |= uint32_t(pc[l] == to) << l; });
    left &= ~w.mask;
    w.branch(to);
  }
}

void call(Decoder& d) { d.unsupported("internal: calls are lowered apart"); }

// ---- brx.idx: each lane goes to the label that its index names ----

void brx_run(Warp& w, const Instr& i) {
  const auto& targets = *reinterpret_cast<const std::vector<uint32_t>*>(i.flags);
  const auto* index = w.reg<uint32_t>(i.r[0]);
  for_lanes(w.mask, [&](int l) {
    if (index[l] >= targets.size()) w.fault(l, "brx.idx: index %u of %zu targets", index[l], targets.size());
  });
  for (uint32_t left = w.mask; left;) {
    const uint32_t to = targets[index[__builtin_ctz(left)]];
    w.mask = 0;
    for_lanes(left, [&](int l) { w.mask |= uint32_t(targets[index[l]] == to) << l; });
    left &= ~w.mask;
    w.branch(to);
  }
}
void brx(Decoder& d) {
  d.need("idx");
  d.take("uni");
  d.branch_table(1);
  d.emit(brx_run, {d.source(0, Type::u32)});
}

// ---- alloca, stacksave, stackrestore: local addresses of 32 or 64 bits ----

template <class L>
void alloca_run(Warp& w, const Instr& i) {
  const auto* size = w.reg<L>(i.r[1]);
  for_lanes(w.mask, [&](int lane) {
    CallStack::Lane& l = stack_of(w).lanes[lane];
    const uint64_t at = round_up(l.top, uint64_t(i.imm));
    if (uint64_t(size[lane]) > w.program->local_bytes) w.fault(lane, "alloca of %lu bytes", uint64_t(size[lane]));
    reserve(w, l, lane, at + size[lane] - l.top);
    w.reg<L>(i.r[0])[lane] = L(at);
  });
}
void alloca_(Decoder& d) {
  const Type t = d.take_type();
  d.instr.imm = d.count() > 2 ? d.constant(2) : 8;
  d.emit(is_wide(t) ? alloca_run<uint64_t> : alloca_run<uint32_t>, {d.dest(0), d.source(1, t)});
}
template <class L, bool Restore>
void stack_run(Warp& w, const Instr& i) {
  L* r = w.reg<L>(i.r[0]);
  for_lanes(w.mask, [&](int lane) {
    uint32_t& top = stack_of(w).lanes[lane].top;
    if (!Restore)
      r[lane] = top;
    else if (r[lane] > top)
      w.fault(lane, "stackrestore: 0x%lx is not on the stack", uint64_t(r[lane]));
    else
      top = uint32_t(r[lane]);
  });
}
void stacksave(Decoder& d) {
  const Type t = d.take_type();
  d.emit(is_wide(t) ? stack_run<uint64_t, false> : stack_run<uint32_t, false>, {d.dest(0)});
}
void stackrestore(Decoder& d) {
  const Type t = d.take_type();
  d.emit(is_wide(t) ? stack_run<uint64_t, true> : stack_run<uint32_t, true>, {d.source(0, t)});
}

constexpr Family kFamilies[] = {
    {"call", call, "9.7.12 call", "direct and indirect, recursion; vprintf, __assertfail, malloc, free"},
    {"brx", brx, "9.7.12 brx.idx", ".idx"},
    {"alloca", alloca_, "9.7.20 alloca", ".u32 .u64"},
    {"stacksave", stacksave, "9.7.20 stacksave", ".u32 .u64"},
    {"stackrestore", stackrestore, "9.7.20 stackrestore", ".u32 .u64"},
};

}  // namespace

Handler call_handler() { return call_run; }
Handler return_handler() { return return_run; }

std::span<const Family> call_families() { return kFamilies; }

}  // namespace sim
