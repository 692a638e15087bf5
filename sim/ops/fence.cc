// 9.7.13 membar, fence, fence.proxy.
#include "sim/machine/lanes.h"

namespace sim {
namespace {

void no_operation(Warp&, const Instr&) {}
void fence_run(Warp& w, const Instr&) {
  if (w.machine->options.race) race::fence(w, w.mask);
  w.yielded = true;
}
void fence_proxy_run(Warp& w, const Instr&) { proxy_fence(w, w.mask); }
void fence_mbarrier_init(Warp& w, const Instr&) {
  w.mbarrier_unfenced &= ~w.mask;
  if (w.machine->options.race) race::fence(w, w.mask);
}
void fence(Decoder& d) {
  if (d.take("proxy")) {
    const auto kind = d.take_any({"async", "alias", "tensormap::generic", "async::generic", "async.global"});
    d.take_space();
    if (kind == "tensormap::generic" || kind.empty()) {
      d.ignore({"acquire", "release", "cta", "cluster", "gpu", "sys"});
      d.take("async::generic");
      return d.emit(no_operation, {});
    }
    return d.emit(kind == "async" ? fence_proxy_run : no_operation, {});
  }
  const bool init = d.take("mbarrier_init");
  d.ignore({"sc", "acq_rel", "acquire", "release", "cta", "cluster", "gpu", "sys", "gl", "sync_restrict::shared::cta",
            "sync_restrict::shared::cluster"});
  d.emit(init ? fence_mbarrier_init : fence_run, {});
}

constexpr Family kFamilies[] = {
    {"membar", fence, "9.7.13 membar", ".cta .gl .sys, .proxy"},
    {"fence", fence, "9.7.13 fence",
     ".sc .acq_rel .acquire .release, .mbarrier_init, .proxy.async, .proxy.alias, .proxy.tensormap::generic, .proxy.async::generic"},
};

}  // namespace

std::span<const Family> fence_families() { return kFamilies; }

}  // namespace sim
