// Bugs that compute-sanitizer must report: scripts/compute-sanitizer.mjs trusts a tool on this machine only after it has.
//   planted memcheck | racecheck | initcheck
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>

__global__ void past_the_end(int* x, int n) { x[n + threadIdx.x] = 1; }

// Warp 1 reads what warp 0 writes, with no barrier between them.
__global__ void no_barrier(int* out) {
  __shared__ int value;
  if (threadIdx.x == 0) value = out[0] + 1;
  if (threadIdx.x == 32) out[1] = value;
}

__global__ void unwritten(const int* x, int* out) { out[threadIdx.x] = x[threadIdx.x] + 1; }

int main(int argc, char** argv) {
  const char* tool = argc > 1 ? argv[1] : "";
  const int n = 64;
  int *x = nullptr, *out = nullptr;
  if (cudaMalloc(&x, n * sizeof(int)) != cudaSuccess || cudaMalloc(&out, n * sizeof(int)) != cudaSuccess) {
    printf("no device memory: %s\n", cudaGetErrorString(cudaGetLastError()));
    return 2;
  }
  cudaMemset(out, 0, n * sizeof(int));
  if (!strcmp(tool, "memcheck"))
    past_the_end<<<1, 32>>>(x, n);
  else if (!strcmp(tool, "racecheck"))
    no_barrier<<<1, 64>>>(out);
  else if (!strcmp(tool, "initcheck"))
    unwritten<<<1, n>>>(x, out);
  else
    return 3;
  cudaDeviceSynchronize();  // a card alone need not notice any of them
  return 0;
}
