#pragma once
// D += A B by a warpgroup of 128 threads, operands in shared memory, A also in registers (PTX ISA, wgmma), sm_90a.
//
// D is 64 x N: warp w has rows 16 w .. 16 w + 15, and of each 8 columns what mma.sync's D has (matrix.cuh): d[4 j + i] is its d[i] of
// columns 8 j .. 8 j + 7. An operation runs on while the threads go on; its registers may not be touched before the wait, nor may its
// operands change.
//
// Operands lie in rows of 128 bytes, in TMA's 128-byte swizzle, at multiples of 1024 bytes:
//   K-major: rows of 64 k, one for each m or n. 16 of k on: 32 bytes on.
//   of codes of fp8: rows of 128 k. 32 of k on: 32 bytes on.
//   MN-major: rows of 64 m or n, one for each k; the next 64 of m or n follow in a slab of their own. 16 of k on: 2048 bytes on.
// A in registers is what mma.sync's A is (matrix.cuh), of the warp's 16 rows: two neighbouring groups of 8 columns of a D, as pairs.
#include <cuda_runtime.h>

#include <cstdint>

#include "common/types.cuh"
#include "core/fp8.h"

namespace heddle::cuda::ptx {

// slab: bytes from one slab to the next (MN-major).
__device__ inline uint64_t matrix_descriptor(uint32_t address, uint32_t slab) {
  constexpr uint64_t kGroup = 8 * 128, kSwizzle128 = uint64_t{1} << 62;  // 8 rows to the next 8
  return kSwizzle128 | kGroup >> 4 << 32 | static_cast<uint64_t>(slab >> 4) << 16 | (address & 0x3ffff) >> 4;
}

// Before the first operation on registers that the threads have written.
__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// All committed groups are complete but the newest N.
template <int N>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
// Keeps the compiler from moving uses of these registers across this place: it does not know that wgmma writes them later.
template <int N>
__device__ inline void hold_registers(float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
// The same of an A in registers, which must not change before the wait.
template <int N>
__device__ inline void hold_registers(uint32_t (&a)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+r"(a[i])::"memory");
}

#define HEDDLE_D0 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define HEDDLE_D1 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define HEDDLE_D2 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define HEDDLE_D3 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define HEDDLE_D4 "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define HEDDLE_D5 "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define HEDDLE_D6 "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111"
#define HEDDLE_D7 "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define HEDDLE_OUT(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define HEDDLE_OUT16(i) HEDDLE_OUT(i), HEDDLE_OUT(i + 4), HEDDLE_OUT(i + 8), HEDDLE_OUT(i + 12)
// shape and type; the list of D; the numbers of what follows it; the registers
#define HEDDLE_WGMMA(shape, type, list, a, b, scale, tnsp_a, tnsp_b, ...)                                                            \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " scale                                                                             \
               ", 0;\n"                                                                                                              \
               "wgmma.mma_async.sync.aligned." shape ".f32." type "." type " {" list "}, " a ", " b ", p, 1, 1, " tnsp_a ", " tnsp_b \
               ";\n}"                                                                                                                \
               : __VA_ARGS__                                                                                                         \
               : "l"(desc_a), "l"(desc_b), "r"(accumulate), "n"(ATransposed), "n"(BTransposed)                                       \
               : "memory")
#define HEDDLE_WGMMA_64(type) \
  HEDDLE_WGMMA("m64n64k16", type, HEDDLE_D0 ", " HEDDLE_D1, "%32", "%33", "%34", "%35", "%36", HEDDLE_OUT16(0), HEDDLE_OUT16(16))
#define HEDDLE_WGMMA_128(type)                                                                                                \
  HEDDLE_WGMMA("m64n128k16", type, HEDDLE_D0 ", " HEDDLE_D1 ", " HEDDLE_D2 ", " HEDDLE_D3, "%64", "%65", "%66", "%67", "%68", \
               HEDDLE_OUT16(0), HEDDLE_OUT16(16), HEDDLE_OUT16(32), HEDDLE_OUT16(48))
#define HEDDLE_WGMMA_256(type)                                                                                                             \
  HEDDLE_WGMMA("m64n256k16", type,                                                                                                         \
               HEDDLE_D0 ", " HEDDLE_D1 ", " HEDDLE_D2 ", " HEDDLE_D3 ", " HEDDLE_D4 ", " HEDDLE_D5 ", " HEDDLE_D6 ", " HEDDLE_D7, "%128", \
               "%129", "%130", "%131", "%132", HEDDLE_OUT16(0), HEDDLE_OUT16(16), HEDDLE_OUT16(32), HEDDLE_OUT16(48), HEDDLE_OUT16(64),    \
               HEDDLE_OUT16(80), HEDDLE_OUT16(96), HEDDLE_OUT16(112))

// d (+)= A B over 16 of k. Transposed: MN-major. d is half as long as N.
template <class T, bool ATransposed, bool BTransposed, int R>
__device__ inline void wgmma(float (&d)[R], uint64_t desc_a, uint64_t desc_b, int accumulate) {
  constexpr bool kBf16 = __is_same(T, bf16);
  static_assert(R == 32 || R == 64 || R == 128, "N of 64, 128 or 256");
  if constexpr (R == 32 && kBf16)
    HEDDLE_WGMMA_64("bf16");
  else if constexpr (R == 32)
    HEDDLE_WGMMA_64("f16");
  else if constexpr (R == 64 && kBf16)
    HEDDLE_WGMMA_128("bf16");
  else if constexpr (R == 64)
    HEDDLE_WGMMA_128("f16");
  else if constexpr (kBf16)
    HEDDLE_WGMMA_256("bf16");
  else
    HEDDLE_WGMMA_256("f16");
}

// shape and types; the rest as above
#define HEDDLE_WGMMA_CODES(shape, types, list, a, b, scale, ...)                                            \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " scale                                                    \
               ", 0;\n"                                                                                     \
               "wgmma.mma_async.sync.aligned." shape ".f32." types " {" list "}, " a ", " b ", p, 1, 1;\n}" \
               : __VA_ARGS__                                                                                \
               : "l"(desc_a), "l"(desc_b), "r"(accumulate)                                                  \
               : "memory")
#define HEDDLE_WGMMA_CODES_OF(types)                                                                                                      \
  if constexpr (R == 32)                                                                                                                  \
    HEDDLE_WGMMA_CODES("m64n64k32", types, HEDDLE_D0 ", " HEDDLE_D1, "%32", "%33", "%34", HEDDLE_OUT16(0), HEDDLE_OUT16(16));             \
  else                                                                                                                                    \
    HEDDLE_WGMMA_CODES("m64n128k32", types, HEDDLE_D0 ", " HEDDLE_D1 ", " HEDDLE_D2 ", " HEDDLE_D3, "%64", "%65", "%66", HEDDLE_OUT16(0), \
                       HEDDLE_OUT16(16), HEDDLE_OUT16(32), HEDDLE_OUT16(48))

// The same of codes, both K-major, over 32 of k.
template <FP8 A, FP8 B, int R>
__device__ inline void wgmma_codes(float (&d)[R], uint64_t desc_a, uint64_t desc_b, int accumulate) {
  static_assert(R == 32 || R == 64, "N of 64 or 128");
  if constexpr (A == FP8::e4m3 && B == FP8::e4m3) {
    HEDDLE_WGMMA_CODES_OF("e4m3.e4m3");
  } else if constexpr (A == FP8::e4m3) {
    HEDDLE_WGMMA_CODES_OF("e4m3.e5m2");
  } else if constexpr (B == FP8::e4m3) {
    HEDDLE_WGMMA_CODES_OF("e5m2.e4m3");
  } else {
    HEDDLE_WGMMA_CODES_OF("e5m2.e5m2");
  }
}

#define HEDDLE_WGMMA_A(shape, type, list, list_a, b, scale, tnsp_b, ...)                                                               \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " scale                                                                               \
               ", 0;\n"                                                                                                                \
               "wgmma.mma_async.sync.aligned." shape ".f32." type "." type " {" list "}, {" list_a "}, " b ", p, 1, 1, " tnsp_b ";\n}" \
               : __VA_ARGS__                                                                                                           \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(desc_b), "r"(accumulate), "n"(BTransposed)                            \
               : "memory")
#define HEDDLE_WGMMA_A_64(type) \
  HEDDLE_WGMMA_A("m64n64k16", type, HEDDLE_D0 ", " HEDDLE_D1, "%32, %33, %34, %35", "%36", "%37", "%38", HEDDLE_OUT16(0), HEDDLE_OUT16(16))
#define HEDDLE_WGMMA_A_128(type)                                                                                                        \
  HEDDLE_WGMMA_A("m64n128k16", type, HEDDLE_D0 ", " HEDDLE_D1 ", " HEDDLE_D2 ", " HEDDLE_D3, "%64, %65, %66, %67", "%68", "%69", "%70", \
                 HEDDLE_OUT16(0), HEDDLE_OUT16(16), HEDDLE_OUT16(32), HEDDLE_OUT16(48))

// The same with A, K-major, in registers.
template <class T, bool BTransposed, int R>
__device__ inline void wgmma(float (&d)[R], const uint32_t (&a)[4], uint64_t desc_b, int accumulate) {
  constexpr bool kBf16 = __is_same(T, bf16);
  static_assert(R == 32 || R == 64, "N of 64 or 128");
  if constexpr (R == 32 && kBf16)
    HEDDLE_WGMMA_A_64("bf16");
  else if constexpr (R == 32)
    HEDDLE_WGMMA_A_64("f16");
  else if constexpr (kBf16)
    HEDDLE_WGMMA_A_128("bf16");
  else
    HEDDLE_WGMMA_A_128("f16");
}
#undef HEDDLE_D0
#undef HEDDLE_D1
#undef HEDDLE_D2
#undef HEDDLE_D3
#undef HEDDLE_D4
#undef HEDDLE_D5
#undef HEDDLE_D6
#undef HEDDLE_D7
#undef HEDDLE_OUT
#undef HEDDLE_OUT16
#undef HEDDLE_WGMMA
#undef HEDDLE_WGMMA_64
#undef HEDDLE_WGMMA_128
#undef HEDDLE_WGMMA_256
#undef HEDDLE_WGMMA_CODES
#undef HEDDLE_WGMMA_CODES_OF
#undef HEDDLE_WGMMA_A
#undef HEDDLE_WGMMA_A_64
#undef HEDDLE_WGMMA_A_128

}  // namespace heddle::cuda::ptx
