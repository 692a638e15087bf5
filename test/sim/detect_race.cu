// detect_race.cu - planted data races in shared and global memory, and synchronisation that must be understood.
#include <cuda_bf16.h>

#include <cuda/atomic>

#include "detect.h"
#include "gpu/gpu.cuh"

namespace {

template <bool Bug>
__global__ void shared_race(int* out) {
  __shared__ int tile[256];
  tile[threadIdx.x] = threadIdx.x;
  if (!Bug) __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x ^ 32];  // planted: race, write then read
}

// A warp is no barrier.
template <bool Bug>
__global__ void warp_race(int* out) {
  __shared__ int tile[32];
  tile[threadIdx.x] = threadIdx.x;
  if (!Bug) __syncwarp();
  out[threadIdx.x] = tile[threadIdx.x ^ 1];  // planted: race within a warp
}

// All but the first two of many readers are after the barrier too late.
template <bool Bug>
__global__ void readers_race(int* out) {
  __shared__ int value;
  if (threadIdx.x == 0) value = 1;
  __syncthreads();
  int v = 0;
  if (threadIdx.x != 160 || !Bug) v = value;
  __syncthreads();
  if (threadIdx.x == 160 && Bug) v = value;
  if (threadIdx.x == 0) value = 2;  // planted: race, read then write
  out[threadIdx.x] = v;
}

// All lanes store to one place: the same value, or each its own.
template <bool Bug>
__global__ void together(int* out) {
  __shared__ int value;
  value = Bug ? int(threadIdx.x) : 7;  // planted: strict: lanes store different values
  __syncwarp();
  out[threadIdx.x] = value;
}

// Warps that store the same value do no harm; strict mode reports them.
__global__ void same_value(int* out) {
  __shared__ int value;
  value = out[0];
  __syncthreads();
  out[threadIdx.x] = value;
}

template <bool Bug>
__global__ void blocks_race(int* out) {
  if (threadIdx.x == 0) {
    if (Bug)
      out[0] = int(blockIdx.x);  // planted: race between blocks
    else
      out[blockIdx.x] = int(blockIdx.x);
  }
}

template <bool Bug>
__global__ void plain_and_atomic(int* out) {
  if (blockIdx.x == 0)
    atomicAdd(out, 1);
  else if (Bug)
    *out = 5;  // planted: race with an atomic
  else
    atomicExch(out, 5);
}

// The last block sums what the others left: right with a fence before the ticket.
template <bool Bug>
__global__ void last_block(int* partial, int* ticket, int* sum) {
  __shared__ bool last;
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = int(blockIdx.x) + 1;
    if (!Bug) __threadfence();
    last = atomicAdd(ticket, 1) == int(gridDim.x) - 1;
  }
  __syncthreads();
  if (!last || threadIdx.x) return;
  __threadfence();
  int s = 0;
  for (unsigned k = 0; k < gridDim.x; ++k) s += partial[k];  // planted: race, no fence before the ticket
  *sum = s;
}

// A flag in global memory between warps of one block.
template <bool Bug>
__global__ void flag_in_block(int* data, int* flag, int* out) {
  cuda::atomic_ref<int, cuda::thread_scope_device> f(*flag);
  if (threadIdx.x == 0) {
    *data = 42;
    f.store(1, Bug ? cuda::memory_order_relaxed : cuda::memory_order_release);
  }
  if (threadIdx.x == 32) {
    while (f.load(cuda::memory_order_acquire) == 0) {
    }
    *out = *data;  // planted: race, relaxed flag
  }
}

// Written after the release: the reader may miss it.
template <bool Bug>
__global__ void late_write(int* data, int* flag, int* out) {
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    data[0] = 1;
    if (!Bug) data[1] = 2;
    __threadfence();
    if (Bug) data[1] = 2;
    atomicExch(flag, 1);
  }
  if (blockIdx.x == 1 && threadIdx.x == 0) {
    while (atomicAdd(flag, 0) == 0) {
    }
    __threadfence();
    *out = data[0] + data[1];  // planted: race, written after the fence
  }
}

// The block's other threads must wait for the one that saw the flag.
template <bool Bug>
__global__ void flag_needs_barrier(int* data, int* flag, int* out) {
  if (blockIdx.x == 0) {
    if (threadIdx.x == 0) {
      *data = 7;
      __threadfence();
      atomicExch(flag, 1);
    }
    return;
  }
  if (threadIdx.x == 0)
    while (atomicAdd(flag, 0) == 0) {
    }
  __threadfence();
  if (!Bug) __syncthreads();
  out[threadIdx.x] = *data;  // planted: race, no barrier after the flag
}

__global__ void add_bf16x2(__nv_bfloat162* sum) { atomicAdd(sum, __floats2bfloat162_rn(1.0f, 2.0f)); }

__global__ void max_by_cas(float* to, const float* in) {
  int* a = reinterpret_cast<int*>(to);
  int old = *a, seen;
  const float v = in[blockIdx.x * blockDim.x + threadIdx.x];
  do {
    seen = old;
    old = atomicCAS(a, seen, __float_as_int(fmaxf(v, __int_as_float(seen))));
  } while (seen != old);
}

void check_races() {
  DeviceBuffer<int> out(std::vector<int>(256, 0)), a(std::vector<int>(64, 0)), b(std::vector<int>(64, 0));
  const auto clear = [&] { cudaMemset(a.get(), 0, 256), cudaMemset(b.get(), 0, 256); };
  EXPECT_PLANTED("race, write then read", shared_race, "data race on shared", <<<1, 256>>>(out.get()));
  EXPECT_PLANTED("race within a warp", warp_race, "data race on shared", <<<1, 32>>>(out.get()));
  expect_detected(__FILE__, "race, read then write", "readers_race", "data race on shared",
                  [&] { readers_race<true><<<1, 192>>>(out.get()); });
  expect_clean("race, read then write", [&] { readers_race<false><<<1, 192>>>(out.get()); });
  expect_clean("race, warps store the same value", [&] { same_value<<<1, 64>>>(out.get()); });
  simSetStrict(1);
  EXPECT_PLANTED("strict: lanes store different values", together, "store different values", <<<1, 32>>>(out.get()));
  expect_error("strict: warps store the same value", "data race on shared",
               [&] { same_value<<<1, 64>>>(out.get()), cudaDeviceSynchronize(); });
  simSetStrict(0);
  EXPECT_PLANTED("race between blocks", blocks_race, "of another block", <<<4, 32>>>(out.get()));
  EXPECT_PLANTED("race with an atomic", plain_and_atomic, "data race on global", <<<2, 1>>>(out.get()));
  EXPECT_PLANTED("race, no fence before the ticket", last_block, "data race on global",
                 <<<4, 32>>>(a.get(), (clear(), b.get()), out.get()));
  EXPECT_PLANTED("race, relaxed flag", flag_in_block, "data race on global", <<<1, 64>>>(a.get(), (clear(), b.get()), out.get()));
  EXPECT_PLANTED("race, written after the fence", late_write, "data race on global", <<<2, 32>>>(a.get(), (clear(), b.get()), out.get()));
  EXPECT_PLANTED("race, no barrier after the flag", flag_needs_barrier, "data race on global",
                 <<<2, 64>>>(a.get(), (clear(), b.get()), out.get()));
}

void check_emulated_atomics() {
  DeviceBuffer<__nv_bfloat162> sum(1);
  cudaMemset(sum.get(), 0, 4);
  expect_clean("atomicAdd of bf16x2", [&] { add_bf16x2<<<4, 32>>>(sum.get()); });
  expect("sum of bf16x2", __low2float(sum.read()[0]) == 128.0f && __high2float(sum.read()[0]) == 256.0f);
  std::vector<float> values(128);
  for (int k = 0; k < 128; ++k) values[size_t(k)] = float(k * 37 % 128);
  DeviceBuffer<float> in(values), top(std::vector<float>{-1.0f});
  expect_clean("maximum by compare and swap", [&] { max_by_cas<<<4, 32>>>(top.get(), in.get()); });
  expect("maximum", top.read()[0] == 127.0f);
}

}  // namespace

int main() {
  simSetRace(1);
  check_races();
  check_emulated_atomics();
  return report();
}
