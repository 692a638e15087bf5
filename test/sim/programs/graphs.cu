// Graphs: captured and built by hand, launched, updated; memory of graphs and of pools; queues that wait for each other.
#include <atomic>
#include <cstdio>
#include <vector>

#define CHECK(c_)                                                    \
  do {                                                               \
    cudaError_t e = (c_);                                            \
    if (e != cudaSuccess) {                                          \
      printf("FAIL line %d: %s\n", __LINE__, cudaGetErrorString(e)); \
      return 1;                                                      \
    }                                                                \
  } while (0)
#define EXPECT(c_)                                 \
  do {                                             \
    if (!(c_)) {                                   \
      printf("FAIL line %d: " #c_ "\n", __LINE__); \
      return 1;                                    \
    }                                              \
  } while (0)

constexpr int N = 1000;

__global__ void add(int* p, int n, int value) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) p[i] += value;
}
__global__ void sum_into(int* out, const int* a, const int* b, int n) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) out[i] = a[i] + b[i];
}
__global__ void scale(int* p, int n, int factor) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) p[i] *= factor;
}

std::vector<int> read(const int* p) {
  std::vector<int> v(N);
  cudaMemcpy(v.data(), p, N * sizeof(int), cudaMemcpyDeviceToHost);
  return v;
}
bool all(const int* p, int want) {
  for (int x : read(p))
    if (x != want) {
      printf("  got %d, want %d\n", x, want);
      return false;
    }
  return true;
}

// Two branches that meet: out = (a + 1) + (b + 2), and what a repeated capture changes.
int capture() {
  int *a, *b, *out;
  CHECK(cudaMalloc(&a, N * sizeof(int)));
  CHECK(cudaMalloc(&b, N * sizeof(int)));
  CHECK(cudaMalloc(&out, N * sizeof(int)));
  cudaStream_t main, side;
  CHECK(cudaStreamCreateWithFlags(&main, cudaStreamNonBlocking));
  CHECK(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
  cudaEvent_t fork, join;
  CHECK(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
  CHECK(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
  auto record = [&](int one, int two, cudaGraph_t* graph) {
    CHECK(cudaStreamBeginCapture(main, cudaStreamCaptureModeGlobal));
    CHECK(cudaMemsetAsync(a, 0, N * sizeof(int), main));
    CHECK(cudaEventRecord(fork, main));
    CHECK(cudaStreamWaitEvent(side, fork, 0));
    CHECK(cudaMemsetAsync(b, 0, N * sizeof(int), side));
    add<<<4, 256, 0, main>>>(a, N, one);
    add<<<4, 256, 0, side>>>(b, N, two);
    CHECK(cudaEventRecord(join, side));
    CHECK(cudaStreamWaitEvent(main, join, 0));
    sum_into<<<4, 256, 0, main>>>(out, a, b, N);
    CHECK(cudaStreamEndCapture(main, graph));
    return 0;
  };
  cudaGraph_t graph, changed;
  if (record(1, 2, &graph)) return 1;
  size_t nodes = 0, roots = 0, edges = 0;
  CHECK(cudaGraphGetNodes(graph, nullptr, &nodes));
  CHECK(cudaGraphGetRootNodes(graph, nullptr, &roots));
  CHECK(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &edges));
  EXPECT(nodes == 5 && roots == 1 && edges == 5);
  cudaGraphExec_t exec;
  CHECK(cudaGraphInstantiate(&exec, graph, 0));
  for (int k = 0; k < 3; ++k) CHECK(cudaGraphLaunch(exec, main));
  CHECK(cudaStreamSynchronize(main));
  EXPECT(all(out, 3));

  if (record(10, 20, &changed)) return 1;
  cudaGraphExecUpdateResultInfo info;
  CHECK(cudaGraphExecUpdate(exec, changed, &info));
  EXPECT(info.result == cudaGraphExecUpdateSuccess);
  CHECK(cudaGraphLaunch(exec, main));
  CHECK(cudaStreamSynchronize(main));
  EXPECT(all(out, 30));

  // Another shape is refused, and the executable graph stays as it was.
  cudaGraph_t other;
  CHECK(cudaGraphCreate(&other, 0));
  cudaGraphNode_t empty;
  CHECK(cudaGraphAddEmptyNode(&empty, other, nullptr, 0));
  EXPECT(cudaGraphExecUpdate(exec, other, &info) == cudaErrorGraphExecUpdateFailure);
  EXPECT(info.result == cudaGraphExecUpdateErrorTopologyChanged);
  EXPECT(cudaGetLastError() == cudaErrorGraphExecUpdateFailure);
  CHECK(cudaGraphLaunch(exec, main));
  CHECK(cudaStreamSynchronize(main));
  EXPECT(all(out, 30));

  // What a capture forbids.
  CHECK(cudaStreamBeginCapture(main, cudaStreamCaptureModeThreadLocal));
  EXPECT(cudaStreamSynchronize(main) == cudaErrorStreamCaptureUnsupported);
  cudaStreamCaptureStatus status;
  CHECK(cudaStreamIsCapturing(main, &status));
  EXPECT(status == cudaStreamCaptureStatusInvalidated);
  cudaGraph_t none;
  EXPECT(cudaStreamEndCapture(main, &none) == cudaErrorStreamCaptureInvalidated && !none);
  cudaGetLastError();
  CHECK(cudaGraphExecDestroy(exec));
  for (cudaGraph_t g : {graph, changed, other}) CHECK(cudaGraphDestroy(g));
  for (int* p : {a, b, out}) CHECK(cudaFree(p));
  CHECK(cudaStreamDestroy(main));
  CHECK(cudaStreamDestroy(side));
  CHECK(cudaEventDestroy(fork));
  CHECK(cudaEventDestroy(join));
  return 0;
}

std::atomic<int> called{0};
void CUDART_CB count(void* by) { called += *static_cast<int*>(by); }

int by_hand() {
  int *p, *host, step = 5;
  CHECK(cudaMalloc(&p, N * sizeof(int)));
  CHECK(cudaMallocHost(&host, N * sizeof(int)));
  cudaGraph_t graph, inner;
  CHECK(cudaGraphCreate(&graph, 0));
  CHECK(cudaGraphCreate(&inner, 0));

  cudaMemsetParams zero{};
  zero.dst = p, zero.elementSize = 4, zero.value = 7, zero.width = N, zero.height = 1;
  cudaGraphNode_t set, plus, twice, times, back, call;
  CHECK(cudaGraphAddMemsetNode(&set, graph, nullptr, 0, &zero));

  int n = N, value = 3, factor = 2;
  void* plus_arguments[] = {&p, &n, &value};
  cudaKernelNodeParams k{};
  k.func = reinterpret_cast<void*>(add), k.gridDim = dim3(4), k.blockDim = dim3(256), k.kernelParams = plus_arguments;
  CHECK(cudaGraphAddKernelNode(&plus, graph, &set, 1, &k));

  void* times_arguments[] = {&p, &n, &factor};
  k.func = reinterpret_cast<void*>(scale), k.kernelParams = times_arguments;
  CHECK(cudaGraphAddKernelNode(&times, inner, nullptr, 0, &k));
  CHECK(cudaGraphAddChildGraphNode(&twice, graph, &plus, 1, inner));
  CHECK(cudaGraphAddMemcpyNode1D(&back, graph, nullptr, 0, host, p, N * sizeof(int), cudaMemcpyDeviceToHost));
  CHECK(cudaGraphAddDependencies(graph, &twice, &back, nullptr, 1));
  cudaHostNodeParams h{count, &step};
  CHECK(cudaGraphAddHostNode(&call, graph, &back, 1, &h));
  cudaGraphNodeType type;
  CHECK(cudaGraphNodeGetType(twice, &type));
  EXPECT(type == cudaGraphNodeTypeGraph);

  // A circle is found at instantiation.
  cudaGraphExec_t exec;
  CHECK(cudaGraphAddDependencies(graph, &back, &set, nullptr, 1));
  EXPECT(cudaGraphInstantiate(&exec, graph, 0) != cudaSuccess);
  cudaGetLastError();
  CHECK(cudaGraphRemoveDependencies(graph, &back, &set, nullptr, 1));

  CHECK(cudaGraphInstantiate(&exec, graph, 0));
  cudaStream_t stream;
  CHECK(cudaStreamCreate(&stream));
  CHECK(cudaGraphLaunch(exec, stream));
  CHECK(cudaStreamSynchronize(stream));
  EXPECT(host[0] == 20 && host[N - 1] == 20 && called == 5);

  value = 4;
  k.func = reinterpret_cast<void*>(add), k.kernelParams = plus_arguments;
  CHECK(cudaGraphExecKernelNodeSetParams(exec, plus, &k));
  CHECK(cudaGraphLaunch(exec, stream));
  CHECK(cudaStreamSynchronize(stream));
  EXPECT(host[0] == 22 && called == 10);
  CHECK(cudaGraphNodeSetEnabled(exec, plus, 0));
  CHECK(cudaGraphLaunch(exec, stream));
  CHECK(cudaStreamSynchronize(stream));
  EXPECT(host[0] == 14 && called == 15);

  cudaKernelNodeParams got{};
  CHECK(cudaGraphKernelNodeGetParams(plus, &got));
  EXPECT(got.func == reinterpret_cast<void*>(add) || got.gridDim.x == 4);
  EXPECT(got.gridDim.x == 4 && *static_cast<int*>(got.kernelParams[2]) == 3);

  cudaGraph_t clone;
  CHECK(cudaGraphClone(&clone, graph));
  cudaGraphNode_t same;
  CHECK(cudaGraphNodeFindInClone(&same, plus, clone));
  CHECK(cudaGraphDestroyNode(same));
  size_t nodes = 0;
  CHECK(cudaGraphGetNodes(clone, nullptr, &nodes));
  EXPECT(nodes == 4);
  for (cudaGraph_t g : {graph, inner, clone}) CHECK(cudaGraphDestroy(g));
  CHECK(cudaGraphLaunch(exec, stream));  // it needs its graph no longer
  CHECK(cudaStreamSynchronize(stream));
  CHECK(cudaGraphExecDestroy(exec));
  CHECK(cudaStreamDestroy(stream));
  CHECK(cudaFree(p));
  CHECK(cudaFreeHost(host));
  return 0;
}

std::atomic<int> destroyed{0};
void CUDART_CB destroy(void*) { ++destroyed; }

int memory() {
  cudaStream_t stream;
  CHECK(cudaStreamCreate(&stream));
  int *out, *temporary;
  CHECK(cudaMalloc(&out, N * sizeof(int)));
  cudaGraph_t graph;
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  CHECK(cudaMallocAsync(&temporary, N * sizeof(int), stream));
  CHECK(cudaMemsetAsync(temporary, 0, N * sizeof(int), stream));
  add<<<4, 256, 0, stream>>>(temporary, N, 9);
  sum_into<<<4, 256, 0, stream>>>(out, temporary, temporary, N);
  CHECK(cudaFreeAsync(temporary, stream));
  CHECK(cudaStreamEndCapture(stream, &graph));
  cudaUserObject_t object;
  CHECK(cudaUserObjectCreate(&object, nullptr, destroy, 1, cudaUserObjectNoDestructorSync));
  CHECK(cudaGraphRetainUserObject(graph, object, 1, cudaGraphUserObjectMove));
  cudaGraphExec_t exec;
  CHECK(cudaGraphInstantiate(&exec, graph, 0));
  CHECK(cudaGraphDestroy(graph));
  for (int k = 0; k < 2; ++k) CHECK(cudaGraphLaunch(exec, stream));
  CHECK(cudaStreamSynchronize(stream));
  EXPECT(all(out, 18) && destroyed == 0);
  CHECK(cudaGraphExecDestroy(exec));
  CHECK(cudaDeviceSynchronize());

  // A pool: what was freed in the stream's order comes back; the memory stays in the pool until it is trimmed.
  cudaMemPool_t pool;
  CHECK(cudaDeviceGetDefaultMemPool(&pool, 0));
  unsigned long long keep = ~0ull, used = 1, reserved = 0;
  CHECK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep));
  for (int round = 0; round < 3; ++round) {
    int* p;
    CHECK(cudaMallocAsync(&p, N * sizeof(int), stream));
    CHECK(cudaMemsetAsync(p, 0, N * sizeof(int), stream));
    add<<<4, 256, 0, stream>>>(p, N, round);
    sum_into<<<4, 256, 0, stream>>>(out, p, p, N);
    CHECK(cudaFreeAsync(p, stream));
  }
  CHECK(cudaStreamSynchronize(stream));
  EXPECT(all(out, 4));
  CHECK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used));
  CHECK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved));
  EXPECT(used == 0 && reserved > 0);
  CHECK(cudaMemPoolTrimTo(pool, 0));
  CHECK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved));
  EXPECT(reserved == 0);
  CHECK(cudaFree(out));
  CHECK(cudaStreamDestroy(stream));
  return 0;
}

int main() {
  if (capture() || by_hand() || memory()) return 1;
  printf("ok\n");
}
