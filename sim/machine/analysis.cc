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

constexpr size_t kReach = 64;  // instructions between what belongs together

// Where a register's or symbol's value comes from: the start of a chain of moves and additions of constants.
struct Origin {
  const Operand* base;
  int64_t offset;
  bool operator==(const Origin& o) const {
    return base->kind == o.base->kind && base->index == o.base->index && base->name == o.base->name && offset == o.offset;
  }
};

// What instruction `at` sees in its address operand.
Origin origin(const Program& p, size_t at, const Operand& address) {
  Origin o{&address.parts[0], address.offset + address.parts[0].offset};
  for (size_t k = at, steps = 0; k-- > 0 && o.base->kind == Operand::Register && steps < 4 * kReach; ++steps) {
    const Statement* s = p.code[k].source;
    if (!s || s->operands.empty() || s->operands[0].kind != Operand::Register || s->operands[0].index != o.base->index) continue;
    const bool adds = s->opcode == "add" && s->operands.size() == 3 && s->operands[2].kind == Operand::Immediate;
    const bool moves = one_of(s->opcode, {"mov", "cvta"}) && s->operands.size() == 2;
    if (s->guard >= 0 || !(adds || moves) || s->operands[1].kind != Operand::Register) break;
    if (adds) o.offset += int64_t(s->operands[2].bits);
    o.base = &s->operands[1];
  }
  return o;
}

// The usual emulation of an atomic operation reads the old value by an ordinary load, then repeats atom.cas until nobody interfered: a
// stale or torn first value only costs another turn.
void mark_compare_swap_loads(Program& p) {
  auto addressed = [&](size_t k, const char* opcode) {
    const Statement* s = p.code[k].source;
    const bool fits = s && s->opcode == opcode && s->operands.size() > 1;
    return fits && s->operands[1].kind == Operand::Address && !s->operands[1].parts.empty() ? s : nullptr;
  };
  for (size_t j = 0; j < p.code.size(); ++j) {
    const Statement* swap = addressed(j, "atom");
    if (!swap || !has(*swap, "cas")) continue;
    const Origin target = origin(p, j, swap->operands[1]);
    for (size_t k = j > kReach ? j - kReach : 0; k < j; ++k)
      if (const Statement* load = addressed(k, "ld")) p.code[k].before_compare_swap |= origin(p, k, load->operands[1]) == target;
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
