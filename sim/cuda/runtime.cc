// Devices, modules and kernels behind the CUDA runtime API.
#include "sim/cuda/runtime.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "sim/cuda/memory.h"
#include "sim/cuda/work.h"
#include "sim/ptx/decode.h"

namespace sim {

Runtime& runtime() {
  static auto* r = new Runtime;  // never destroyed: nvcc's atexit handlers run late
  return *r;
}

ThreadState& this_thread() {
  static thread_local ThreadState state;
  return state;
}

Runtime::Runtime() {
  const Options options = Options::from_environment();
  for (const Card& card : cards_from_environment()) {
    auto d = std::make_unique<Device>();
    d->ordinal = int(devices.size());
    d->card = card;
    d->machine.options = options;
    d->machine.device = d->ordinal;
    d->machine.multiprocessors = uint32_t(card.multiprocessors);
    global_memory().track(options.init);
    open_device(*d);
    devices.push_back(std::move(d));
  }
  if (const char* s = getenv("SIM_DRIVER")) {
    int major = 0, minor = 0;
    if (sscanf(s, "%d.%d", &major, &minor) < 1 && std::string(s) != "none")
      fprintf(stderr, "sim: SIM_DRIVER: expected none or a version as 12.2, got %s\n", s);
    driver_version = major * 1000 + minor * 10;
  }
  if (const char* s = getenv("SIM_FAULT")) fault_at = strtoull(s, nullptr, 10);
}

Device& device_of(int ordinal) {
  auto& devices = runtime().devices;
  require(ordinal >= 0 && size_t(ordinal) < devices.size(), cudaErrorInvalidDevice);
  return *devices[size_t(ordinal)];
}

cudaError_t driver_problem() {
  const Runtime& r = runtime();
  if (r.driver_version / 1000 < CUDART_VERSION / 1000) return cudaErrorInsufficientDriver;
  return r.devices.empty() ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t note(cudaError_t code) {
  if (code != cudaSuccess && code != cudaErrorNotReady) this_thread().last = code;
  return code;
}

cudaError_t failed(const Error& error) {
  runtime().report(error.what());
  return cudaErrorUnknown;
}

void Runtime::report(const std::string& what) {
  message = what;
  fflush(stdout);
  fprintf(stderr, "sim: %s\n", what.c_str());
}

Kernel* Module::kernel(const std::string& name) {
  auto& k = kernels[name];
  if (!k) {
    k = std::make_unique<Kernel>();
    k->owner = this;
    k->name = name;
    runtime().handles.insert(k.get());
  }
  return k.get();
}

namespace {

// PTX for the card, parsed; devices that use the same image share the result.
LoadedImage& choose(Module& m, Device& d) {
  auto at = m.loaded.find(d.ordinal);
  if (at != m.loaded.end()) return at->second;
  const PtxImage* image = choose_image(m.images, d.card.arch);
  if (!image) {
    std::string have;
    for (const PtxImage& i : m.images) have += " " + i.target;
    // Not printed: programs ask so what they were compiled for.
    runtime().message = format("no PTX for sm_%d in the object (it has:%s); compile with -gencode arch=compute_%d,code=compute_%d",
                               d.card.arch, have.empty() ? " none" : have.c_str(), d.card.arch, d.card.arch);
    refuse(cudaErrorNoKernelImageForDevice);
  }
  LoadedImage loaded;
  loaded.image = image;
  for (auto& [other, l] : m.loaded)
    if (l.image == image) loaded.module = l.module;
  if (!loaded.module) {
    try {
      loaded.module = ptx::parse(image->text);
    } catch (const Error& e) {
      runtime().report(e.what());
      refuse(cudaErrorInvalidPtx);
    }
  }
  return m.loaded[d.ordinal] = std::move(loaded);
}

}  // namespace

// Places the module's variables in the device's memory, except __managed__ ones, which exist once.
LoadedImage& Runtime::load(Module& m, Device& d) {
  LoadedImage& loaded = choose(m, d);
  if (loaded.globals.size()) return loaded;
  for (const ptx::Variable& v : loaded.module->variables) {
    if (v.space != ptx::Space::global && v.space != ptx::Space::constant) continue;
    if (v.external) {
      report(format("extern variable %s: relocatable device code (-rdc=true) is not supported", v.name.c_str()));
      refuse(cudaErrorInvalidPtx);
    }
    auto managed = m.managed.find(v.name);
    uint64_t at = managed == m.managed.end() ? 0 : managed->second;
    if (!at) {
      at = place_variable(d, v.size, managed != m.managed.end());
      memset(reinterpret_cast<void*>(at), 0, v.size);
      memcpy(reinterpret_cast<void*>(at), v.init.data(), std::min<size_t>(v.size, v.init.size()));
      if (managed != m.managed.end()) managed->second = at;
    }
    loaded.globals[v.name] = at;
    loaded.variables[v.name] = {at, v.size};
  }
  relocate(*loaded.module, loaded.globals);
  return loaded;
}

KernelOnDevice& Runtime::kernel_on(Kernel& k, Device& d) { return k.on[d.ordinal]; }

Program& Runtime::program(Kernel& k, Device& d) {
  KernelOnDevice& on = kernel_on(k, d);
  if (on.program) return *on.program;
  LoadedImage& image = load(*k.owner, d);
  const ptx::Function* f = image.module->find(k.name);
  require(f && f->entry, cudaErrorInvalidDeviceFunction);
  try {
    on.program = lower(*image.module, *f, image.globals);
  } catch (const Error& e) {
    report(std::string("kernel ") + readable(k.name) + ": " + e.what());
    refuse(cudaErrorInvalidPtx);
  }
  global_memory().adopt(on.program->params.data(), on.program->params.size(), Allocation::Params);
  return *on.program;
}

Kernel* Runtime::find_kernel(const void* p) {
  auto it = kernels.find(p);
  if (it != kernels.end()) return it->second;
  return handles.count(p) ? const_cast<Kernel*>(static_cast<const Kernel*>(p)) : nullptr;
}

void Runtime::unload(Module* m) {
  for (auto& [name, k] : m->kernels) {
    for (auto& [ordinal, on] : k->on)
      if (on.program) global_memory().release(reinterpret_cast<uint64_t>(on.program->params.data()));
    handles.erase(k.get());
  }
  for (auto& [ordinal, image] : m->loaded)
    for (auto& [name, variable] : image.variables)
      if (!m->managed.count(name)) release_block(variable.first);
  std::erase_if(kernels, [&](auto& entry) { return entry.second->owner == m; });
  std::erase_if(modules, [&](auto& owned) { return owned.get() == m; });
}

}  // namespace sim

extern "C" {
void simSetSeed(unsigned long long seed) {
  for (auto& d : sim::runtime().devices) d->machine.options.seed = seed;
}
void simSetRace(int on) {
  for (auto& d : sim::runtime().devices) d->machine.options.race = on != 0;
}
void simSetProfile(int on) {
  for (auto& d : sim::runtime().devices) d->machine.options.profile = on != 0;
}
void simSetInit(int on) {
  for (auto& d : sim::runtime().devices) d->machine.options.init = on != 0;
  sim::global_memory().track(on != 0);
}
void simSetStrict(int on) {
  for (auto& d : sim::runtime().devices) d->machine.options.strict = on != 0;
}
void simSetThreads(int threads) {
  for (auto& d : sim::runtime().devices) d->machine.options.threads = uint32_t(std::max(1, threads));
}
void simSetLast(unsigned long long clusters) {
  for (auto& d : sim::runtime().devices) d->machine.options.last = clusters;
}
void simSetArch(int arch) {
  setenv("SIM_CARDS", std::to_string(arch).c_str(), 1);
  sim::runtime().devices[0]->card = sim::cards_from_environment()[0];
}
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
  for (auto& d : sim::runtime().devices) d->sticky = cudaSuccess, d->sticky_seen = false;
  sim::this_thread().last = cudaSuccess;
  sim::runtime().message.clear();
}
}
