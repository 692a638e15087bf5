// Hopper's asynchronous machinery as libcu++ offers it: tensor copies with barriers, a warp-specialised pipeline of a cluster with
// multicast and remote arrivals, bulk reductions into global memory, copies between the blocks of a cluster, programmatic dependent launch.
#include <cooperative_groups.h>
#include <cudaTypedefs.h>

#include <cstdio>
#include <cstdlib>
#include <cuda/barrier>
#include <cuda/ptx>
#include <vector>

#include "check.h"

namespace cg = cooperative_groups;
namespace ptx = cuda::ptx;
using Barrier = cuda::barrier<cuda::thread_scope_block>;

namespace {

CUtensorMap tensor(CUtensorMapDataType type, void* p, uint64_t width, uint64_t height, uint64_t row_bytes, uint32_t box_width,
                   uint32_t box_height) {
  static PFN_cuTensorMapEncodeTiled_v12000 encode = [] {
    void* f = nullptr;
    cudaDriverEntryPointQueryResult found;
    CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &f, 12000, cudaEnableDefault, &found));
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(f);
  }();
  CUtensorMap map;
  const cuuint64_t size[] = {width, height}, stride[] = {row_bytes};
  const cuuint32_t box[] = {box_width, box_height}, step[] = {1, 1};
  if (encode(&map, type, 2, p, size, stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_NONE,
             CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) != CUDA_SUCCESS) {
    printf("FAIL cuTensorMapEncodeTiled\n");
    exit(1);
  }
  return map;
}

// ---- a tile in, plus one, a tile out: the programming guide's way ----

constexpr int kWidth = 32, kHeight = 8;

__global__ void increment(const __grid_constant__ CUtensorMap in, const __grid_constant__ CUtensorMap out) {
  namespace cde = cuda::device::experimental;
  __shared__ alignas(128) int tile[kHeight][kWidth];
#pragma nv_diag_suppress static_var_with_dynamic_init
  __shared__ Barrier bar;
  const int x = int(blockIdx.x) * kWidth, y = int(blockIdx.y) * kHeight;
  if (threadIdx.x == 0) {
    init(&bar, blockDim.x);
    cde::fence_proxy_async_shared_cta();
  }
  __syncthreads();
  Barrier::arrival_token token;
  if (threadIdx.x == 0) {
    cde::cp_async_bulk_tensor_2d_global_to_shared(&tile, &in, x, y, bar);
    token = cuda::device::barrier_arrive_tx(bar, 1, sizeof tile);
  } else {
    token = bar.arrive();
  }
  bar.wait(cuda::std::move(token));
  for (int i = int(threadIdx.x); i < kWidth * kHeight; i += int(blockDim.x)) tile[i / kWidth][i % kWidth] += 1;
  cde::fence_proxy_async_shared_cta();
  __syncthreads();
  if (threadIdx.x == 0) {
    cde::cp_async_bulk_tensor_2d_shared_to_global(&out, x, y, &tile);
    cde::cp_async_bulk_commit_group();
    cde::cp_async_bulk_wait_group_read<0>();
  }
}

void check_tensor_copies() {
  const int width = 60, height = 21;
  std::vector<int> v(64 * height), want;
  for (size_t i = 0; i < v.size(); ++i) v[i] = int(i * 7);
  want = std::vector<int>(64 * height, -1);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) want[y * 64 + x] = v[y * 64 + x] + 1;
  int *in = device(v), *out = device(std::vector<int>(64 * height, -1));
  increment<<<dim3(2, 3), 64>>>(tensor(CU_TENSOR_MAP_DATA_TYPE_INT32, in, width, height, 256, kWidth, kHeight),
                                tensor(CU_TENSOR_MAP_DATA_TYPE_INT32, out, width, height, 256, kWidth, kHeight));
  CHECK(cudaGetLastError());
  expect("tensor copies", host(out, 64 * height) == want);
}

// ---- c += a * b, split along k ----
// A cluster of two blocks takes 128 rows of c; each block loads its own rows of a and one half of the rows of b, which goes to both.

constexpr int kRows = 64, kColumns = 32, kStep = 16, kStages = 3, kConsumers = 128;

struct Stage {
  alignas(128) float a[kRows][kStep];
  alignas(128) float b[kStep][kColumns];
};
struct Shared {
  Stage stages[kStages];
  alignas(128) float c[kRows][kColumns];
  alignas(8) uint64_t full[kStages], empty[kStages];
};

__global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(kConsumers + 32)
    product(const __grid_constant__ CUtensorMap a, const __grid_constant__ CUtensorMap b, float* c, int n, int steps) {
  extern __shared__ __align__(128) unsigned char memory[];
  Shared& s = *reinterpret_cast<Shared*>(memory);
  cg::cluster_group cluster = cg::this_cluster();
  const unsigned rank = cluster.block_rank();
  const int warp = int(threadIdx.x) / 32, row = int(blockIdx.x) * kRows, column = int(blockIdx.y) * kColumns,
            first = int(blockIdx.z) * steps;
  if (threadIdx.x == 0) {
    for (int k = 0; k < kStages; ++k) {
      ptx::mbarrier_init(&s.full[k], 1);
      ptx::mbarrier_init(&s.empty[k], 2 * kConsumers / 32);  // a warp of either block
    }
    ptx::fence_mbarrier_init(ptx::sem_release, ptx::scope_cluster);
  }
  cluster.sync();
  if (warp == kConsumers / 32) {
    if (threadIdx.x % 32 == 0) {
      for (int step = 0; step < steps; ++step) {
        const int k = step % kStages, turn = step / kStages;
        if (turn) {
          while (!ptx::mbarrier_try_wait_parity(ptx::sem_acquire, ptx::scope_cluster, &s.empty[k], uint32_t(turn - 1) & 1)) {
          }
        }
        ptx::mbarrier_arrive_expect_tx(ptx::sem_release, ptx::scope_cta, ptx::space_shared, &s.full[k], sizeof(Stage));
        const int32_t at_a[] = {(first + step) * kStep, row}, at_b[] = {column, (first + step) * kStep + int(rank) * kStep / 2};
        ptx::cp_async_bulk_tensor(ptx::space_cluster, ptx::space_global, s.stages[k].a, &a, at_a, &s.full[k]);
        ptx::cp_async_bulk_tensor(ptx::space_cluster, ptx::space_global, s.stages[k].b[rank * kStep / 2], &b, at_b, &s.full[k],
                                  uint16_t(3));
      }
    }
  } else {
    float sums[16] = {};
    const int r = int(threadIdx.x) / 2, first_column = int(threadIdx.x) % 2 * 16;
    for (int step = 0; step < steps; ++step) {
      const int k = step % kStages;
      while (!ptx::mbarrier_try_wait_parity(&s.full[k], uint32_t(step / kStages) & 1)) {
      }
      for (int i = 0; i < kStep; ++i)
        for (int j = 0; j < 16; ++j) sums[j] += s.stages[k].a[r][i] * s.stages[k].b[i][first_column + j];
      __syncwarp();
      if (threadIdx.x % 32 < 2) {
        uint64_t* remote = cluster.map_shared_rank(&s.empty[k], int(threadIdx.x) % 32);
        ptx::mbarrier_arrive(ptx::sem_release, ptx::scope_cluster, ptx::space_cluster, remote);
      }
    }
    for (int j = 0; j < 16; ++j) s.c[r][first_column + j] = sums[j];
    ptx::fence_proxy_async(ptx::space_shared);
    asm volatile("bar.sync 1, %0;" ::"r"(kConsumers) : "memory");
    if (threadIdx.x < kRows)
      ptx::cp_reduce_async_bulk(ptx::space_global, ptx::space_shared, ptx::op_add, &c[(row + int(threadIdx.x)) * n + column],
                                s.c[threadIdx.x], uint32_t(sizeof s.c[0]));
    ptx::cp_async_bulk_commit_group();
    ptx::cp_async_bulk_wait_group(ptx::n32_t<0>());
  }
  cluster.sync();
}

void check_product() {
  const int m = 256, n = 64, k = 160, splits = 2;
  std::vector<float> a(m * k), b(k * n), want(m * n, 1.0f);
  for (size_t i = 0; i < a.size(); ++i) a[i] = float(int(i * 37 % 31) - 15);
  for (size_t i = 0; i < b.size(); ++i) b[i] = float(int(i * 13 % 17) - 8);
  for (int i = 0; i < m; ++i)
    for (int l = 0; l < k; ++l)
      for (int j = 0; j < n; ++j) want[i * n + j] += a[i * k + l] * b[l * n + j];
  float *da = device(a), *db = device(b), *dc = device(std::vector<float>(m * n, 1.0f));
  CHECK(cudaFuncSetAttribute(product, cudaFuncAttributeMaxDynamicSharedMemorySize, int(sizeof(Shared))));
  product<<<dim3(m / kRows, n / kColumns, splits), kConsumers + 32, sizeof(Shared)>>>(
      tensor(CU_TENSOR_MAP_DATA_TYPE_FLOAT32, da, k, m, k * 4, kStep, kRows),
      tensor(CU_TENSOR_MAP_DATA_TYPE_FLOAT32, db, n, k, n * 4, kColumns, kStep / 2), dc, n, k / kStep / splits);
  CHECK(cudaGetLastError());
  expect("pipeline of a cluster", host(dc, m * n) == want);
}

// ---- a block's data into its neighbour's shared memory ----

__global__ void __cluster_dims__(4, 1, 1) rotate(const int* in, int* out) {
  __shared__ alignas(16) int mine[64], theirs[64];
#pragma nv_diag_suppress static_var_with_dynamic_init
  __shared__ Barrier bar;
  cg::cluster_group cluster = cg::this_cluster();
  if (threadIdx.x == 0) init(&bar, 1);
  mine[threadIdx.x] = in[blockIdx.x * 64 + threadIdx.x];
  ptx::fence_proxy_async(ptx::space_shared);
  cluster.sync();
  if (threadIdx.x == 0) {
    const int next = int(cluster.block_rank() + 1) % 4;
    uint64_t* native = cuda::device::barrier_native_handle(bar);
    ptx::mbarrier_arrive_expect_tx(ptx::sem_release, ptx::scope_cta, ptx::space_shared, native, sizeof mine);
    ptx::cp_async_bulk(ptx::space_cluster, ptx::space_shared, cluster.map_shared_rank(theirs, next), mine, uint32_t(sizeof mine),
                       cluster.map_shared_rank(native, next));
  }
  bar.wait_parity(false);
  out[blockIdx.x * 64 + threadIdx.x] = theirs[63 - threadIdx.x];
  cluster.sync();
}

void check_rotation() {
  std::vector<int> in(512), want(512);
  for (int i = 0; i < 512; ++i) in[i] = i * 3;
  for (int block = 0; block < 8; ++block)
    for (int t = 0; t < 64; ++t) want[block * 64 + t] = in[(block / 4 * 4 + (block + 3) % 4) * 64 + 63 - t];
  int* out = device(std::vector<int>(512));
  rotate<<<8, 64>>>(device(in), out);
  expect("copies between blocks", host(out, 512) == want);
}

// ---- the second kernel may start before the first has ended ----

__global__ void first_kernel(int* x) {
  x[threadIdx.x] = int(threadIdx.x);
  cudaTriggerProgrammaticLaunchCompletion();
}
__global__ void second_kernel(int* x) {
  cudaGridDependencySynchronize();
  x[threadIdx.x] *= 2;
}
void check_dependent_launch() {
  int* x = device(std::vector<int>(64));
  first_kernel<<<1, 64>>>(x);
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = 1, config.blockDim = 64, config.attrs = &attribute, config.numAttrs = 1;
  CHECK(cudaLaunchKernelEx(&config, second_kernel, x));
  const auto v = host(x, 64);
  expect("dependent launch", v[0] == 0 && v[63] == 126);
}

}  // namespace

int main() {
  check_tensor_copies();
  check_product();
  check_rotation();
  check_dependent_launch();
  return bad != 0;
}
