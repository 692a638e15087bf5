// Modules, kernels and launches behind the CUDA runtime API.
#include "sim/cuda/runtime.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "sim/ptx/decode.h"

namespace sim {

Runtime& runtime() {
  static auto* r = new Runtime;  // never destroyed: nvcc's atexit handlers run late
  return *r;
}

Card Card::from_environment() {
  const char* s = getenv("SIM_ARCH");  // 80, 90, sm_90 ...
  int arch = s ? atoi(*s == 's' ? s + 3 : s) : 90;
  return {arch / 10, arch % 10};
}

// Parses the PTX for the simulated card and places the module's variables.
void Runtime::load(LoadedModule& m) {
  if (m.module) return;
  const PtxImage* image = choose_image(m.images, card.arch());
  if (!image) {
    std::string have;
    for (const PtxImage& i : m.images) have += " " + i.target;
    fail("the object has no PTX for sm_%d (it has:%s); compile with -gencode arch=compute_%d,code=compute_%d", card.arch(),
         have.empty() ? " none" : have.c_str(), card.arch(), card.arch());
  }
  m.module = ptx::parse(image->text);
  for (const ptx::Variable& v : m.module->variables) {
    if (v.space != ptx::Space::global && v.space != ptx::Space::constant) continue;
    if (v.external) fail("extern variable %s: relocatable device code is not supported", v.name.c_str());
    const uint64_t at = global_memory().allocate(v.size, Allocation::Module);
    memset(reinterpret_cast<void*>(at), 0, v.size);
    memcpy(reinterpret_cast<void*>(at), v.init.data(), std::min<size_t>(v.size, v.init.size()));
    m.globals[v.name] = at;
    m.variables[v.name] = {at, v.size};
  }
}

Program& Runtime::program(Kernel& k) {
  if (k.program) return *k.program;
  load(*k.owner);
  const ptx::Function* f = k.owner->module->find(k.name);
  if (!f || !f->entry) fail("kernel %s is not in the PTX", k.name.c_str());
  k.program = lower(*k.owner->module, *f, k.owner->globals);
  global_memory().adopt(k.program->params.data(), k.program->params.size(), Allocation::Params);
  return *k.program;
}

namespace {

void print_profile(const Kernel& k, const Machine& m) {
  const Profile& p = m.profile;
  const Dim3 &g = m.launch.grid, &b = m.launch.block;
  fprintf(stderr, "sim: %s <<<(%u,%u,%u), %u>>>\n", readable(k.name).c_str(), g.x, g.y, g.z, unsigned(b.count()));
  fprintf(stderr, "  %lu warp instructions, %.1f active lanes on average, %lu divergent branches\n", (unsigned long)p.warp_instructions,
          double(p.thread_instructions) / double(std::max<uint64_t>(1, p.warp_instructions)), (unsigned long)p.divergent_branches);
  fprintf(stderr, "  global: %lu bytes read, %lu written, %.2f sectors per request, %.0f%% of sector bytes used; TMA: %lu bytes\n",
          (unsigned long)p.global_load_bytes, (unsigned long)p.global_store_bytes,
          double(p.global_sectors) / double(std::max<uint64_t>(1, p.global_requests)),
          100.0 * double(p.global_load_bytes + p.global_store_bytes) / double(std::max<uint64_t>(1, p.global_sectors * 32)),
          (unsigned long)p.bulk_bytes);
  fprintf(stderr, "  shared: %lu wavefronts, %lu of them bank conflicts; tensor cores: %.3f MFLOP\n",
          (unsigned long)(p.shared_requests + p.shared_conflicts), (unsigned long)p.shared_conflicts, double(p.mma_flops) * 1e-6);
}

}  // namespace

cudaError_t Runtime::launch(Kernel& k, const Launch& shape, void** args) {
  if (sticky != cudaSuccess) return sticky;
  try {
    Program& p = program(k);
    Launch l = shape;
    l.program = &p;
    const uint32_t* required = p.function->cluster;
    if (required[0]) {
      if (l.cluster.count() == 1)
        l.cluster = {required[0], required[1], required[2]};
      else if (l.cluster.x != required[0] || l.cluster.y != required[1] || l.cluster.z != required[2])
        return last = cudaErrorInvalidClusterSize;
    }
    const uint64_t threads = l.block.count();
    if (threads == 0 || threads > 1024 || l.block.z > 64 || l.grid.count() == 0 || l.grid.y > 65535 || l.grid.z > 65535)
      return last = cudaErrorInvalidConfiguration;
    if (p.function->max_threads && threads > p.function->max_threads) return last = cudaErrorLaunchOutOfResources;
    if (l.grid.x % l.cluster.x || l.grid.y % l.cluster.y || l.grid.z % l.cluster.z || l.cluster.count() > (k.non_portable_cluster ? 16 : 8))
      return last = cudaErrorInvalidClusterSize;
    if (l.cluster.count() > 1 && card.arch() < 90) return last = cudaErrorInvalidConfiguration;
    if (int(l.dynamic_bytes) > k.max_dynamic_shared || int(l.dynamic_bytes + p.static_shared) > card.shared_optin())
      return last = cudaErrorInvalidValue;
    if (p.static_shared > 48 * 1024) fail("%u bytes of static shared memory (at most 48 KiB)", p.static_shared);
    for (size_t n = 0; n < p.param_offsets.size(); ++n) memcpy(p.params.data() + p.param_offsets[n], args[n], p.param_sizes[n]);
    const auto start = std::chrono::steady_clock::now();
    run(machine, l);
    kernel_ms += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    if (machine.options.profile) print_profile(k, machine);
    return cudaSuccess;
  } catch (const Error& e) {
    message = e.what();
    fprintf(stderr, "sim: error in %s (seed %lu)\nsim: %s\n", readable(k.name).c_str(), (unsigned long)machine.options.seed,
            message.c_str());
    return last = sticky = cudaErrorLaunchFailure;
  }
}

}  // namespace sim

extern "C" {
void simSetSeed(unsigned long long seed) { sim::runtime().machine.options.seed = seed; }
void simSetRace(int on) { sim::runtime().machine.options.race = on != 0; }
void simSetProfile(int on) { sim::runtime().machine.options.profile = on != 0; }
void simSetArch(int arch) { sim::runtime().card = {arch / 10, arch % 10}; }
double simKernelMs() { return std::exchange(sim::runtime().kernel_ms, 0.0); }
void simPrintInstructions() {
  std::vector<sim::Family> all;
  for (auto list : sim::all_families()) all.insert(all.end(), list.begin(), list.end());
  std::sort(all.begin(), all.end(), [](const sim::Family& a, const sim::Family& b) { return std::string(a.opcode) < b.opcode; });
  printf("| Instruction | PTX ISA | Supported forms |\n|---|---|---|\n");
  for (const sim::Family& f : all) printf("| `%s` | %s | %s |\n", f.opcode, f.section, f.forms);
}
const char* simLastMessage() { return sim::runtime().message.c_str(); }
void simReset() {
  sim::runtime().sticky = sim::runtime().last = cudaSuccess;
  sim::runtime().message.clear();
}
}
