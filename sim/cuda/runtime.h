// What the CUDA runtime shim keeps: modules, kernels, the machine.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <mutex>

#include "sim/cuda/fatbin.h"
#include "sim/machine/machine.h"

namespace sim {

struct LoadedModule {  // one fat binary, that is one .cu file
  std::vector<PtxImage> images;
  std::unique_ptr<ptx::Module> module;
  SymbolTable globals;
  std::map<std::string, std::pair<uint64_t, uint64_t>> variables;  // name -> address, size
};

struct Kernel {
  LoadedModule* owner = nullptr;
  std::string name;
  std::unique_ptr<Program> program;  // lowered at first use
  int max_dynamic_shared = 48 * 1024;
  int non_portable_cluster = 0;
};

struct Card {  // the simulated device
  int major = 8, minor = 0;
  int arch() const { return major * 10 + minor; }
  int shared_optin() const {
    return arch() >= 90 && arch() < 120 ? 227 * 1024 : arch() == 80 || arch() == 87 ? 163 * 1024 : arch() == 75 ? 64 * 1024 : 99 * 1024;
  }
  static Card from_environment();
};

struct Runtime {
  std::recursive_mutex mutex;
  Card card = Card::from_environment();
  Machine machine;
  std::vector<std::unique_ptr<LoadedModule>> modules;
  std::map<const void*, std::unique_ptr<Kernel>> kernels;                  // by host function
  std::map<const void*, std::pair<LoadedModule*, std::string>> variables;  // by host variable
  cudaError_t sticky = cudaSuccess, last = cudaSuccess;
  std::string message;   // of the last simulator error
  double kernel_ms = 0;  // spent executing kernels

  Runtime() { machine.options = Options::from_environment(); }
  void load(LoadedModule& m);
  Program& program(Kernel& k);
  cudaError_t launch(Kernel& k, const Launch& shape, void** args);
};
Runtime& runtime();

CUresult encode_tiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* address, const cuuint64_t* dims,
                      const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* element_strides, CUtensorMapInterleave interleave,
                      CUtensorMapSwizzle swizzle, CUtensorMapL2promotion l2, CUtensorMapFloatOOBfill fill);

}  // namespace sim

// ---- control of the simulator by tests; a program that runs on real devices does not call these ----
extern "C" {
void simSetSeed(unsigned long long seed);
void simSetRace(int on);
void simSetProfile(int on);
void simSetArch(int arch);         // 80, 90, ...; before the first launch of any kernel
const char* simLastMessage(void);  // text of the last simulator error
void simReset(void);               // forget a sticky error
double simKernelMs(void);          // time spent executing kernels since the last call
void simPrintInstructions(void);   // the table of supported instructions, in Markdown
}
