#pragma once
// What a warp does together on the tensor cores: fragments from shared memory (PTX ISA, ldmatrix) and D += A B (mma.sync).
//
// With g = lane / 4 and t = lane % 4, of 16-bit elements (two in a register, the lower first):
//   A, 16 x 16: a[0] (row g, k 2t 2t+1), a[1] (row g+8), a[2] (row g, k 2t+8 2t+9), a[3] (row g+8, the same k)
//   B, 16 x 8:  b0 (k 2t 2t+1, column g), b1 (k 2t+8 2t+9)
//   D, 16 x 8:  d[0] d[1] (row g, columns 2t 2t+1), d[2] d[3] (row g+8)
// tf32 has one element in a register and half of the k: A 16 x 8 with k t and t+4, B 8 x 8 likewise.
#include <cuda_runtime.h>

#include <cstdint>

#include "common/types.cuh"

namespace heddle::cuda::ptx {

// Four 8 x 8 matrices of 16-bit elements; lane i gives the address of row i % 8 of matrix i / 8. r[j]: of matrix j, row g, columns 2t 2t+1.
__device__ inline void load_matrices(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
// The same of their transposes: rows 2t 2t+1, column g.
__device__ inline void load_transposed(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
// load_matrices' inverse, sm_90.
__device__ inline void store_matrices(uint32_t address, const uint32_t (&r)[4]) {
#if __CUDA_ARCH__ >= 900
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
#endif
}
__device__ inline uint32_t load_word(uint32_t address) {
  uint32_t r;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(r) : "r"(address) : "memory");
  return r;
}

// f32 bits rounded to the nearest tf32, halves away from zero.
__device__ inline uint32_t round_tf32(uint32_t bits) {
#if __CUDA_ARCH__ >= 800
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(__uint_as_float(bits)));
#endif
  return bits;
}

// Whether mma_of<T> exists on the architecture that is compiled.
template <class T>
constexpr bool has_mma() {
#if __CUDA_ARCH__ >= 800
  return true;
#else
  return sizeof(T) == 2 && !__is_same(T, bf16);
#endif
}

#define HEDDLE_MMA(shape, type, a_registers, ...)                                                                            \
  asm volatile("mma.sync.aligned." shape ".row.col.f32." type "." type ".f32 {%0,%1,%2,%3}, " a_registers ", {%0,%1,%2,%3};" \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                              \
               : __VA_ARGS__)

// 32 bytes of k: 16 of 16-bit elements, 8 of tf32.
template <class T>
__device__ inline void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

template <>
__device__ inline void mma<bf16>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  HEDDLE_MMA("m16n8k16", "bf16", "{%4,%5,%6,%7}, {%8,%9}", "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}
template <>
__device__ inline void mma<f16>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  HEDDLE_MMA("m16n8k16", "f16", "{%4,%5,%6,%7}, {%8,%9}", "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else  // sm_75 has half of the depth
  HEDDLE_MMA("m16n8k8", "f16", "{%4,%5}, {%6}", "r"(a[0]), "r"(a[1]), "r"(b0));
  HEDDLE_MMA("m16n8k8", "f16", "{%4,%5}, {%6}", "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
}
template <>
__device__ inline void mma<float>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  HEDDLE_MMA("m16n8k8", "tf32", "{%4,%5,%6,%7}, {%8,%9}", "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}
#undef HEDDLE_MMA

}  // namespace heddle::cuda::ptx
