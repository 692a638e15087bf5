// Clusters: st.async and red.async into another block, bulk reductions, 128-bit accesses and atomics (sm_90a).
#include <cstdint>
#include <cstdio>

#define CHECK(call)                                                       \
  do {                                                                    \
    cudaError_t status = (call);                                          \
    if (status != cudaSuccess) {                                          \
      printf("FAIL line %d: %s\n", __LINE__, cudaGetErrorString(status)); \
      return 1;                                                           \
    }                                                                     \
  } while (0)

namespace {

__device__ uint32_t shared_address(const void* p) { return uint32_t(__cvta_generic_to_shared(p)); }
__device__ uint32_t in_block(uint32_t address, uint32_t rank) {
  uint32_t r;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(r) : "r"(address), "r"(rank));
  return r;
}

__global__ void __cluster_dims__(2, 1, 1) kernel(uint32_t* out, int32_t* sums) {
  __shared__ __align__(16) uint32_t box[64];
  __shared__ __align__(16) int32_t source[64];
  __shared__ uint32_t total;
  __shared__ uint64_t bar;
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  const uint32_t t = threadIdx.x, b = shared_address(&bar);
  if (t == 0) {
    total = 0;
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;\n\tfence.mbarrier_init.release.cluster;" ::"r"(b) : "memory");
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(b), "r"(64 * 4 + 64 * 4) : "memory");
  }
  asm volatile("fence.proxy.async.shared::cta;\n\tbarrier.cluster.arrive.aligned;\n\tbarrier.cluster.wait.aligned;" ::: "memory");
  const uint32_t far_bar = in_block(b, rank ^ 1);
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 [%0], %1, [%2];" ::"r"(in_block(shared_address(&box[t]), rank ^ 1)),
      "r"(rank * 1000 + t), "r"(far_bar)
      : "memory");
  asm volatile("red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 [%0], %1, [%2];" ::"r"(
                   in_block(shared_address(&total), rank ^ 1)),
               "r"(t), "r"(far_bar)
               : "memory");
  asm volatile(
      "{\n\t.reg .pred p;\nwait:\n\tmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%0], 0;\n\t@!p bra wait;\n}" ::"r"(b)
      : "memory");
  out[blockIdx.x * 65 + t] = box[t];
  if (t == 0) out[blockIdx.x * 65 + 64] = total;
  source[t] = int32_t(t) - 20;
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
  if (t == 0) {
    asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.s32 [%0], [%1], 256;" ::"l"(sums), "r"(shared_address(source))
                 : "memory");
    asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.max.s32 [%0], [%1], 256;" ::"l"(sums + 64), "r"(shared_address(source))
                 : "memory");
    asm volatile("cp.async.bulk.commit_group;\n\tcp.async.bulk.wait_group 0;" ::: "memory");
  }
  asm volatile("barrier.cluster.arrive.aligned;\n\tbarrier.cluster.wait.aligned;" ::: "memory");
}

__global__ void wide_kernel(ulonglong2* p) {
  unsigned long long low, high;
  asm volatile(
      "{\n\t.reg .b128 old, compare, value;\n\tmov.b128 compare, {%3, %4};\n\tmov.b128 value, {%5, %6};\n\t"
      "atom.global.relaxed.gpu.cas.b128 old, [%2], compare, value;\n\tmov.b128 {%0, %1}, old;\n}"
      : "=l"(low), "=l"(high)
      : "l"(p), "l"(1ull), "l"(2ull), "l"(3ull), "l"(4ull)
      : "memory");
  p[1] = make_ulonglong2(low, high);
  asm volatile("{\n\t.reg .b128 v;\n\tmov.b128 v, {%1, %2};\n\tatom.global.exch.b128 v, [%0], v;\n\tst.global.b128 [%0+32], v;\n}" ::"l"(p),
               "l"(5ull), "l"(6ull)
               : "memory");
}

}  // namespace

int main() {
  uint32_t *out, h[130];
  int32_t *sums, s[128];
  CHECK(cudaMalloc(&out, sizeof h));
  CHECK(cudaMalloc(&sums, sizeof s));
  CHECK(cudaMemset(sums, 0, sizeof s));
  kernel<<<2, 64>>>(out, sums);
  CHECK(cudaDeviceSynchronize());
  CHECK(cudaMemcpy(h, out, sizeof h, cudaMemcpyDeviceToHost));
  CHECK(cudaMemcpy(s, sums, sizeof s, cudaMemcpyDeviceToHost));
  int bad = 0;
  for (int b = 0; b < 2; ++b) {
    for (int t = 0; t < 64; ++t) bad += h[b * 65 + t] != uint32_t((b ^ 1) * 1000 + t);
    bad += h[b * 65 + 64] != 63 * 32;
  }
  for (int t = 0; t < 64; ++t) bad += s[t] != 2 * (t - 20) || s[64 + t] != (t < 20 ? 0 : t - 20);
  ulonglong2 *p, v[3] = {make_ulonglong2(1, 2), make_ulonglong2(0, 0), make_ulonglong2(0, 0)};
  CHECK(cudaMalloc(&p, sizeof v));
  CHECK(cudaMemcpy(p, v, sizeof v, cudaMemcpyHostToDevice));
  wide_kernel<<<1, 1>>>(p);
  CHECK(cudaDeviceSynchronize());
  CHECK(cudaMemcpy(v, p, sizeof v, cudaMemcpyDeviceToHost));
  bad += v[0].x != 5 || v[0].y != 6 || v[1].x != 1 || v[1].y != 2 || v[2].x != 3 || v[2].y != 4;
  printf(bad ? "FAIL %d\n" : "ok   asynchronous stores and 128-bit accesses\n", bad);
  return bad != 0;
}
