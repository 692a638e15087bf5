// nvcc --default-stream per-thread calls these: each is the function of the plain name, in which stream 0 is the thread's own. They
// are declared with its type and resolved, when the library is loaded, to an instance of one template.
#include "sim/cuda/runtime.h"

namespace {

struct Depth {
  Depth() { ++sim::this_thread().per_thread_default; }
  ~Depth() { --sim::this_thread().per_thread_default; }
};

template <auto F>
struct PerThread;
template <class R, class... A, R (*F)(A...)>
struct PerThread<F> {
  static R call(A... a) {
    const Depth depth;
    return F(a...);
  }
};

}  // namespace

#define PER_THREAD(name, suffix)                                                                    \
  extern "C" {                                                                                      \
  __attribute__((used)) static decltype(&name) resolve_##name() { return &PerThread<&name>::call; } \
  __attribute__((visibility("default"), ifunc("resolve_" #name))) decltype(name) name##suffix;      \
  }

extern "C" cudaError_t __cudaLaunchKernel(cudaKernel_t k, dim3 grid, dim3 block, void** args, size_t shared, cudaStream_t stream);

PER_THREAD(__cudaLaunchKernel, _ptsz)
PER_THREAD(cudaMemcpy, _ptds)
PER_THREAD(cudaMemcpyToSymbol, _ptds)
PER_THREAD(cudaMemcpyFromSymbol, _ptds)
PER_THREAD(cudaMemcpy2D, _ptds)
PER_THREAD(cudaMemcpy3D, _ptds)
PER_THREAD(cudaMemcpy3DPeer, _ptds)
PER_THREAD(cudaMemset, _ptds)
PER_THREAD(cudaMemset2D, _ptds)
PER_THREAD(cudaMemset3D, _ptds)
PER_THREAD(cudaGraphInstantiateWithParams, _ptsz)
PER_THREAD(cudaGraphUpload, _ptsz)
PER_THREAD(cudaGraphLaunch, _ptsz)
PER_THREAD(cudaStreamBeginCapture, _ptsz)
PER_THREAD(cudaStreamBeginCaptureToGraph, _ptsz)
PER_THREAD(cudaStreamEndCapture, _ptsz)
PER_THREAD(cudaStreamGetCaptureInfo, _ptsz)
PER_THREAD(cudaStreamUpdateCaptureDependencies, _ptsz)
PER_THREAD(cudaStreamIsCapturing, _ptsz)
PER_THREAD(cudaMemcpyAsync, _ptsz)
PER_THREAD(cudaMemcpyToSymbolAsync, _ptsz)
PER_THREAD(cudaMemcpyFromSymbolAsync, _ptsz)
PER_THREAD(cudaMemcpy2DAsync, _ptsz)
PER_THREAD(cudaMemcpy3DAsync, _ptsz)
PER_THREAD(cudaMemcpy3DPeerAsync, _ptsz)
PER_THREAD(cudaMemcpyBatchAsync, _ptsz)
PER_THREAD(cudaMemsetAsync, _ptsz)
PER_THREAD(cudaMemset2DAsync, _ptsz)
PER_THREAD(cudaMemset3DAsync, _ptsz)
PER_THREAD(cudaStreamQuery, _ptsz)
PER_THREAD(cudaStreamGetDevice, _ptsz)
PER_THREAD(cudaStreamGetFlags, _ptsz)
PER_THREAD(cudaStreamGetId, _ptsz)
PER_THREAD(cudaStreamGetPriority, _ptsz)
PER_THREAD(cudaEventRecord, _ptsz)
PER_THREAD(cudaEventRecordWithFlags, _ptsz)
PER_THREAD(cudaStreamWaitEvent, _ptsz)
PER_THREAD(cudaStreamAddCallback, _ptsz)
PER_THREAD(cudaStreamAttachMemAsync, _ptsz)
PER_THREAD(cudaStreamSynchronize, _ptsz)
PER_THREAD(cudaLaunchKernel, _ptsz)
PER_THREAD(cudaLaunchKernelExC, _ptsz)
PER_THREAD(cudaLaunchHostFunc, _ptsz)
PER_THREAD(cudaMemPrefetchAsync, _ptsz)
PER_THREAD(cudaLaunchCooperativeKernel, _ptsz)
PER_THREAD(cudaStreamCopyAttributes, _ptsz)
PER_THREAD(cudaStreamGetAttribute, _ptsz)
PER_THREAD(cudaStreamSetAttribute, _ptsz)
PER_THREAD(cudaMallocAsync, _ptsz)
PER_THREAD(cudaFreeAsync, _ptsz)
PER_THREAD(cudaMallocFromPoolAsync, _ptsz)
PER_THREAD(cudaGetDriverEntryPointByVersion, _ptsz)
