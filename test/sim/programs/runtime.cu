// The runtime API around kernels: streams, events, host functions, graphs captured and built by hand, updated and cloned; pools, managed
// and pinned memory, pitched copies, symbols, attributes, errors.
#include <cstdio>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "check.h"

namespace {

constexpr int kCount = 1000;
__device__ int variable[4];

__global__ void add(int* x, int n, int k) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] += k;
}
__global__ void multiply(int* x, int n, int k) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] *= k;
}

int* device() {
  int* p;
  CHECK(cudaMalloc(&p, kCount * sizeof(int)));
  CHECK(cudaMemset(p, 0, kCount * sizeof(int)));
  return p;
}
bool all(const int* p, int want) {
  std::vector<int> v(kCount);
  CHECK(cudaMemcpy(v.data(), p, kCount * sizeof(int), cudaMemcpyDeviceToHost));
  for (int e : v)
    if (e != want) return printf("     %d, want %d\n", e, want), false;
  return true;
}

void check_streams() {
  cudaStream_t a, b;
  int least, greatest;
  CHECK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  CHECK(cudaStreamCreate(&a));
  CHECK(cudaStreamCreateWithPriority(&b, cudaStreamNonBlocking, greatest));
  cudaEvent_t begin, middle, end;
  CHECK(cudaEventCreate(&begin));
  CHECK(cudaEventCreateWithFlags(&middle, cudaEventDisableTiming));
  CHECK(cudaEventCreate(&end));
  int* x = device();
  CHECK(cudaDeviceSynchronize());
  CHECK(cudaEventRecord(begin, a));
  add<<<8, 128, 0, a>>>(x, kCount, 5);
  CHECK(cudaEventRecord(middle, a));
  CHECK(cudaStreamWaitEvent(b, middle, 0));
  multiply<<<8, 128, 0, b>>>(x, kCount, 3);
  CHECK(cudaEventRecord(end, b));
  CHECK(cudaEventSynchronize(end));
  float ms = -1;
  CHECK(cudaEventElapsedTime(&ms, begin, end));
  expect("streams and events", all(x, 15) && ms >= 0 && cudaEventQuery(end) == cudaSuccess && cudaStreamQuery(b) == cudaSuccess);
  expect("no time between untimed events", cudaEventElapsedTime(&ms, middle, end) == cudaErrorInvalidResourceHandle);
  cudaGetLastError();

  std::vector<std::string> log;
  struct Note {
    std::vector<std::string>* log;
    const char* text;
  } first{&log, "first"}, second{&log, "second"};
  auto note = [](void* p) { static_cast<Note*>(p)->log->push_back(static_cast<Note*>(p)->text); };
  CHECK(cudaLaunchHostFunc(a, note, &first));
  CHECK(cudaStreamAddCallback(
      a,
      [](cudaStream_t, cudaError_t e, void* p) {
        if (e == cudaSuccess) static_cast<Note*>(p)->log->push_back(static_cast<Note*>(p)->text);
      },
      &second, 0));
  CHECK(cudaStreamSynchronize(a));
  expect("host functions", log == std::vector<std::string>{"first", "second"});
  CHECK(cudaStreamDestroy(a));
  CHECK(cudaStreamDestroy(b));
  CHECK(cudaEventDestroy(begin));
  CHECK(cudaFree(x));
}

void check_graphs() {
  int *x = device(), *y = device();
  cudaStream_t s, t;
  CHECK(cudaStreamCreate(&s));
  CHECK(cudaStreamCreate(&t));
  cudaEvent_t fork, join;
  CHECK(cudaEventCreate(&fork));
  CHECK(cudaEventCreate(&join));

  // captured, with a fork and a join
  cudaGraph_t graph;
  CHECK(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
  add<<<8, 128, 0, s>>>(x, kCount, 1);
  CHECK(cudaEventRecord(fork, s));
  CHECK(cudaStreamWaitEvent(t, fork, 0));
  add<<<8, 128, 0, t>>>(y, kCount, 10);
  CHECK(cudaEventRecord(join, t));
  multiply<<<8, 128, 0, s>>>(x, kCount, 2);
  CHECK(cudaStreamWaitEvent(s, join, 0));
  CHECK(cudaMemcpyAsync(y, x, 400, cudaMemcpyDeviceToDevice, s));
  cudaStreamCaptureStatus status;
  CHECK(cudaStreamIsCapturing(s, &status));
  CHECK(cudaStreamEndCapture(s, &graph));
  size_t nodes = 0;
  CHECK(cudaGraphGetNodes(graph, nullptr, &nodes));
  expect("captured nodes", nodes == 4 && status == cudaStreamCaptureStatusActive && all(x, 0));
  cudaGraphExec_t exec;
  CHECK(cudaGraphInstantiate(&exec, graph, 0));
  for (int k = 0; k < 3; ++k) CHECK(cudaGraphLaunch(exec, s));
  CHECK(cudaStreamSynchronize(s));
  std::vector<int> v(kCount);
  CHECK(cudaMemcpy(v.data(), y, kCount * 4, cudaMemcpyDeviceToHost));
  expect("launched three times", all(x, 14) && v[0] == 14 && v[99] == 14 && v[100] == 30 && v[kCount - 1] == 30);

  // the same shape with other arguments updates the executable graph
  cudaGraph_t other;
  CHECK(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
  add<<<8, 128, 0, s>>>(x, kCount, 100);
  CHECK(cudaEventRecord(fork, s));
  CHECK(cudaStreamWaitEvent(t, fork, 0));
  add<<<8, 128, 0, t>>>(y, kCount, 1000);
  CHECK(cudaEventRecord(join, t));
  multiply<<<8, 128, 0, s>>>(x, kCount, 1);
  CHECK(cudaStreamWaitEvent(s, join, 0));
  CHECK(cudaMemcpyAsync(y, x, 40, cudaMemcpyDeviceToDevice, s));
  CHECK(cudaStreamEndCapture(s, &other));
  cudaGraphExecUpdateResultInfo info;
  CHECK(cudaGraphExecUpdate(exec, other, &info));
  CHECK(cudaGraphLaunch(exec, s));
  CHECK(cudaStreamSynchronize(s));
  CHECK(cudaMemcpy(v.data(), y, kCount * 4, cudaMemcpyDeviceToHost));
  expect("updated", info.result == cudaGraphExecUpdateSuccess && all(x, 114) && v[9] == 114 && v[10] == 1014 && v[200] == 1030);
  cudaGraph_t smaller;
  CHECK(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
  add<<<8, 128, 0, s>>>(x, kCount, 100);
  CHECK(cudaStreamEndCapture(s, &smaller));
  expect("another shape is refused", cudaGraphExecUpdate(exec, smaller, &info) == cudaErrorGraphExecUpdateFailure);
  cudaGetLastError();
  CHECK(cudaGraphExecDestroy(exec));
  CHECK(cudaGraphDestroy(graph));

  // built by hand: memset, kernel, host function, a child graph
  CHECK(cudaGraphCreate(&graph, 0));
  cudaGraphNode_t fill, kernel, call, child;
  cudaMemsetParams set{};
  set.dst = x, set.elementSize = 4, set.value = 6, set.width = kCount, set.height = 1;
  CHECK(cudaGraphAddMemsetNode(&fill, graph, nullptr, 0, &set));
  int count = kCount, k = 7;
  void* arguments[] = {&x, &count, &k};
  cudaKernelNodeParams launch{};
  launch.func = reinterpret_cast<void*>(multiply), launch.gridDim = dim3(8), launch.blockDim = dim3(128), launch.kernelParams = arguments;
  CHECK(cudaGraphAddKernelNode(&kernel, graph, &fill, 1, &launch));
  static int called = 0;
  cudaHostNodeParams host{};
  host.fn = [](void* p) { ++*static_cast<int*>(p); }, host.userData = &called;
  CHECK(cudaGraphAddHostNode(&call, graph, &kernel, 1, &host));
  CHECK(cudaGraphAddChildGraphNode(&child, graph, &call, 1, smaller));
  cudaGraph_t clone;
  CHECK(cudaGraphClone(&clone, graph));
  CHECK(cudaGraphInstantiate(&exec, clone, 0));
  CHECK(cudaGraphLaunch(exec, s));
  CHECK(cudaStreamSynchronize(s));
  expect("built by hand", all(x, 142) && called == 1);
  cudaGraphNode_t cloned;
  CHECK(cudaGraphNodeFindInClone(&cloned, kernel, clone));
  k = 2;
  CHECK(cudaGraphExecKernelNodeSetParams(exec, cloned, &launch));
  CHECK(cudaGraphLaunch(exec, s));
  CHECK(cudaStreamSynchronize(s));
  expect("other parameters in an executable graph", all(x, 112) && called == 2);

  // memory that lives in a graph
  CHECK(cudaStreamBeginCapture(s, cudaStreamCaptureModeRelaxed));
  int* temporary;
  CHECK(cudaMallocAsync(&temporary, kCount * 4, s));
  CHECK(cudaMemsetAsync(temporary, 0, kCount * 4, s));
  add<<<8, 128, 0, s>>>(temporary, kCount, 77);
  CHECK(cudaMemcpyAsync(y, temporary, kCount * 4, cudaMemcpyDeviceToDevice, s));
  CHECK(cudaFreeAsync(temporary, s));
  CHECK(cudaStreamEndCapture(s, &other));
  CHECK(cudaGraphInstantiate(&exec, other, 0));
  CHECK(cudaGraphLaunch(exec, s));
  CHECK(cudaGraphLaunch(exec, s));
  CHECK(cudaStreamSynchronize(s));
  expect("allocation in a graph", all(y, 77));

  CHECK(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
  expect("no synchronisation while capturing", cudaStreamSynchronize(s) == cudaErrorStreamCaptureUnsupported);
  expect("the capture is lost", cudaStreamEndCapture(s, &other) == cudaErrorStreamCaptureInvalidated);
  cudaGetLastError();
}

void check_memory() {
  cudaStream_t s;
  CHECK(cudaStreamCreate(&s));
  cudaMemPool_t pool;
  CHECK(cudaDeviceGetDefaultMemPool(&pool, 0));
  uint64_t keep = ~0ull, used = 1;
  CHECK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep));
  int *a, *b;
  CHECK(cudaMallocAsync(&a, kCount * 4, s));
  CHECK(cudaMemsetAsync(a, 0, kCount * 4, s));
  add<<<8, 128, 0, s>>>(a, kCount, 4);
  std::vector<int> v(kCount);
  CHECK(cudaMemcpyAsync(v.data(), a, kCount * 4, cudaMemcpyDeviceToHost, s));
  CHECK(cudaFreeAsync(a, s));
  CHECK(cudaMallocAsync(&b, kCount * 4, s));
  CHECK(cudaFreeAsync(b, s));
  CHECK(cudaStreamSynchronize(s));
  CHECK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used));
  CHECK(cudaMemPoolTrimTo(pool, 0));
  expect("the default pool", v[kCount - 1] == 4 && used == 0);
  cudaMemPoolProps props{};
  props.allocType = cudaMemAllocationTypePinned, props.location = {cudaMemLocationTypeDevice, 0};
  CHECK(cudaMemPoolCreate(&pool, &props));
  CHECK(cudaMallocFromPoolAsync(&a, 1 << 16, pool, s));
  CHECK(cudaFreeAsync(a, s));
  CHECK(cudaStreamSynchronize(s));
  CHECK(cudaMemPoolDestroy(pool));

  int* managed;
  CHECK(cudaMallocManaged(&managed, kCount * 4));
  std::iota(managed, managed + kCount, 0);
  CHECK(cudaMemAdvise(managed, kCount * 4, cudaMemAdviseSetReadMostly, {cudaMemLocationTypeDevice, 0}));
  CHECK(cudaMemPrefetchAsync(managed, kCount * 4, {cudaMemLocationTypeDevice, 0}, 0, s));
  multiply<<<8, 128, 0, s>>>(managed, kCount, 3);
  CHECK(cudaStreamSynchronize(s));
  expect("managed memory", managed[0] == 0 && managed[999] == 2997);

  int *pinned, *mapped, *seen;
  CHECK(cudaMallocHost(&pinned, kCount * 4));
  CHECK(cudaHostAlloc(&mapped, kCount * 4, cudaHostAllocMapped));
  CHECK(cudaHostGetDevicePointer(&seen, mapped, 0));
  for (int i = 0; i < kCount; ++i) mapped[i] = pinned[i] = i;
  add<<<8, 128, 0, s>>>(seen, kCount, 1);
  add<<<8, 128, 0, s>>>(pinned, kCount, 2);
  std::vector<int> own(kCount, 5);
  CHECK(cudaHostRegister(own.data(), kCount * 4, cudaHostRegisterDefault));
  add<<<8, 128, 0, s>>>(own.data(), kCount, 3);
  CHECK(cudaStreamSynchronize(s));
  CHECK(cudaHostUnregister(own.data()));
  cudaPointerAttributes at{};
  CHECK(cudaPointerGetAttributes(&at, pinned));
  expect("pinned memory", mapped[9] == 10 && pinned[9] == 11 && own[9] == 8 && at.type == cudaMemoryTypeHost);
  CHECK(cudaPointerGetAttributes(&at, managed));
  expect("attributes of pointers", at.type == cudaMemoryTypeManaged && at.device == 0);
  CHECK(cudaFreeHost(pinned));
  CHECK(cudaFreeHost(mapped));

  char* pitched;
  size_t pitch;
  CHECK(cudaMallocPitch(&pitched, &pitch, 100, 20));
  CHECK(cudaMemset2D(pitched, pitch, 7, 100, 20));
  std::vector<char> rows(20 * 100), part(10 * 50, 1);
  CHECK(cudaMemcpy2D(pitched + 3 * pitch + 5, pitch, part.data(), 50, 50, 10, cudaMemcpyHostToDevice));
  CHECK(cudaMemcpy2DAsync(rows.data(), 100, pitched, pitch, 100, 20, cudaMemcpyDeviceToHost, s));
  CHECK(cudaStreamSynchronize(s));
  bool ok = true;
  for (int y = 0; y < 20; ++y)
    for (int x = 0; x < 100; ++x) ok &= rows[y * 100 + x] == (y >= 3 && y < 13 && x >= 5 && x < 55 ? 1 : 7);
  cudaPitchedPtr cube;
  CHECK(cudaMalloc3D(&cube, make_cudaExtent(16, 4, 3)));
  CHECK(cudaMemset3D(cube, 9, make_cudaExtent(16, 4, 3)));
  std::vector<char> flat(16 * 4 * 3);
  cudaMemcpy3DParms copy{};
  copy.srcPtr = cube, copy.dstPtr = make_cudaPitchedPtr(flat.data(), 16, 16, 4), copy.extent = make_cudaExtent(16, 4, 3);
  copy.kind = cudaMemcpyDeviceToHost;
  CHECK(cudaMemcpy3D(&copy));
  expect("pitched memory", ok && pitch >= 100 && flat == std::vector<char>(16 * 4 * 3, 9));

  const int values[4] = {1, 2, 3, 4};
  int back[4], *address;
  size_t bytes;
  CHECK(cudaMemcpyToSymbolAsync(variable, values, sizeof values, 0, cudaMemcpyHostToDevice, s));
  CHECK(cudaGetSymbolAddress(reinterpret_cast<void**>(&address), variable));
  CHECK(cudaGetSymbolSize(&bytes, variable));
  add<<<1, 32, 0, s>>>(address, 4, 10);
  CHECK(cudaMemcpyFromSymbolAsync(back, variable, sizeof back, 0, cudaMemcpyDeviceToHost, s));
  CHECK(cudaStreamSynchronize(s));
  expect("symbols", bytes == 16 && back[0] == 11 && back[3] == 14);
  size_t available, total;
  CHECK(cudaMemGetInfo(&available, &total));
  void* huge;
  expect("out of memory", cudaMalloc(&huge, total + 1) == cudaErrorMemoryAllocation && available <= total);
  expect("the last error", cudaPeekAtLastError() == cudaErrorMemoryAllocation && cudaGetLastError() == cudaErrorMemoryAllocation &&
                               cudaGetLastError() == cudaSuccess);
}

void check_attributes() {
  cudaDeviceProp prop;
  CHECK(cudaGetDeviceProperties(&prop, 0));
  int sms, count, version;
  CHECK(cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, 0));
  CHECK(cudaGetDeviceCount(&count));
  CHECK(cudaRuntimeGetVersion(&version));
  expect("device",
         count >= 1 && sms == prop.multiProcessorCount && prop.warpSize == 32 && prop.maxThreadsPerBlock == 1024 && version >= 12080);
  cudaFuncAttributes f;
  CHECK(cudaFuncGetAttributes(&f, add));
  int blocks, size, grid;
  CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, add, 256, 0));
  CHECK(cudaOccupancyMaxPotentialBlockSize(&grid, &size, add, 0, 0));
  expect("function", f.maxThreadsPerBlock <= 1024 && f.sharedSizeBytes == 0 && blocks >= 1 && size >= 32 && grid >= sms);
  add<<<1, 2048>>>(nullptr, 0, 0);
  expect("too many threads", cudaGetLastError() == cudaErrorInvalidConfiguration);
  expect("an unknown device", cudaSetDevice(77) == cudaErrorInvalidDevice);
  cudaGetLastError();
  expect("names of errors", !strcmp(cudaGetErrorName(cudaErrorInvalidValue), "cudaErrorInvalidValue") &&
                                !strcmp(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory"));
}

}  // namespace

int main() {
  check_streams();
  check_graphs();
  check_memory();
  check_attributes();
  return bad != 0;
}
