// Cooperative groups, cuda::barrier, cuda::pipeline, cuda::atomic_ref and the warp's own instructions.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>

#include <cstdio>
#include <cuda/atomic>
#include <cuda/barrier>
#include <cuda/pipeline>
#include <vector>
namespace cg = cooperative_groups;
#define CHECK(c_)                                                    \
  do {                                                               \
    cudaError_t e = (c_);                                            \
    if (e != cudaSuccess) {                                          \
      printf("FAIL line %d: %s\n", __LINE__, cudaGetErrorString(e)); \
      return 1;                                                      \
    }                                                                \
  } while (0)
__device__ int bad;
#define EXPECT(c_)                                                    \
  do {                                                                \
    if (!(c_)) {                                                      \
      atomicAdd(&bad, 1);                                             \
      printf("FAIL line %d thread %d\n", __LINE__, int(threadIdx.x)); \
    }                                                                 \
  } while (0)
__global__ void grid_kernel(int* data, int rounds) {
  cg::grid_group grid = cg::this_grid();
  for (int r = 0; r < rounds; ++r) {
    data[grid.thread_rank()] += 1;
    grid.sync();
    const int next = data[(grid.thread_rank() + 32) % grid.size()];
    EXPECT(next == r + 1);
    grid.sync();
  }
}
__global__ void group_kernel() {
  cg::thread_block block = cg::this_thread_block();
  auto warp = cg::tiled_partition<32>(block);
  auto tile = cg::tiled_partition<8>(block);
  const int t = int(block.thread_rank());
  EXPECT(cg::reduce(warp, t, cg::plus<int>()) == (t / 32) * 32 * 32 + 496);
  EXPECT(cg::reduce(tile, t, cg::greater<int>()) == (t | 7));
  EXPECT(cg::reduce(tile, 1.5f * t, cg::less<float>()) == 1.5f * (t & ~7));
  EXPECT(cg::inclusive_scan(tile, 1) == t % 8 + 1);
  EXPECT(cg::exclusive_scan(warp, 2) == t % 32 * 2);
  EXPECT(tile.shfl(t, 3) == (t & ~7) + 3 && tile.shfl_xor(t, 1) == (t ^ 1) && tile.any(t % 8 == 2) && !tile.all(t % 8 == 2));
  EXPECT(tile.ballot(t % 2) == 0xaa && tile.match_any(t % 4) == (0x11u << t % 4));
  if (t % 3 == 0) {
    auto active = cg::coalesced_threads();
    EXPECT(active.size() >= 10);
    EXPECT(cg::reduce(active, 1, cg::plus<int>()) == int(active.size()));
    EXPECT(active.shfl(t, 0) == (t / 32 * 32 + 2) / 3 * 3);
  }
  auto part = cg::labeled_partition(warp, t % 5);
  EXPECT(part.size() == (t % 32 < 32 ? __popc(__match_any_sync(~0u, t % 5)) : 0));
  auto binary = cg::binary_partition(warp, t % 4 == 1);
  EXPECT(binary.size() == (t % 4 == 1 ? 8 : 24));
  block.sync();
}
__global__ void copy_kernel(const int* in, int* out, int n) {
  extern __shared__ int stage[];
  cg::thread_block block = cg::this_thread_block();
  constexpr int depth = 2;
  __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, depth> state;
  auto pipe = cuda::make_pipeline(block, &state);
  const int chunk = int(block.size());
  int sum = 0;
  for (int step = 0, issued = 0; step < n / chunk; ++step) {
    for (; issued < n / chunk && issued < step + depth; ++issued) {
      pipe.producer_acquire();
      cuda::memcpy_async(block, stage + issued % depth * chunk, in + issued * chunk, cuda::aligned_size_t<16>(sizeof(int) * chunk), pipe);
      pipe.producer_commit();
    }
    pipe.consumer_wait();
    sum += stage[step % depth * chunk + (threadIdx.x + 1) % chunk];
    pipe.consumer_release();
  }
  block.sync();
  cg::memcpy_async(block, stage, in, sizeof(int) * chunk);
  cg::wait(block);
  out[threadIdx.x] = sum + stage[(threadIdx.x + 5) % chunk];
}
__global__ void barrier_kernel(int* out) {
  __shared__ cuda::barrier<cuda::thread_scope_block> bar;
  __shared__ int v[128];
  if (threadIdx.x == 0) init(&bar, blockDim.x);
  __syncthreads();
  for (int r = 0; r < 4; ++r) {
    v[threadIdx.x] = int(threadIdx.x) + r;
    auto token = bar.arrive();
    bar.wait(std::move(token));
    EXPECT(v[(threadIdx.x + 1) % 128] == int((threadIdx.x + 1) % 128) + r);
    bar.arrive_and_wait();
  }
  out[threadIdx.x] = 1;
}
template <class T>
__device__ void atomic_all(T* p) {
  cuda::atomic_ref<T, cuda::thread_scope_device> a(*p);
  a.fetch_add(T(1), cuda::memory_order_relaxed);
  a.fetch_add(T(1), cuda::memory_order_acq_rel);
  a.fetch_add(T(1), cuda::memory_order_seq_cst);
  a.fetch_sub(T(1), cuda::memory_order_release);
  T old = a.load(cuda::memory_order_acquire);
  while (!a.compare_exchange_weak(old, old + T(2), cuda::memory_order_acq_rel)) {
  }
  cuda::atomic_ref<T, cuda::thread_scope_system> s(*p);
  s.fetch_add(T(1));
  cuda::atomic_ref<T, cuda::thread_scope_block> b(*p);
  b.fetch_add(T(1));
}
__global__ void atomic_kernel(int* i, unsigned long long* u, float* f, double* d, unsigned* flags, short* s, unsigned char* c) {
  atomic_all(i);
  atomic_all(u);
  cuda::atomic_ref<float, cuda::thread_scope_device>(*f).fetch_add(0.5f);
  cuda::atomic_ref<double, cuda::thread_scope_device>(*d).fetch_add(0.25);
  cuda::atomic_ref<unsigned, cuda::thread_scope_device> g(flags[0]);
  g.fetch_max(threadIdx.x);
  cuda::atomic_ref<unsigned, cuda::thread_scope_device>(flags[1]).fetch_or(1u << threadIdx.x % 32);
  cuda::atomic_ref<unsigned, cuda::thread_scope_device>(flags[2]).fetch_xor(threadIdx.x);
  cuda::atomic_ref<unsigned, cuda::thread_scope_device>(flags[3]).fetch_and(~(1u << threadIdx.x % 16));
  cuda::atomic_ref<short, cuda::thread_scope_device>(*s).fetch_add(short(1));
  cuda::atomic_ref<unsigned char, cuda::thread_scope_device>(*c).fetch_add((unsigned char)1);
  atomicInc(&flags[4], 6u);
  atomicDec(&flags[5], 9u);
  atomicExch_block(&flags[6], 5u);
  atomicCAS_system(&flags[7], 0u, 77u);
}
#if __CUDA_ARCH__ >= 900 || !defined(__CUDA_ARCH__)
__global__ void __cluster_dims__(4, 1, 1) cluster_kernel(int* out) {
  __shared__ int v[64];
  cg::cluster_group cluster = cg::this_cluster();
  v[threadIdx.x] = int(cluster.block_rank()) * 1000 + int(threadIdx.x);
  cluster.sync();
  const int next = int(cluster.block_rank() + 1) % 4;
  int* remote = cluster.map_shared_rank(v, next);
  out[blockIdx.x * 64 + threadIdx.x] = remote[63 - threadIdx.x];
  cluster.sync();
  atomicAdd(cluster.map_shared_rank(&v[0], 0), 1);
  auto token = cluster.barrier_arrive();
  cluster.barrier_wait(std::move(token));
  if (cluster.block_rank() == 0 && threadIdx.x == 0) EXPECT(v[0] == 256);
  cluster.sync();
}
#else
__global__ void cluster_kernel(int*) {}
#endif
int main() {
  const int zero = 0;
  cudaMemcpyToSymbol(bad, &zero, 4);
  int* data;
  CHECK(cudaMalloc(&data, 4096));
  CHECK(cudaMemset(data, 0, 4096));
  int rounds = 3;
  void* args[] = {&data, &rounds};
  CHECK(cudaLaunchCooperativeKernel((void*)grid_kernel, dim3(4), dim3(64), args, 0, 0));
  CHECK(cudaDeviceSynchronize());
  group_kernel<<<2, 96>>>();
  CHECK(cudaDeviceSynchronize());
  std::vector<int> in(1024), out(256);
  for (int i = 0; i < 1024; ++i) in[i] = i * 7 % 1000;
  int* din;
  CHECK(cudaMalloc(&din, 4096));
  CHECK(cudaMemcpy(din, in.data(), 4096, cudaMemcpyHostToDevice));
  copy_kernel<<<1, 128, 2 * 128 * 4>>>(din, data, 1024);
  CHECK(cudaDeviceSynchronize());
  CHECK(cudaMemcpy(out.data(), data, 512, cudaMemcpyDeviceToHost));
  int wrong = 0;
  for (int t = 0; t < 128; ++t) {
    int want = in[(t + 5) % 128];
    for (int k = 0; k < 8; ++k) want += in[k * 128 + (t + 1) % 128];
    wrong += out[t] != want;
  }
  printf(wrong ? "FAIL copy %d\n" : "ok pipeline\n", wrong);
  barrier_kernel<<<1, 128>>>(data);
  CHECK(cudaDeviceSynchronize());
  struct {
    unsigned long long u;
    double d;
    float f;
    int i;
    unsigned flags[8];
    short s;
    unsigned char c;
  } h{}, *p;
  h.flags[3] = ~0u;
  h.flags[5] = 3;
  CHECK(cudaMalloc(&p, sizeof h));
  CHECK(cudaMemcpy(p, &h, sizeof h, cudaMemcpyHostToDevice));
  atomic_kernel<<<2, 64>>>(&p->i, &p->u, &p->f, &p->d, p->flags, &p->s, &p->c);
  CHECK(cudaDeviceSynchronize());
  CHECK(cudaMemcpy(&h, p, sizeof h, cudaMemcpyDeviceToHost));
  bool ok = h.i == 128 * 6 && h.u == 128 * 6 && h.f == 64 && h.d == 32 && h.flags[0] == 63 && h.flags[1] == ~0u && h.flags[2] == 0 &&
            h.flags[3] == 0xffff0000u && h.s == 128 && h.c == 128 && h.flags[4] == 128 % 7 && h.flags[6] == 5 && h.flags[7] == 77;
  printf(ok ? "ok atomics\n" : "FAIL atomics %d %llu %g %g %u %x %x %x %d %d\n", h.i, h.u, h.f, h.d, h.flags[0], h.flags[1], h.flags[2],
         h.flags[3], h.s, h.c);
  cudaDeviceProp prop;
  cudaGetDeviceProperties(&prop, 0);
  bool cluster = true;
  if (prop.major >= 9) {
    cluster_kernel<<<8, 64>>>(data);
    CHECK(cudaDeviceSynchronize());
    std::vector<int> c(512);
    CHECK(cudaMemcpy(c.data(), data, 2048, cudaMemcpyDeviceToHost));
    for (int b = 0; b < 8; ++b)
      for (int t = 0; t < 64; ++t) {
        const int want = (b + 1) % 4 * 1000 + 63 - t;
        cluster &= c[b * 64 + t] == want;
      }
  }
  int n;
  cudaMemcpyFromSymbol(&n, bad, 4);
  printf(n || !cluster ? "FAIL groups %d\n" : "ok groups\n", n);
  return n || wrong || !ok || !cluster;
}
