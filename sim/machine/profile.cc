// Reports of what a launch cost.
#include "sim/machine/profile.h"

#include <algorithm>

#include "sim/ptx/common.h"

namespace sim {

const char* const kPipeNames[kPipes] = {"alu",    "fma",   "fp64",     "mufu", "tensor", "shared",
                                        "global", "local", "exchange", "sync", "bulk",   "control"};

namespace {

using ull = unsigned long long;

double ratio(uint64_t a, uint64_t b) { return double(a) / double(std::max<uint64_t>(1, b)); }

void add_to(SharedTraffic& a, const SharedTraffic& b) { a.requests += b.requests, a.conflicts += b.conflicts; }
void add_to(GlobalTraffic& a, const GlobalTraffic& b) {
  a.requests += b.requests, a.bytes += b.bytes, a.sectors += b.sectors, a.ideal_sectors += b.ideal_sectors;
}

std::string json(const SharedTraffic& t) { return format("{\"wavefronts\":%llu,\"conflicts\":%llu}", ull(t.requests), ull(t.conflicts)); }
std::string json(const GlobalTraffic& t) {
  return format("{\"requests\":%llu,\"bytes\":%llu,\"sectors\":%llu,\"idealSectors\":%llu}", ull(t.requests), ull(t.bytes), ull(t.sectors),
                ull(t.ideal_sectors));
}
std::string quoted(const std::string& s) {
  std::string out = "\"";
  for (char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

}  // namespace

void Profile::add(const Profile& o) {
  warp_instructions += o.warp_instructions, thread_instructions += o.thread_instructions;
  for (int k = 0; k < kPipes; ++k) pipes[k] += o.pipes[k];
  divergent_branches += o.divergent_branches, mma_flops += o.mma_flops, useful_mma_flops += o.useful_mma_flops;
  add_to(load, o.load), add_to(store, o.store);
  atomic_requests += o.atomic_requests, atomics += o.atomics, bulk_bytes += o.bulk_bytes;
  add_to(shared_load, o.shared_load), add_to(shared_store, o.shared_store), add_to(matrix, o.matrix);
}

std::string one_line(const LaunchRecord& r) {
  const Profile& p = r.profile;
  std::string s =
      format("%s <<<(%u,%u,%u), (%u,%u,%u)>>>: %llu warp instructions (%.1f lanes", r.kernel.c_str(), r.grid[0], r.grid[1], r.grid[2],
             r.block[0], r.block[1], r.block[2], ull(p.warp_instructions), ratio(p.thread_instructions, p.warp_instructions));
  for (int k = 0; k < kPipes; ++k)
    if (p.pipes[k]) s += format(", %s %llu", kPipeNames[k], ull(p.pipes[k]));
  s += format("), %llu divergent branches", ull(p.divergent_branches));
  if (p.mma_flops)
    s += format(", %.3f MMA MFLOP (%.0f%% useful)", double(p.mma_flops) * 1e-6, 100 * ratio(p.useful_mma_flops, p.mma_flops));
  auto traffic = [&](const char* what, const GlobalTraffic& t) {
    if (t.requests)
      s += format("; global %s: %llu bytes, %.2f sectors/request (ideal %.2f)", what, ull(t.bytes), ratio(t.sectors, t.requests),
                  ratio(t.ideal_sectors, t.requests));
  };
  traffic("loads", p.load), traffic("stores", p.store);
  if (p.atomic_requests) s += format("; %llu global atomics in %llu requests", ull(p.atomics), ull(p.atomic_requests));
  if (p.bulk_bytes) s += format("; TMA: %llu bytes", ull(p.bulk_bytes));
  auto shared = [&](const char* what, const SharedTraffic& t) {
    if (t.requests) s += format("; shared %s: %llu wavefronts + %llu bank conflicts", what, ull(t.requests), ull(t.conflicts));
  };
  shared("loads", p.shared_load), shared("stores", p.shared_store), shared("matrices", p.matrix);
  return s + format("; %.2f ms simulated at %.1f M instructions/s", r.milliseconds, ratio(p.warp_instructions, 1) / 1e3 / r.milliseconds);
}

std::string to_json(const LaunchRecord& r) {
  const Profile& p = r.profile;
  auto triple = [](const uint32_t* d) { return format("[%u,%u,%u]", d[0], d[1], d[2]); };
  std::string s = "{\"kernel\":" + quoted(r.kernel) + ",\"grid\":" + triple(r.grid) + ",\"block\":" + triple(r.block) +
                  ",\"cluster\":" + triple(r.cluster) +
                  format(",\"dynamicShared\":%u,\"staticShared\":%u", r.dynamic_shared, r.static_shared);
  s += format(",\"warpInstructions\":%llu,\"threadInstructions\":%llu,\"pipes\":{", ull(p.warp_instructions), ull(p.thread_instructions));
  for (int k = 0; k < kPipes; ++k) s += format("%s\"%s\":%llu", k ? "," : "", kPipeNames[k], ull(p.pipes[k]));
  s += format("},\"divergentBranches\":%llu,\"mmaFlops\":%llu,\"usefulMmaFlops\":%llu,\"globalLoad\":", ull(p.divergent_branches),
              ull(p.mma_flops), ull(p.useful_mma_flops));
  s += json(p.load) + ",\"globalStore\":" + json(p.store);
  s += format(",\"atomicRequests\":%llu,\"atomics\":%llu,\"bulkBytes\":%llu,\"sharedLoad\":", ull(p.atomic_requests), ull(p.atomics),
              ull(p.bulk_bytes));
  s += json(p.shared_load) + ",\"sharedStore\":" + json(p.shared_store) + ",\"matrix\":" + json(p.matrix);
  return s + format(",\"milliseconds\":%.3f}", r.milliseconds);
}

}  // namespace sim
