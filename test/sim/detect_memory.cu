// detect_memory.cu - planted bugs in accesses to memory: bounds, alignment, freed and uninitialised memory.
#include "detect.h"
#include "gpu/gpu.cuh"

namespace {

template <bool Bug>
__global__ void global_bounds(float* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < (Bug ? n + 1 : n)) out[i] = 1.0f;  // planted: out of bounds, global
}

template <bool Bug>
__global__ void shared_bounds(float* out) {
  __shared__ float first[32];
  __shared__ float second[32];
  float* volatile base = first;
  first[threadIdx.x] = 1.0f, second[threadIdx.x] = 2.0f;
  base[threadIdx.x + (Bug ? 1 : 0)] = 3.0f;  // planted: out of bounds, shared
  __syncthreads();
  out[threadIdx.x] = first[threadIdx.x] + second[threadIdx.x];
}

template <bool Bug>
__global__ void dynamic_bounds(float* out) {
  extern __shared__ float tile[];
  tile[threadIdx.x + (Bug ? 1 : 0)] = 1.0f;  // planted: out of bounds, dynamic shared
  out[threadIdx.x] = 0.0f;
}

template <bool Bug>
__global__ void local_bounds(float* out, int n) {
  volatile float table[8];
  for (int k = 0; k < 8; ++k) table[k] = float(k * n);
  volatile float* at = table + (threadIdx.x + n) % 8;
  if (Bug) at += n * 1000;
  out[threadIdx.x] = *at;  // planted: out of bounds, local
}

template <bool Bug>
__global__ void misaligned(float4* out, const float* in) {
  out[threadIdx.x] = *reinterpret_cast<const float4*>(in + threadIdx.x * 4 + (Bug ? 1 : 0));  // planted: misaligned, global
}

template <bool Bug>
__global__ void misaligned_shared(float* out) {
  __shared__ __align__(16) float tile[256];
  for (int k = 0; k < 8; ++k) tile[threadIdx.x + 32 * k] = 1.0f;
  __syncwarp();
  const unsigned at = unsigned(__cvta_generic_to_shared(tile + threadIdx.x * 2 + (Bug ? 1 : 0)));
  float x, y;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(x), "=f"(y) : "r"(at));  // planted: misaligned, shared
  out[threadIdx.x] = x + y;
}

template <bool Bug>
__global__ void reads(float* out, const float* in) {
  out[threadIdx.x] = in[threadIdx.x];  // planted: use after free
}

template <bool Bug>
__global__ void reads_fresh(float* out, const float* in) {
  out[threadIdx.x] = 2.0f * in[threadIdx.x];  // planted: uninitialised, global
}
template <bool Bug>
__global__ void adds_fresh(int* counter) {
  atomicAdd(counter, 1);  // planted: uninitialised, atomic
}
template <bool Bug>
__global__ void copies_fresh(float* out, const float* in) {
  __shared__ __align__(16) float tile[128];
  const unsigned to = unsigned(__cvta_generic_to_shared(tile + threadIdx.x * 4));
  const float* from = in + threadIdx.x * 4;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from));  // planted: uninitialised, cp.async
  asm volatile("cp.async.wait_all;" ::: "memory");
  out[threadIdx.x] = tile[threadIdx.x * 4];
}

template <bool Bug>
__global__ void shared_fresh(float* out) {
  __shared__ float tile[64];
  if (!Bug || threadIdx.x < 16) tile[threadIdx.x] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = tile[31 - threadIdx.x];  // planted: uninitialised, shared
}

__global__ void write_parameters(const __grid_constant__ int n) {
  asm volatile("st.u32 [%0], 1;" ::"l"(&n) : "memory");  // planted: write to parameters
}

float* filled(size_t n) {
  float* p;
  cudaMalloc(&p, n * 4);
  cudaMemset(p, 0, n * 4);
  return p;
}

void check_bounds() {
  DeviceBuffer<float> out(1000);
  EXPECT_PLANTED("out of bounds, global", global_bounds, "runs past the end of an allocation", <<<8, 128>>>(out.get(), 1000));
  EXPECT_PLANTED("out of bounds, shared", shared_bounds, "after the end of", <<<1, 32>>>(out.get()));
  EXPECT_PLANTED("out of bounds, dynamic shared", dynamic_bounds, "after the end of", <<<1, 32, 128>>>(out.get()));
  EXPECT_PLANTED("out of bounds, local", local_bounds, "outside the thread's", <<<1, 32>>>(out.get(), 3));
  DeviceBuffer<float4> out4(32);
  EXPECT_PLANTED("misaligned, global", misaligned, "not aligned to 16 bytes", <<<1, 32>>>(out4.get(), out.get()));
  EXPECT_PLANTED("misaligned, shared", misaligned_shared, "not aligned to 8 bytes", <<<1, 32>>>(out.get()));
  expect_detected(__FILE__, "write to parameters", "write_parameters", "write to kernel parameters", [] { write_parameters<<<1, 1>>>(7); });
}

void check_freed() {
  DeviceBuffer<float> out(32);
  float* in = filled(32);
  expect_clean("use after free", [&] { reads<false><<<1, 32>>>(out.get(), in); });
  cudaFree(in);
  expect_detected(__FILE__, "use after free", "reads", "is in freed memory", [&] { reads<true><<<1, 32>>>(out.get(), in); });
}

// Freshly allocated memory, all of it written or only half.
template <class T, class Run>
void with_fresh(const char* name, const char* kernel, int n, Run run) {
  for (const bool bug : {true, false}) {
    T* p;
    cudaMalloc(&p, size_t(n) * sizeof(T));
    cudaMemset(p, 0, size_t(bug ? n / 2 : n) * sizeof(T));
    if (bug)
      expect_detected(__FILE__, name, kernel, "read of uninitialised global memory", [&] { run(p); });
    else
      expect_clean(name, [&] { run(p); });
    cudaFree(p);
  }
}

void check_uninitialised() {
  simSetInit(1);
  DeviceBuffer<float> out(128);
  with_fresh<float>("uninitialised, global", "reads_fresh", 128, [&](float* p) { reads_fresh<true><<<1, 128>>>(out.get(), p); });
  with_fresh<int>("uninitialised, atomic", "adds_fresh", 1, [&](int* p) { adds_fresh<true><<<1, 32>>>(p); });
  with_fresh<float>("uninitialised, cp.async", "copies_fresh", 128, [&](float* p) { copies_fresh<true><<<1, 32>>>(out.get(), p); });
  EXPECT_PLANTED("uninitialised, shared", shared_fresh, "read of uninitialised shared memory", <<<1, 32>>>(out.get()));
  // A copy within the device takes over what was never written.
  float *a, *b = filled(32);
  cudaMalloc(&a, 128);
  cudaMemcpy(b, a, 128, cudaMemcpyDeviceToDevice);
  simReset();
  reads_fresh<true><<<1, 32>>>(out.get(), b);
  cudaDeviceSynchronize();
  expect("uninitialised, copied", std::string(simLastMessage()).find("read of uninitialised") == 0);
  simReset();
  simSetInit(0);
  // Without the check the values are NaN.
  float* fresh;
  cudaMalloc(&fresh, 128);
  reads_fresh<true><<<1, 32>>>(out.get(), fresh);
  expect("fresh memory is NaN", out.read()[7] != out.read()[7]);
}

}  // namespace

int main() {
  check_bounds();
  check_freed();
  check_uninitialised();
  return report();
}
