// test_ptx_sm90.cu - clusters, multicast, bulk copies, wgmma variants.  Compiled for compute_90a.
#include <cuda_fp8.h>

#include "device_buffer.h"
#include "expect.h"
#include "gpu/gpu.cuh"

namespace {

using gpu::bf16;

// ---- a cluster of 4 blocks reads its neighbour's shared memory ----

template <bool FinalSync>
__global__ void cluster_kernel(int* out) {
  __shared__ int value[32];
  value[threadIdx.x] = int(blockIdx.x * 100 + threadIdx.x);
  ptx::cluster_sync();
  const int* other = static_cast<const int*>(ptx::cluster_map(value, (ptx::cluster_rank() + 1) % 4));
  out[blockIdx.x * 32 + threadIdx.x] = other[threadIdx.x];
  if (FinalSync) ptx::cluster_sync();
  value[threadIdx.x] = -1;  // a race unless the neighbour has read it
}
template <bool FinalSync>
bool cluster() {
  DeviceBuffer<int> out(8 * 32);
  gpu::launch(cluster_kernel<FinalSync>, {8, 32, 0, nullptr, {4, 1, 1}}, out.get());
  const auto v = out.read();
  bool ok = true;
  for (int b = 0; b < 8; ++b)
    for (int i = 0; i < 32; ++i) ok &= v[b * 32 + i] == (b / 4 * 4 + (b + 1) % 4) * 100 + i;
  return ok;
}

// ---- one block of a pair loads a tile for both (multicast), the other signals it is done ----

__global__ void __cluster_dims__(2, 1, 1) multicast_kernel(float* out, const __grid_constant__ CUtensorMap map) {
#if GPU_SM90A
  __shared__ __align__(1024) float tile[8][32];
  __shared__ uint64_t full;
  if (threadIdx.x == 0) {
    ptx::mbar_init(&full, 1);
    ptx::mbar_fence_init();
  }
  ptx::cluster_sync();
  if (threadIdx.x == 0) {
    ptx::mbar_arrive_expect_tx(&full, sizeof tile);
    if (ptx::cluster_rank() == 0)
      asm volatile(
          "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], "
          "%5;" ::"r"(ptx::smem_addr(tile)),
          "l"(&map), "r"(0), "r"(0), "r"(ptx::smem_addr(&full)), "h"(uint16_t(3))
          : "memory");
  }
  ptx::mbar_wait(&full, 0);
  out[blockIdx.x * 32 + threadIdx.x] = tile[3][threadIdx.x];
  ptx::cluster_sync();
#endif
}
bool multicast() {
  std::vector<float> a(8 * 32);
  for (size_t i = 0; i < a.size(); ++i) a[i] = float(i);
  DeviceBuffer<float> da(a), out(64);
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found;
  cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &found);
  CUtensorMap map;
  const cuuint64_t dims[2] = {32, 8}, pitch[1] = {128};
  const cuuint32_t box[2] = {32, 8}, step[2] = {1, 1};
  reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(entry)(&map, CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 2, da.get(), dims, pitch, box, step,
                                                             CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_NONE,
                                                             CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  multicast_kernel<<<2, 32>>>(out.get(), map);
  gpu::check(cudaGetLastError(), "multicast");
  const auto v = out.read();
  bool ok = true;
  for (int i = 0; i < 64; ++i) ok &= v[i] == float(96 + i % 32);
  return ok;
}

// ---- untyped bulk copy in, addition into global memory out; elect.sync ----

__global__ void bulk_kernel(float* out, const float* in) {
#if GPU_SM90A
  __shared__ __align__(16) float buffer[64];
  __shared__ uint64_t bar;
  uint32_t elected;
  asm volatile("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.u32 %0, 1, 0, p;\n}" : "=r"(elected));
  if (elected) {
    ptx::mbar_init(&bar, 1);
    ptx::mbar_fence_init();
    ptx::mbar_arrive_expect_tx(&bar, sizeof buffer);
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(ptx::smem_addr(buffer)),
                 "l"(in), "r"(256), "r"(ptx::smem_addr(&bar))
                 : "memory");
  }
  __syncthreads();
  ptx::mbar_wait(&bar, 0);
  buffer[threadIdx.x] *= 2;
  buffer[threadIdx.x + 32] *= 3;
  ptx::fence_proxy_async();
  __syncthreads();
  if (threadIdx.x == 0) {
    asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(out), "r"(ptx::smem_addr(buffer)),
                 "r"(256)
                 : "memory");
    ptx::tma_store_commit();
    ptx::tma_store_wait<0>();
  }
#endif
}
bool bulk() {
  std::vector<float> a(64), b(64, 1000.0f);
  for (int i = 0; i < 64; ++i) a[i] = float(i);
  DeviceBuffer<float> in(a), out(b);
  bulk_kernel<<<2, 32>>>(out.get(), in.get());
  gpu::check(cudaGetLastError(), "bulk");
  const auto v = out.read();
  bool ok = true;
  for (int i = 0; i < 64; ++i) ok &= v[i] == 1000.0f + 2 * float(i * (i < 32 ? 2 : 3));
  return ok;
}

// ---- wgmma m64n16k16: operands in every layout; A also from registers ----

// Writes element (mn, k) of an operand into its tile; the same map as the descriptor describes.
__device__ void put(unsigned char* tile, int mode, bool mn_major, int extent, int mn, int k, bf16 v) {
  const int row = mode == 1 ? 128 : mode == 2 ? 64 : mode == 3 ? 32 : 0, per_row = row / 2;
  int a;
  if (mode == 0)
    a = mn_major ? k % 8 * 16 + k / 8 * 128 + mn / 8 * 256 + mn % 8 * 2  // leading 128, stride 256
                 : mn % 8 * 16 + mn / 8 * 256 + k / 8 * 128 + k % 8 * 2;
  else if (!mn_major)
    a = mn % 8 * row + mn / 8 * (8 * row) + k * 2;  // stride 8 rows
  else
    a = k % 8 * row + k / 8 * (8 * row) + mn / per_row * (16 * row) + mn % per_row * 2;  // leading 16 rows
  if (mode) a ^= a >> 3 & (mode == 1 ? 0x70 : mode == 2 ? 0x30 : 0x10);
  (void)extent;
  *reinterpret_cast<bf16*>(tile + a) = v;
}
__device__ uint64_t descriptor(const unsigned char* tile, int mode, bool mn_major) {
  const int row = mode == 1 ? 128 : mode == 2 ? 64 : 32;
  const uint32_t leading = mode == 0 ? 128 : mn_major ? 16 * row : 16, stride = mode == 0 ? 256 : 8 * row;
  return uint64_t((ptx::smem_addr(tile) & 0x3ffff) >> 4) | uint64_t(leading >> 4) << 16 | uint64_t(stride >> 4) << 32 |
         uint64_t(mode) << 62;
}

template <int Mode, int Ta, int Tb, bool Registers>
__global__ void wgmma_kernel(float* d, const bf16* a, const bf16* b) {
#if GPU_SM90A
  __shared__ __align__(1024) unsigned char tile_a[8192], tile_b[4096];
  const int t = threadIdx.x, lane = t % 32, warp = t / 32;
  for (int e = t; e < 64 * 16; e += 128) put(tile_a, Mode, Ta, 64, e / 16, e % 16, a[e]);
  for (int e = t; e < 16 * 16; e += 128) put(tile_b, Mode, Tb, 16, e / 16, e % 16, b[e]);
  ptx::fence_proxy_async();
  __syncthreads();
  float acc[8] = {};
  const uint64_t da = descriptor(tile_a, Mode, Ta), db = descriptor(tile_b, Mode, Tb);
  uint32_t fa[4];
  for (int i = 0; i < 4; ++i)
    fa[i] = *reinterpret_cast<const uint32_t*>(a + (warp * 16 + lane / 4 + i % 2 * 8) * 16 + lane % 4 * 2 + i / 2 * 8);
  ptx::wgmma_fence();
  if constexpr (Registers)
    asm volatile("wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7}, {%8,%9,%10,%11}, %12, 1, 1, 1, %13;"
                 : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3]), "+f"(acc[4]), "+f"(acc[5]), "+f"(acc[6]), "+f"(acc[7])
                 : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "l"(db), "n"(Tb));
  else
    asm volatile("wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7}, %8, %9, 1, 1, 1, %10, %11;"
                 : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3]), "+f"(acc[4]), "+f"(acc[5]), "+f"(acc[6]), "+f"(acc[7])
                 : "l"(da), "l"(db), "n"(Ta), "n"(Tb));
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  for (int i = 0; i < 8; ++i) d[(warp * 16 + lane / 4 + i / 2 % 2 * 8) * 16 + i / 4 * 8 + lane % 4 * 2 + i % 2] = acc[i];
#endif
}
template <int Mode, int Ta, int Tb, bool Registers>
void check_wgmma() {
  std::vector<bf16> a(64 * 16), b(16 * 16);
  for (size_t i = 0; i < a.size(); ++i) a[i] = __float2bfloat16(float(int(i * 7 % 13) - 6));
  for (size_t i = 0; i < b.size(); ++i) b[i] = __float2bfloat16(float(int(i * 5 % 11) - 5));
  DeviceBuffer<bf16> da(a), db(b);
  DeviceBuffer<float> dd(64 * 16);
  wgmma_kernel<Mode, Ta, Tb, Registers><<<1, 128>>>(dd.get(), da.get(), db.get());
  gpu::check(cudaGetLastError(), "wgmma");
  const auto d = dd.read();
  bool ok = true;
  for (int m = 0; m < 64; ++m)
    for (int n = 0; n < 16; ++n) {
      float want = 0;
      for (int k = 0; k < 16; ++k) want += __bfloat162float(a[m * 16 + k]) * __bfloat162float(b[n * 16 + k]);
      ok &= d[m * 16 + n] == want;
    }
  expect("wgmma", ok,
         "swizzle mode " + std::to_string(Mode) + ", transposed " + std::to_string(Ta) + std::to_string(Tb) +
             (Registers ? ", A in registers" : ""));
}
template <int Mode>
void check_mode() {
  check_wgmma<Mode, 0, 0, false>();
  check_wgmma<Mode, 0, 1, false>();
  check_wgmma<Mode, 1, 0, false>();
  check_wgmma<Mode, 1, 1, false>();
  check_wgmma<Mode, 0, 0, true>();
  check_wgmma<Mode, 0, 1, true>();
}

// ---- wgmma m64n16k32 on fp8: both formats of each operand, every swizzle; A also from registers ----

__device__ int place_of_byte(int mode, int mn, int k) {
  const int row = mode == 1 ? 128 : mode == 2 ? 64 : 32;
  if (mode == 0) return mn % 8 * 16 + mn / 8 * 256 + k / 16 * 128 + k % 16;
  const int a = mn % 8 * row + mn / 8 * (8 * row) + k;
  return a ^ (a >> 3 & (mode == 1 ? 0x70 : mode == 2 ? 0x30 : 0x10));
}

#define WGMMA_FP8(types, operands, ...)                                                                                         \
  asm volatile("wgmma.mma_async.sync.aligned.m64n16k32.f32." types " {%0,%1,%2,%3,%4,%5,%6,%7}, " operands ";"                  \
               : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3]), "+f"(acc[4]), "+f"(acc[5]), "+f"(acc[6]), "+f"(acc[7]) \
               : __VA_ARGS__, "l"(db))
#define WGMMA_FP8_BOTH(types)                                                                          \
  if constexpr (Registers)                                                                             \
    WGMMA_FP8(types, "{%8,%9,%10,%11}, %12, 1, 1, 1", "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3])); \
  else                                                                                                 \
    WGMMA_FP8(types, "%8, %9, 1, 1, 1", "l"(da))

// change: xor of A's descriptor.
template <int Mode, bool A5, bool B5, bool Registers>
__global__ void fp8_kernel(float* d, const uint8_t* a, const uint8_t* b, uint64_t change) {
#if GPU_SM90A
  __shared__ __align__(1024) unsigned char tile_a[8192], tile_b[2048];
  const int t = threadIdx.x, lane = t % 32, warp = t / 32;
  for (int e = t; e < 64 * 32; e += 128) tile_a[place_of_byte(Mode, e / 32, e % 32)] = a[e];
  for (int e = t; e < 16 * 32; e += 128) tile_b[place_of_byte(Mode, e / 32, e % 32)] = b[e];
  ptx::fence_proxy_async();
  __syncthreads();
  float acc[8] = {};
  const uint64_t da = descriptor(tile_a, Mode, false) ^ change, db = descriptor(tile_b, Mode, false);
  uint32_t fa[4];
  for (int i = 0; i < 4; ++i)
    fa[i] = *reinterpret_cast<const uint32_t*>(a + (warp * 16 + lane / 4 + i % 2 * 8) * 32 + lane % 4 * 4 + i / 2 * 16);
  ptx::wgmma_fence();
  if constexpr (A5 && B5) {
    WGMMA_FP8_BOTH("e5m2.e5m2");
  } else if constexpr (A5) {
    WGMMA_FP8_BOTH("e5m2.e4m3");
  } else if constexpr (B5) {
    WGMMA_FP8_BOTH("e4m3.e5m2");
  } else {
    WGMMA_FP8_BOTH("e4m3.e4m3");
  }
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  for (int i = 0; i < 8; ++i) d[(warp * 16 + lane / 4 + i / 2 % 2 * 8) * 16 + i / 4 * 8 + lane % 4 * 2 + i % 2] = acc[i];
#endif
}
struct FP8Operands {
  std::vector<uint8_t> a, b;
  std::vector<float> x, w;  // what they stand for, exactly
  explicit FP8Operands(bool a5, bool b5) {
    const auto add = [](std::vector<uint8_t>& codes, std::vector<float>& values, float v, bool e5m2) {
      values.push_back(v);
      codes.push_back(__nv_cvt_float_to_fp8(v, __NV_SATFINITE, e5m2 ? __NV_E5M2 : __NV_E4M3));
    };
    for (int i = 0; i < 64 * 32; ++i) add(a, x, float(i * 7 % 13 - 6) / 4, a5);
    for (int i = 0; i < 16 * 32; ++i) add(b, w, float(i * 5 % 11 - 5) * 8, b5);
  }
};
template <int Mode, bool A5, bool B5, bool Registers = false>
void check_fp8() {
  const FP8Operands o(A5, B5);
  DeviceBuffer<uint8_t> da(o.a), db(o.b);
  DeviceBuffer<float> dd(64 * 16);
  fp8_kernel<Mode, A5, B5, Registers><<<1, 128>>>(dd.get(), da.get(), db.get(), 0);
  gpu::check(cudaGetLastError(), "wgmma fp8");
  const auto d = dd.read();
  bool ok = true;
  for (int m = 0; m < 64; ++m)
    for (int n = 0; n < 16; ++n) {
      float want = 0;
      for (int k = 0; k < 32; ++k) want += o.x[m * 32 + k] * o.w[n * 32 + k];
      ok &= d[m * 16 + n] == want;
    }
  expect("wgmma fp8", ok,
         "swizzle mode " + std::to_string(Mode) + (A5 ? ", e5m2" : ", e4m3") + (B5 ? " by e5m2" : " by e4m3") +
             (Registers ? ", A in registers" : ""));
}
template <int Mode>
void check_fp8_mode() {
  check_fp8<Mode, false, false>();
  check_fp8<Mode, false, true>();
  check_fp8<Mode, true, false>();
  check_fp8<Mode, true, true>();
  check_fp8<Mode, false, true, true>();
}

// ---- bugs that must be reported ----

__global__ void early_exit_kernel() {  // an mbarrier that nobody completes
#if GPU_SM90A
  __shared__ uint64_t bar;
  if (threadIdx.x == 0) {
    ptx::mbar_init(&bar, 2);
    ptx::mbar_fence_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) ptx::mbar_arrive(&bar);
  ptx::mbar_wait(&bar, 0);
#endif
}
__global__ void uninitialised_kernel() {
#if GPU_SM90A
  __shared__ uint64_t bar;
  ptx::mbar_arrive(&bar);
#endif
}
__global__ void bad_rank_kernel(int* out) { out[0] = *static_cast<int*>(ptx::cluster_map(out, 5)); }

}  // namespace

int main() {
  for (int race = 0; race < 2; ++race)
    for (int seed = 0; seed < 6; ++seed) {
      simSetRace(race);
      simSetSeed(unsigned(seed));
      try {
        expect("cluster", cluster<true>());
        expect("multicast", multicast());
        expect("bulk copy and reduction", bulk());
        check_mode<0>();
        check_mode<1>();
        check_mode<2>();
        check_mode<3>();
        check_fp8_mode<0>();
        check_fp8_mode<1>();
        check_fp8_mode<2>();
        check_fp8_mode<3>();
      } catch (const std::exception& e) {
        expect("exception", false, e.what());
        simReset();
      }
    }
  simSetSeed(0);
  simSetRace(0);
  DeviceBuffer<int> out(1);
  expect_error("mbarrier never completes", "1 of 2 arrivals pending", [&] { early_exit_kernel<<<1, 32>>>(); });
  expect_error("mbarrier not initialised", "not initialised", [&] { uninitialised_kernel<<<1, 32>>>(); });
  expect_error("mapa to a block that does not exist", "no block of rank 5", [&] { bad_rank_kernel<<<1, 1>>>(out.get()); });
  const FP8Operands o(false, false);
  DeviceBuffer<uint8_t> da(o.a), db(o.b);
  DeviceBuffer<float> dd(64 * 16);
  const auto fp8_with = [&](uint64_t change) {
    return [&, change] { fp8_kernel<1, false, false, false><<<1, 128>>>(dd.get(), da.get(), db.get(), change); };
  };
  expect_error("fp8: a tile between two multiples of 1024", "base offset must be 0", fp8_with(uint64_t{1} << 49));
  expect_error("fp8: reserved bits of a descriptor", "reserved bits are set", fp8_with(uint64_t{1} << 46));
  expect_error("fp8: an operand outside of shared memory", "shared", fp8_with(uint64_t{0x3000}));
  simSetRace(1);
  expect_error("cluster exit without sync", "data race", [] { cluster<false>(); });
  return report();
}
