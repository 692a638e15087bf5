// What the programs check their results with.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(c_)                                                    \
  do {                                                               \
    cudaError_t e = (c_);                                            \
    if (e != cudaSuccess) {                                          \
      printf("FAIL line %d: %s\n", __LINE__, cudaGetErrorString(e)); \
      exit(1);                                                       \
    }                                                                \
  } while (0)

inline int bad = 0;
inline void expect(const char* name, bool ok) {
  printf("%s %s\n", ok ? "ok  " : "FAIL", name);
  bad += !ok;
}

template <class T>
T* device(const std::vector<T>& v) {
  T* p;
  CHECK(cudaMalloc(&p, v.size() * sizeof(T)));
  CHECK(cudaMemcpy(p, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice));
  return p;
}
template <class T>
std::vector<T> host(const T* p, size_t n) {
  std::vector<T> v(n);
  CHECK(cudaMemcpy(v.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost));
  return v;
}
