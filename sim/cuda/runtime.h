// What the CUDA runtime keeps: devices, modules, kernels; and the frame of every entry point.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "sim/control.h"
#include "sim/cuda/card.h"
#include "sim/cuda/fatbin.h"
#include "sim/machine/machine.h"

namespace sim {

struct Work;
struct Module;
struct Pool;

// A refusal that is no fault of the device: the call returns this code and leaves no trace but cudaGetLastError.
struct Refused {
  cudaError_t code;
};
[[noreturn]] inline void refuse(cudaError_t code) { throw Refused{code}; }
inline void require(bool ok, cudaError_t code = cudaErrorInvalidValue) {
  if (!ok) refuse(code);
}

struct LoadedImage {  // a module on one device
  const PtxImage* image = nullptr;
  std::shared_ptr<const ptx::Module> module;
  SymbolTable globals;
  std::map<std::string, std::pair<uint64_t, uint64_t>> variables;  // name -> address, size
};

struct KernelOnDevice {
  std::unique_ptr<Program> program;  // lowered at first use
  int max_dynamic_shared = -1;       // bytes; -1: what the static variables leave of 48 KiB
  bool non_portable_cluster = false;
  int carveout = -1;
  int dynamic_limit() const { return max_dynamic_shared >= 0 ? max_dynamic_shared : (48 << 10) - int(program->static_shared); }
};

struct Kernel {
  Module* owner = nullptr;
  std::string name;
  std::map<int, KernelOnDevice> on;  // by device
};

struct Module {  // one fat binary, that is one .cu file, or one text that a program loaded
  std::vector<PtxImage> images;
  std::map<int, LoadedImage> loaded;                       // by device
  std::map<std::string, std::unique_ptr<Kernel>> kernels;  // by name
  std::map<std::string, uint64_t> managed;                 // __managed__ variables, shared by all devices
  std::vector<std::pair<void**, std::string>> managed_hosts;

  Kernel* kernel(const std::string& name);
};

struct Device {
  int ordinal = 0;
  Card card;
  Machine machine;
  uint64_t used = 0;                 // bytes of device memory
  cudaError_t sticky = cudaSuccess;  // a fault of the device, until it is reset
  bool sticky_seen = false;          // a call has returned it
  uint64_t peers = 0;                // bit k: peer access to device k
  CUstream_st* legacy = nullptr;
  std::set<CUstream_st*> streams;  // legacy, created and per-thread ones
  std::map<std::thread::id, CUstream_st*> per_thread;
  std::vector<std::unique_ptr<Pool>> pools;  // the first is the default pool
  Pool* pool = nullptr;                      // the current one
  unsigned flags = 0;
  std::map<int, size_t> limits;
};

struct Runtime {
  std::mutex mutex;
  std::vector<std::unique_ptr<Device>> devices;
  std::vector<std::unique_ptr<Module>> modules;
  std::map<const void*, Kernel*> kernels;                            // by host function
  std::set<const void*> handles;                                     // live Kernel*
  std::map<const void*, std::pair<Module*, std::string>> variables;  // by host variable
  int driver_version = CUDART_VERSION;                               // SIM_DRIVER: 0 for none, 12020 for 12.2
  uint64_t launches = 0, fault_at = 0;                               // SIM_FAULT
  std::string message;                                               // of the last simulator error
  double kernel_ms = 0;                                              // spent executing kernels

  Runtime();
  LoadedImage& load(Module& m, Device& d);
  KernelOnDevice& kernel_on(Kernel& k, Device& d);
  Program& program(Kernel& k, Device& d);  // refuses with cudaErrorNoKernelImageForDevice and the like
  Kernel* find_kernel(const void* function_or_handle);
  void unload(Module* m);
  void report(const std::string& what);  // on stderr and for simLastMessage
};
Runtime& runtime();

// The host thread's state.
struct ThreadState {
  int device = 0;
  cudaError_t last = cudaSuccess;
  int per_thread_default = 0;  // depth of calls by their _ptsz or _ptds name: stream 0 is the thread's own
  cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;
};
ThreadState& this_thread();

// What an entry point works with while it holds the lock.
struct Session {
  std::unique_lock<std::mutex>& lock;
  Device& device;
};

Device& device_of(int ordinal);  // refuses with cudaErrorInvalidDevice

cudaError_t driver_problem();            // no driver, an old one, no device
cudaError_t note(cudaError_t code);      // for cudaGetLastError; returns it
cudaError_t failed(const Error& error);  // a simulator error outside a kernel: printed, cudaErrorUnknown
void advance(Session& s);                // device work that a real device may have got on with by now

// Runs `f(session)` as the body of an entry point that uses the context of the thread's device.
template <class F>
cudaError_t api(F&& f) {
  if (const cudaError_t e = driver_problem()) return note(e);
  std::unique_lock<std::mutex> lock(runtime().mutex);
  Session s{lock, *runtime().devices[size_t(this_thread().device)]};
  try {
    if (s.device.sticky == cudaSuccess) {
      f(s);
      advance(s);
      return cudaSuccess;
    }
    s.device.sticky_seen = true;
    return note(s.device.sticky);
  } catch (const Refused& r) {
    return note(r.code);
  } catch (const Error& e) {
    return note(failed(e));
  }
}

// The same for calls that ask about the machine or this library and never touch a context: they work after a fault, too.
template <class F>
cudaError_t query(F&& f) {
  if (const cudaError_t e = driver_problem()) return note(e);
  std::unique_lock<std::mutex> lock(runtime().mutex);
  try {
    f();
    return cudaSuccess;
  } catch (const Refused& r) {
    return note(r.code);
  } catch (const Error& e) {
    return note(failed(e));
  }
}

CUresult encode_tiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* address, const cuuint64_t* dims,
                      const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* element_strides, CUtensorMapInterleave interleave,
                      CUtensorMapSwizzle swizzle, CUtensorMapL2promotion l2, CUtensorMapFloatOOBfill fill);

}  // namespace sim

#define SIM_API extern "C" __attribute__((visibility("default")))
