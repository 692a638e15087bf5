// What the machine wants to know of a kernel before it runs: the pipe of every instruction, whether its blocks are independent of each
// other, and which plain loads begin a compare-and-swap loop.
#include <algorithm>

#include "sim/machine/profile.h"
#include "sim/ptx/program.h"

namespace sim {

namespace {

using ptx::Operand;
using ptx::Statement;

bool has(const Statement& s, std::string_view mod) { return std::find(s.mods.begin(), s.mods.end(), mod) != s.mods.end(); }
template <class... M>
bool has_any(const Statement& s, M... mods) {
  return (has(s, mods) || ...);
}
bool is_shared(const Statement& s) { return has_any(s, "shared", "shared::cta", "shared::cluster"); }
bool one_of(std::string_view name, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

Pipe memory_pipe(const Statement& s) {
  if (is_shared(s)) return Pipe::shared;
  return has_any(s, "local", "param", "param::entry", "param::func") ? Pipe::local : Pipe::global;
}

Pipe pipe_of(const Statement& s) {
  const std::string_view o = s.opcode;
  if (o == "mma" || o == "wgmma") return has(s, "mma_async") || o == "mma" ? Pipe::tensor : Pipe::sync;
  if (o == "ldmatrix" || o == "stmatrix") return Pipe::shared;
  if (o == "cp") {
    if (has_any(s, "commit_group", "wait_group", "wait_all", "mbarrier")) return Pipe::sync;
    return has(s, "bulk") ? Pipe::bulk : Pipe::global;
  }
  if (one_of(o, {"ld", "ldu", "st", "atom", "red"})) return memory_pipe(s);
  if (one_of(o, {"bar", "barrier", "mbarrier", "fence", "membar", "griddepcontrol"})) return Pipe::sync;
  if (one_of(o, {"shfl", "vote", "match", "redux", "elect", "activemask", "movmatrix"})) return Pipe::exchange;
  if (one_of(o, {"bra", "ret", "exit", "call", "trap", "nanosleep", "setmaxnreg", "pmevent", "brkpt", "prefetch", "prefetchu"}))
    return Pipe::control;
  if (has(s, "f64") && !has(s, "f32")) return Pipe::fp64;
  if (one_of(o, {"ex2", "lg2", "sin", "cos", "tanh", "rsqrt"})) return Pipe::mufu;
  if (one_of(o, {"rcp", "sqrt", "div"}) && has_any(s, "f32", "f16", "bf16")) return Pipe::mufu;
  if (one_of(o, {"fma", "mad", "mul"})) return Pipe::fma;
  if (one_of(o, {"add", "sub"}) && has_any(s, "f32", "f16", "f16x2", "bf16", "bf16x2")) return Pipe::fma;
  return Pipe::alu;
}

// Blocks may talk to each other only by strong accesses to global memory, fences wider than a block, and system calls.
bool talks_to_other_blocks(const Statement& s) {
  const std::string_view o = s.opcode;
  const bool global = !is_shared(s) && !has_any(s, "local", "param", "param::entry", "param::func", "const");
  if (o == "atom" || o == "red") return global;
  if (o == "ld" || o == "st") return global && has_any(s, "relaxed", "acquire", "release", "volatile", "mmio");
  if (o == "membar") return !has(s, "cta");
  if (o == "fence") return !has_any(s, "proxy", "cta", "cluster", "mbarrier_init");
  if (o == "cp") return has(s, "reduce");
  // printf: its lines stay in order
  return o == "call" && std::any_of(s.operands.begin(), s.operands.end(), [](const Operand& a) { return a.name == "vprintf"; });
}

// Two addresses that are surely the same: one register (or symbol) and one offset.
bool same_address(const Operand& a, const Operand& b) {
  if (a.kind != Operand::Address || b.kind != Operand::Address || a.parts.empty() || b.parts.empty() || a.offset != b.offset) return false;
  const Operand &x = a.parts[0], &y = b.parts[0];
  return x.kind == y.kind && x.index == y.index && x.name == y.name && x.offset == y.offset;
}

// The usual emulation of an atomic operation reads the old value by an ordinary load, then repeats atom.cas until nobody interfered: a
// stale or torn first value only costs another turn.
void mark_compare_swap_loads(Program& p) {
  constexpr size_t kReach = 64;
  for (size_t k = 0; k < p.code.size(); ++k) {
    const Statement* load = p.code[k].source;
    if (!load || load->opcode != "ld" || load->operands.size() < 2) continue;
    for (size_t j = k + 1; j < std::min(p.code.size(), k + kReach); ++j) {
      const Statement* s = p.code[j].source;
      if (s && s->opcode == "atom" && has(*s, "cas") && s->operands.size() > 1 && same_address(load->operands[1], s->operands[1]))
        p.code[k].before_compare_swap = true;
    }
  }
}

}  // namespace

void analyse(Program& p) {
  p.independent_blocks = true;
  p.uses_cp_async = false;
  for (Instr& i : p.code) {
    i.pipe = uint8_t(i.source ? pipe_of(*i.source) : Pipe::control);
    if (!i.source) continue;
    if (talks_to_other_blocks(*i.source)) p.independent_blocks = false;
    if (i.source->opcode == "st" && has_any(*i.source, "b8", "u8", "s8")) p.stores_bytes = true;
    if (i.source->opcode == "cp" && !has(*i.source, "bulk")) p.uses_cp_async = true;
  }
  mark_compare_swap_loads(p);
}

}  // namespace sim
