// detect_sync.cu - planted bugs in barriers, collectives and cp.async groups; schedules that must make progress.
#include <cooperative_groups.h>

#include "detect.h"
#include "gpu/gpu.cuh"
#include "gpu/ptx.cuh"

namespace {

template <bool Bug>
__global__ void half_barrier(int* out) {
  if (!Bug || threadIdx.x < 64) asm volatile("bar.sync 1, 128;" ::: "memory");  // planted: deadlock, missing threads
  out[threadIdx.x] = 1;
}

template <bool Bug>
__global__ void divergent_barrier(int* out) {
  if (Bug && threadIdx.x % 2) {
    asm volatile("bar.sync 2, 64;" ::: "memory");
  } else {
    asm volatile("bar.sync 1, 64;" ::: "memory");  // planted: divergent barrier
  }
  out[threadIdx.x] = 1;
}

template <bool Bug>
__global__ void divergent_shuffle(int* out) {
  int v = int(threadIdx.x);
  if (!Bug || threadIdx.x < 16) v = __shfl_xor_sync(0xffffffffu, v, 1);  // planted: divergent shuffle
  if (Bug && threadIdx.x >= 16) v = __shfl_xor_sync(0xffffffffu, v + 1, 2);
  out[threadIdx.x] = v;
}

template <bool Bug>
__global__ void outside_mask(int* out) {
  out[threadIdx.x] = __shfl_sync(Bug ? 0xffffu : ~0u, int(threadIdx.x), 0);  // planted: lane outside its mask
}

template <bool Bug>
__global__ void different_counts(int* out) {
  const int threads = Bug && threadIdx.x >= 32 ? 96 : 64;
  asm volatile("bar.sync 1, %0;" ::"r"(threads) : "memory");  // planted: barrier with different counts
  out[threadIdx.x] = 1;
}

template <bool Bug>
__global__ void spin(volatile int* flag, int* out) {
  if (threadIdx.x == 0 && !Bug) *flag = 1;
  if (threadIdx.x == 32)
    while (*flag == 0) {  // planted: livelock
    }
  out[threadIdx.x] = 1;
}

template <bool Bug>
__global__ void early_read(float* out, const float* in) {
  __shared__ __align__(16) float tile[2][128];
  for (int stage = 0; stage < 2; ++stage) {
    ptx::cp_async_16(ptx::smem_addr(&tile[stage][threadIdx.x * 4]), in + stage * 128 + threadIdx.x * 4);
    ptx::cp_async_commit();
  }
  ptx::cp_async_wait<1>();
  __syncthreads();
  float s = tile[0][threadIdx.x];
  if (!Bug) {
    ptx::cp_async_wait<0>();
    __syncthreads();
  }
  s += tile[1][threadIdx.x];  // planted: read before cp.async.wait_group
  ptx::cp_async_wait<0>();
  out[threadIdx.x] = s;
}

template <bool Bug>
__global__ void overwritten_copy(float* out, const float* in) {
  __shared__ __align__(16) float tile[128];
  ptx::cp_async_16(ptx::smem_addr(&tile[threadIdx.x * 4]), in + threadIdx.x * 4);
  ptx::cp_async_commit();
  if (!Bug) ptx::cp_async_wait<0>();
  tile[threadIdx.x * 4] = 1.0f;  // planted: write before cp.async.wait_group
  ptx::cp_async_wait<0>();
  out[threadIdx.x] = tile[threadIdx.x * 4];
}

template <bool Bug>
__global__ void forgotten_wait(float* out, const float* in) {
  __shared__ __align__(16) float tile[128];
  out[threadIdx.x] = 0.0f;
  ptx::cp_async_16(ptx::smem_addr(&tile[threadIdx.x * 4]), in + threadIdx.x * 4);
  ptx::cp_async_commit();
  if (!Bug) ptx::cp_async_wait<0>();
}  // planted: exit with cp.async in flight

// ---- schedules ----

// All blocks wait for each other; the waiting loop has block-wide barriers and writes shared memory.
__global__ void grid_barrier(int* arrived, int* out) {
  __shared__ int go;
  for (int round = 1; round <= 3; ++round) {
    __syncthreads();
    if (threadIdx.x == 0) {
      __threadfence();
      atomicAdd(arrived, 1);
    }
    do {
      __syncthreads();
      if (threadIdx.x == 0) go = *static_cast<volatile int*>(arrived) >= round * int(gridDim.x);
      __syncthreads();
    } while (!go);
  }
  out[blockIdx.x] = 1;
}
__global__ void cooperative(int* out) {
  cooperative_groups::this_grid().sync();
  out[blockIdx.x] = 1;
}

void check_barriers() {
  DeviceBuffer<int> out(256), flag(std::vector<int>(1, 0));
  EXPECT_PLANTED("deadlock, missing threads", half_barrier, "deadlock", <<<1, 128>>>(out.get()));
  EXPECT_PLANTED("divergent barrier", divergent_barrier, "deadlock", <<<1, 64>>>(out.get()));
  EXPECT_PLANTED("divergent shuffle", divergent_shuffle, "deadlock", <<<1, 32>>>(out.get()));
  EXPECT_PLANTED("lane outside its mask", outside_mask, "not in the member mask", <<<1, 32>>>(out.get()));
  EXPECT_PLANTED("barrier with different counts", different_counts, "thread count", <<<1, 64>>>(out.get()));
  EXPECT_PLANTED("livelock", spin, "livelock", <<<1, 64>>>(flag.get(), out.get()));
}

void check_copies() {
  DeviceBuffer<float> out(128), in(std::vector<float>(256, 1.0f));
  EXPECT_PLANTED("read before cp.async.wait_group", early_read, "has not waited for", <<<1, 32>>>(out.get(), in.get()));
  EXPECT_PLANTED("write before cp.async.wait_group", overwritten_copy, "has not waited for", <<<1, 32>>>(out.get(), in.get()));
  EXPECT_PLANTED("exit with cp.async in flight", forgotten_wait, "never waited for", <<<1, 32>>>(out.get(), in.get()));
}

void check_schedules() {
  DeviceBuffer<int> out(16), arrived(std::vector<int>(1, 0));
  int* p = out.get();
  void* arguments[] = {&p};
  for (const unsigned long long seed : {0, 1, 2, 3}) {
    simSetSeed(seed);
    cudaMemset(arrived.get(), 0, 4);
    expect_clean("two resident blocks wait for each other", [&] { grid_barrier<<<2, 96>>>(arrived.get(), out.get()); });
    expect_clean("grid.sync",
                 [&] { cudaLaunchCooperativeKernel(reinterpret_cast<void*>(cooperative), dim3(16), dim3(64), arguments, 0, nullptr); });
  }
}

}  // namespace

int main() {
  check_barriers();
  check_copies();
  check_schedules();
  return report();
}
