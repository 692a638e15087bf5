// Messages: where a warp is, and what everybody waits for when nobody can go on.
#include <algorithm>

#include "sim/machine/machine.h"
#include "sim/machine/tensor.h"

namespace sim {

std::string context(const Warp& w) {
  const Dim3& b = w.block->index;
  std::string s = format("\n  in %s, block (%u,%u,%u), warp %u", readable(w.program->function->name).c_str(), b.x, b.y, b.z, w.index);
  const uint32_t first = w.index * 32;
  if (w.fault_lane >= 0)
    s += format(" lane %d (thread %u)", w.fault_lane, first + unsigned(w.fault_lane));
  else
    s += format(" lanes %08x (threads %u to %u)", w.mask, first, first + 31 - unsigned(__builtin_clz(w.present | 1)));
  if (const ptx::Statement* at = w.program->code[w.pc].source) {
    std::string text(at->text.substr(0, 200));
    std::replace(text.begin(), text.end(), '\n', ' ');
    s += "\n  at " + w.program->module->where(*at) + ": " + text;
  }
  return s;
}

std::string shared_name(const Block& b, uint32_t offset) {
  for (const SharedObject& o : b.objects)
    if (offset >= o.begin && offset < o.end) return format("shared '%s' + %u", readable(o.name).c_str(), offset - o.begin);
  return format("shared offset %u", offset);
}

namespace {

std::string reason(const Warp& w, const Fragment& f) {
  switch (f.state) {
    case Fragment::Converge:
      return "waits for the other lanes of its warp (divergence)";
    case Fragment::Barrier:
      return format("waits in barrier %u", unsigned(f.key));
    case Fragment::MBarrier: {
      const Block* b = block_of(*w.block->cluster, uint32_t(f.key >> 32));
      std::string s = "waits for the mbarrier at " + (b ? shared_name(*b, uint32_t(f.key)) : "?");
      return b == w.block ? s : s + format(" of block %u of the cluster", uint32_t(f.key >> 32));
    }
    case Fragment::ClusterBarrier:
      return "waits in the cluster barrier";
    case Fragment::Ready:
      return "could run";
  }
  return "";
}

void describe(const Block& b, std::string& text, int& lines) {
  for (const Warp& w : b.warps)
    for (const Fragment& f : w.fragments) {
      if (++lines > 40) continue;
      const uint32_t at = f.state == Fragment::Barrier ? f.pc - 1 : f.pc;
      const ptx::Statement* s = w.program->code[at].source;
      text +=
          format("\n  block (%u,%u,%u) warp %u lanes %08x (threads %u to %u) %s", b.index.x, b.index.y, b.index.z, w.index, f.mask,
                 w.index * 32 + unsigned(__builtin_ctz(f.mask)), w.index * 32 + 31 - unsigned(__builtin_clz(f.mask)), reason(w, f).c_str());
      if (s) text += " at " + w.program->module->where(*s) + ": " + std::string(s->text.substr(0, 80));
    }
  for (int id = 0; id < 16; ++id)
    if (const NamedBarrier& n = b.barriers[id]; n.arrived)
      text += format("\n  block (%u,%u,%u) barrier %d: %u threads arrived, %s", b.index.x, b.index.y, b.index.z, id, n.arrived,
                     n.expected ? format("%u expected", n.expected).c_str() : format("all %u expected", b.live).c_str());
  describe_mbarriers(b, text);
}

}  // namespace

void report_deadlock(Machine& m) {
  std::string text = "deadlock: no thread can run\n  in " + readable(m.launch.program->function->name);
  int lines = 0;
  for (auto& c : m.clusters) {
    for (auto& b : c->blocks) describe(*b, text, lines);
    if (c->arrived) text += format("\n  cluster barrier: %u threads arrived, %u expected", c->arrived, c->live);
  }
  if (lines > 40) text += format("\n  and %d more", lines - 40);
  fail("%s", text.c_str());
}

}  // namespace sim
