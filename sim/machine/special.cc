// 10. Special Registers.
#include "sim/machine/machine.h"
#include "sim/ops/system.h"

namespace sim {

uint32_t special_value(Special s, const Warp& w, uint32_t lane) {
  const Machine& m = *w.machine;
  const Dim3 &n = m.launch.block, &g = m.launch.grid, &k = m.launch.cluster, &b = w.block->index;
  const uint32_t t = w.index * 32 + lane;
  switch (s) {
    case Special::tid_x:
      return t % n.x;
    case Special::tid_y:
      return t / n.x % n.y;
    case Special::tid_z:
      return t / (n.x * n.y);
    case Special::ntid_x:
      return n.x;
    case Special::ntid_y:
      return n.y;
    case Special::ntid_z:
      return n.z;
    case Special::ctaid_x:
      return b.x;
    case Special::ctaid_y:
      return b.y;
    case Special::ctaid_z:
      return b.z;
    case Special::nctaid_x:
      return g.x;
    case Special::nctaid_y:
      return g.y;
    case Special::nctaid_z:
      return g.z;
    case Special::laneid:
      return lane;
    case Special::warpid:
      return w.index;
    case Special::nwarpid:
      return uint32_t(w.block->warps.size());
    case Special::smid:
      return w.block->cluster->serial % m.multiprocessors;
    case Special::nsmid:
      return m.multiprocessors;
    case Special::gridid:
      return m.launches;
    case Special::clusterid_x:
      return b.x / k.x;
    case Special::clusterid_y:
      return b.y / k.y;
    case Special::clusterid_z:
      return b.z / k.z;
    case Special::nclusterid_x:
      return g.x / k.x;
    case Special::nclusterid_y:
      return g.y / k.y;
    case Special::nclusterid_z:
      return g.z / k.z;
    case Special::cluster_ctaid_x:
      return b.x % k.x;
    case Special::cluster_ctaid_y:
      return b.y % k.y;
    case Special::cluster_ctaid_z:
      return b.z % k.z;
    case Special::cluster_nctaid_x:
      return k.x;
    case Special::cluster_nctaid_y:
      return k.y;
    case Special::cluster_nctaid_z:
      return k.z;
    case Special::cluster_ctarank:
      return w.block->rank;
    case Special::cluster_nctarank:
      return uint32_t(k.count());
    case Special::is_explicit_cluster:
      return k.count() > 1;
    case Special::lanemask_eq:
      return 1u << lane;
    case Special::lanemask_lt:
      return (1u << lane) - 1;
    case Special::lanemask_le:
      return ((1u << lane) - 1) | 1u << lane;
    case Special::lanemask_gt:
      return ~(((1u << lane) - 1) | 1u << lane);
    case Special::lanemask_ge:
      return ~((1u << lane) - 1);
    case Special::envreg1:
      return uint32_t(grid_workspace() >> 32);
    case Special::envreg2:
      return uint32_t(grid_workspace());
    case Special::dynamic_smem_size:
      return m.launch.dynamic_bytes;
    case Special::total_smem_size:
      return m.launch.dynamic_bytes + w.program->static_shared;
    case Special::dynamic_smem_base:
    case Special::dynamic_smem_base64:
      return w.block->dynamic_base;
  }
  return 0;
}

}  // namespace sim
