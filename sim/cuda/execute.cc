// Execution of kernels, copies and fills.
#include <algorithm>
#include <cstdio>
#include <deque>

#include "sim/cuda/memory.h"
#include "sim/cuda/work.h"

namespace sim {
namespace {

void fault(Device& d, cudaError_t code, const std::string& what) {
  runtime().report(what);
  if (d.sticky == cudaSuccess) d.sticky = code;
}

// The code that a real device would give for what the simulator found. Faults that no device notices (a race, a read of uninitialised
// memory, a missing fence) are cudaErrorLaunchFailure.
cudaError_t code_of(const std::string& what) {
  const std::string first = what.substr(0, what.find('\n'));
  auto has = [&](const char* text) { return first.find(text) != std::string::npos; };
  if (has("ssertion") || has("assert(")) return cudaErrorAssert;
  if (has("not aligned")) return cudaErrorMisalignedAddress;
  if (has("global read:") || has("global write:") || has("shared address") || has("local address") || has("run past the end of shared") ||
      has("not in global memory") || has("write to kernel parameters"))
    return cudaErrorIllegalAddress;
  return cudaErrorLaunchFailure;
}

// The profiles of the last launches, for simProfileJson.
constexpr size_t kKept = 4096;
std::deque<std::string> profiles;

void keep_profile(const Kernel& k, const Machine& m, std::chrono::steady_clock::time_point start) {
  const Launch& l = m.launch;
  LaunchRecord r{readable(k.name),
                 {l.grid.x, l.grid.y, l.grid.z},
                 {l.block.x, l.block.y, l.block.z},
                 {l.cluster.x, l.cluster.y, l.cluster.z},
                 l.dynamic_bytes,
                 l.program->static_shared,
                 std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count(),
                 m.profile};
  profiles.push_back(to_json(r));
  if (profiles.size() > kKept) profiles.pop_front();
  const char* print = getenv("SIM_PROFILE");
  if (print && !strcmp(print, "json"))
    fprintf(stderr, "%s\n", profiles.back().c_str());
  else if (print && *print && *print != '0')
    fprintf(stderr, "sim: %s\n", one_line(r).c_str());
}

void run_kernel(Device& d, const KernelTask& t) {
  Program& p = runtime().program(*t.kernel, d);
  Launch l = t.shape;
  l.program = &p;
  const uint8_t* bytes = t.arguments.data();
  for (size_t n = 0; n < p.param_offsets.size(); bytes += p.param_sizes[n++])
    memcpy(p.params.data() + p.param_offsets[n], bytes, p.param_sizes[n]);
  if (const auto limit = d.limits.find(cudaLimitStackSize); p.unbounded_stack && limit != d.limits.end())
    p.local_bytes = (p.main->frame_bytes + 15) / 16 * 16 + uint32_t(std::max<size_t>(kStackBytes, limit->second));
  d.machine.peers = d.peers;
  l.cooperative = t.cooperative;
  l.reserved_shared = d.card.arch >= 90 ? 1024 : 0;
  const auto start = std::chrono::steady_clock::now();
  try {
    run(d.machine, l);
    if (d.machine.options.profile) keep_profile(*t.kernel, d.machine, start);
  } catch (const Error& e) {
    fault(d, code_of(e.what()),
          format("error in %s (seed %lu)\nsim: ", readable(t.kernel->name).c_str(), (unsigned long)d.machine.options.seed) + e.what());
    runtime().message = e.what();
  }
  runtime().kernel_ms += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

// Whether `rows` of `width` bytes, `pitch` apart, in planes `plane` apart, lie in live memory of the right kind.
bool in_memory(const void* p, size_t width, size_t height, size_t depth, size_t pitch, size_t plane, bool device, const char* what) {
  if (!width || !height || !depth) return true;
  const uint64_t extent = (depth - 1) * plane + (height - 1) * pitch + width;
  const MemoryBlock* b = find_block(p);
  if (b && reinterpret_cast<uint64_t>(p) + extent <= b->begin + b->bytes) return true;
  if (!b && !device && !global_memory().find(reinterpret_cast<uint64_t>(p))) return true;  // pageable host memory
  runtime().report(format("%s of %lu bytes: address %p %s", what, (unsigned long)extent, p, describe(p, extent).c_str()));
  return false;
}

bool copy_is_valid(const CopyTask& c) {
  const bool to_device = c.kind == cudaMemcpyHostToDevice || c.kind == cudaMemcpyDeviceToDevice;
  const bool from_device = c.kind == cudaMemcpyDeviceToHost || c.kind == cudaMemcpyDeviceToDevice;
  return in_memory(c.dst, c.width, c.height, c.depth, c.dst_pitch, c.dst_plane, to_device, "copy") &&
         (c.staging || in_memory(c.src, c.width, c.height, c.depth, c.src_pitch, c.src_plane, from_device, "copy"));
}

bool fill_is_valid(const FillTask& f) {
  return in_memory(f.dst, f.width * f.element_bytes, f.height, f.depth, f.pitch, f.plane, true, "memset");
}

// SIM_INIT: the source of a copy from the host is initialised; a copy within the device takes over what was never written.
void note_copy(const CopyTask& c, uint8_t* to, const uint8_t* from) {
  if (c.kind == cudaMemcpyHostToDevice || c.staging)
    global_memory().host_write(to, c.width);
  else
    global_memory().copied(to, from, c.width);
}

void copy(Device& d, const CopyTask& c) {
  if (!copy_is_valid(c)) return fault(d, cudaErrorIllegalAddress, "the memory of a copy was freed before the copy was done");
  for (size_t z = 0; z < c.depth; ++z)
    for (size_t y = 0; y < c.height; ++y) {
      uint8_t* to = c.dst + z * c.dst_plane + y * c.dst_pitch;
      const uint8_t* from = c.src + z * c.src_plane + y * c.src_pitch;
      memmove(to, from, c.width);
      note_copy(c, to, from);
    }
}

void fill(Device& d, const FillTask& f) {
  if (!fill_is_valid(f)) return fault(d, cudaErrorIllegalAddress, "the memory of a memset was freed before the memset was done");
  for (size_t z = 0; z < f.depth; ++z)
    for (size_t y = 0; y < f.height; ++y) {
      uint8_t* row = f.dst + z * f.plane + y * f.pitch;
      global_memory().host_write(row, f.width * f.element_bytes);
      if (f.element_bytes == 1)
        memset(row, int(f.value), f.width);
      else
        for (size_t x = 0; x < f.width; ++x) memcpy(row + x * f.element_bytes, &f.value, f.element_bytes);
    }
}

// A graph's memory stays mapped for its next launch; what it held is gone.
void free_async(const FreeTask& f) {
  const MemoryBlock* b = find_begin(reinterpret_cast<void*>(f.address));
  if (b && b->kind == MemoryBlock::Graph)
    memset(reinterpret_cast<void*>(f.address), 0xff, b->bytes);
  else
    release_block(f.address);
}

// Why a kernel cannot be launched is printed, too: few programs look at what a launch returns.
Program& launched(Kernel& k, Device& d) {
  try {
    return runtime().program(k, d);
  } catch (const Refused& r) {
    if (r.code == cudaErrorNoKernelImageForDevice) runtime().report(readable(k.name) + ": " + runtime().message);
    throw;
  }
}

}  // namespace

void check_copy(Device&, const CopyTask& c) { require(copy_is_valid(c)); }
void check_fill(const FillTask& f) { require(fill_is_valid(f)); }

// Refuses what a driver refuses at the call; completes the task.
void validate_launch(Session& s, KernelTask& task, void** arguments) {
  Device& d = s.device;
  const Card& card = d.card;
  Program& p = launched(*task.kernel, d);
  const KernelOnDevice& k = runtime().kernel_on(*task.kernel, d);
  Launch& l = task.shape;
  const uint64_t threads = l.block.count();
  require(threads && threads <= 1024 && l.block.x <= 1024 && l.block.y <= 1024 && l.block.z <= 64, cudaErrorInvalidConfiguration);
  require(l.grid.count() && l.grid.x <= 0x7fffffff && l.grid.y <= 65535 && l.grid.z <= 65535, cudaErrorInvalidConfiguration);
  require(!p.function->max_threads || threads <= p.function->max_threads, cudaErrorLaunchOutOfResources);

  const uint32_t* required = p.function->cluster;
  const bool given = l.cluster.count() > 1;
  if (required[0]) {
    const Dim3 own = {required[0], required[1], required[2]};
    require(!given || (l.cluster.x == own.x && l.cluster.y == own.y && l.cluster.z == own.z), cudaErrorInvalidClusterSize);
    l.cluster = own;
  }
  require(l.cluster.count() >= 1 && l.cluster.count() <= (k.non_portable_cluster ? 16 : 8), cudaErrorInvalidClusterSize);
  require(l.grid.x % l.cluster.x == 0 && l.grid.y % l.cluster.y == 0 && l.grid.z % l.cluster.z == 0, cudaErrorInvalidClusterSize);
  require(l.cluster.count() == 1 || card.clusters(), cudaErrorInvalidConfiguration);

  require(p.static_shared <= 48 << 10, cudaErrorInvalidPtx);
  require(int(l.dynamic_bytes) <= k.dynamic_limit() && int(l.dynamic_bytes + p.static_shared) <= card.shared_optin());
  if (task.cooperative)
    require(l.grid.count() <= uint64_t(card.multiprocessors) * uint64_t(resident_blocks(card, threads, l.dynamic_bytes + p.static_shared)),
            cudaErrorCooperativeLaunchTooLarge);
  task.arguments.clear();
  for (size_t n = 0; n < p.param_sizes.size(); ++n) {
    const auto* from = static_cast<const uint8_t*>(arguments[n]);
    task.arguments.insert(task.arguments.end(), from, from + p.param_sizes[n]);
  }
}

void execute(Work& w) {
  Device& d = *w.device;
  if (d.sticky != cudaSuccess) return;
  try {
    if (w.fault) return fault(d, cudaErrorIllegalAddress, "SIM_FAULT: this launch ends with an illegal address");
    if (auto* kernel = std::get_if<KernelTask>(&w.task)) run_kernel(d, *kernel);
    if (auto* c = std::get_if<CopyTask>(&w.task)) copy(d, *c);
    if (auto* f = std::get_if<FillTask>(&w.task)) fill(d, *f);
    if (auto* f = std::get_if<FreeTask>(&w.task)) free_async(*f);
    if (auto* a = std::get_if<AllocateTask>(&w.task)) memset(reinterpret_cast<void*>(a->address), 0xff, a->bytes);  // fresh: NaN
  } catch (const Error& e) {
    fault(d, cudaErrorLaunchFailure, e.what());
  } catch (const Refused& r) {
    if (d.sticky == cudaSuccess) d.sticky = r.code;
  }
}

}  // namespace sim

extern "C" {
int simProfileCount() { return int(sim::profiles.size()); }
const char* simProfileJson(int k) {
  const bool exists = k >= 0 && size_t(k) < sim::profiles.size();
  return exists ? sim::profiles[size_t(k)].c_str() : "";
}
void simProfileClear() { sim::profiles.clear(); }
}
