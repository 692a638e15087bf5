// detect_async_sm90.cu - planted bugs around mbarriers, TMA, proxies and clusters; what the memory model allows and strict mode reports.
#include <cuda/atomic>

#include "detect.h"
#include "gpu/gpu.cuh"
#include "gpu/ptx.cuh"

namespace {

constexpr int kBytes = 1024;

// One bulk copy of kBytes into `to`, whose arrival `bar` announces.
__device__ void bulk_load(void* to, const void* from, uint64_t* bar, int bytes) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(ptx::smem_addr(to)),
               "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(ptx::smem_addr(bar))
               : "memory");
}
__device__ void bulk_store(void* to, const void* from, int bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(__cvta_generic_to_global(to)), "r"(ptx::smem_addr(from)),
               "r"(bytes)
               : "memory");
}
__device__ void bulk_commit_and_wait() { asm volatile("cp.async.bulk.commit_group;\n\tcp.async.bulk.wait_group 0;" ::: "memory"); }

struct Stage {
  __align__(128) float data[kBytes / 4];
  uint64_t bar;
};

enum Mistake { kNone, kBytesMissing, kBytesTooMany, kNoInit, kTooManyArrivals, kNoWait };

template <int M>
__global__ void pipeline(float* out, const float* in) {
  __shared__ Stage s;
  if (threadIdx.x == 0 && M != kNoInit) ptx::mbar_init(&s.bar, 1);
  if (threadIdx.x == 0) ptx::mbar_fence_init();
  __syncthreads();
  if (threadIdx.x == 0) {
    ptx::mbar_arrive_expect_tx(&s.bar, M == kBytesMissing || M == kTooManyArrivals ? kBytes + 16
                                       : M == kBytesTooMany                        ? kBytes - 16
                                                                                   : kBytes);
    bulk_load(s.data, in, &s.bar, kBytes);
  }
  if (M == kTooManyArrivals) {
    __syncthreads();
    ptx::mbar_arrive(&s.bar);
  }
  if (M != kNoWait) ptx::mbar_wait(&s.bar, 0);
  out[threadIdx.x] = M == kNoWait ? 0.0f : s.data[threadIdx.x];
}

void check_message(const char* name, std::initializer_list<const char*> parts) {
  const std::string message = simLastMessage();
  std::string missing;
  for (const char* part : parts)
    if (message.find(part) == std::string::npos) missing += std::string(" '") + part + "'";
  expect(name, missing.empty(), missing.empty() ? message.substr(0, message.find('\n')) : "lacks" + missing + ":\n" + message);
  simReset();
}

void check_mbarriers() {
  DeviceBuffer<float> out(128), in(std::vector<float>(kBytes / 4, 1.0f));
  const auto run = [&](auto kernel) {
    simReset();
    kernel<<<1, 128>>>(out.get(), in.get());
    cudaDeviceSynchronize();
  };
  expect_clean("mbarrier", [&] { run(pipeline<kNone>); });
  run(pipeline<kBytesMissing>);
  check_message("mbarrier, bytes missing",
                {"deadlock", "pipeline", "block (0,0,0)", "threads ", "waits for the mbarrier at shared 'pipeline<1>::s' + 1024",
                 "ptx.cuh:", "phase 0, 0 of 1 arrivals pending, 16 bytes pending"});
  run(pipeline<kBytesTooMany>);
  check_message("mbarrier, too many bytes", {"deadlock", "waits for the mbarrier", "-16 bytes pending (more arrived than expected)"});
  run(pipeline<kNoInit>);
  check_message("mbarrier not initialised", {"is not initialised", "pipeline", "block (0,0,0)", "thread"});
  run(pipeline<kTooManyArrivals>);
  check_message("mbarrier, too many arrivals", {"more arrivals (1) than pending (0 of 1)", "pipeline", "block (0,0,0)", "(thread "});
  run(pipeline<kNoWait>);
  const std::string message = simLastMessage();  // early copies have landed by then
  expect("exit with a bulk copy in flight", message.empty() || message.find("still in flight") != std::string::npos, message);
  simReset();
}

// ---- proxies ----

enum Fence { kWriter, kReader, kNowhere, kOther };

// Thread t writes data[t] by an ordinary store; thread 0 sends them to global memory by the async proxy.
template <int F>
__global__ void send(float* out) {
  __shared__ __align__(128) float data[128];
  data[threadIdx.x] = float(threadIdx.x);
  if (F == kWriter) ptx::fence_proxy_async();
  __syncthreads();
  if (threadIdx.x == 0) {
    if (F == kReader) ptx::fence_proxy_async();
    bulk_store(out, data, 512);  // the async proxy reads
    bulk_commit_and_wait();
  }
  if (F == kOther && threadIdx.x == 64) ptx::fence_proxy_async();  // not on the path
}

// The fence before the barrier covers only the thread's own stores.
template <bool Bug>
__global__ void early_fence(float* out) {
  __shared__ __align__(128) float data[128];
  data[threadIdx.x] = float(threadIdx.x);
  if (!Bug || threadIdx.x == 0) ptx::fence_proxy_async();
  __syncthreads();
  if (threadIdx.x == 0) {
    bulk_store(out, data, 512);
    bulk_commit_and_wait();
  }
}

void check_proxies() {
  DeviceBuffer<float> out(128);
  for (const int race : {0, 1}) {
    simSetRace(race);
    const auto run = [&](auto kernel) {
      simReset();
      kernel<<<1, 128>>>(out.get());
      cudaDeviceSynchronize();
    };
    expect_clean("proxy fence by the writer", [&] { run(send<kWriter>); });
    expect_clean("proxy fence by the reader", [&] { run(send<kReader>); });
    expect("what was sent", out.read()[100] == 100.0f);
    run(send<kNowhere>);
    check_message("no proxy fence", {"missing fence.proxy.async", "shared 'send<2>::data'", "send", "block (0,0,0)", "(thread 0)", ".cu:"});
    run(early_fence<true>);
    check_message("proxy fence of one writer only", {"missing fence.proxy.async", "early_fence", "(thread 0)"});
    expect_clean("proxy fence of one writer only", [&] { run(early_fence<false>); });
  }
  simReset();
  send<kOther><<<1, 128>>>(out.get());
  cudaDeviceSynchronize();
  check_message("proxy fence off the path", {"missing fence.proxy.async", "send", "(thread 0)"});
  simSetRace(0);
}

// ---- strict mode ----

__global__ void init_then_barrier(float* out, const float* in) {
  __shared__ Stage s;
  if (threadIdx.x == 0) ptx::mbar_init(&s.bar, 1);
  __syncthreads();
  if (threadIdx.x == 0) {
    ptx::mbar_arrive_expect_tx(&s.bar, kBytes);
    bulk_load(s.data, in, &s.bar, kBytes);
  }
  ptx::mbar_wait(&s.bar, 0);
  out[threadIdx.x] = s.data[threadIdx.x];
}

__global__ void dynamic_base(unsigned* out) {
  extern __shared__ __align__(16) unsigned char dynamic[];
  out[0] = ptx::smem_addr(dynamic);
  dynamic[0] = 0;
}

void check_strict() {
  DeviceBuffer<float> out(128), in(std::vector<float>(kBytes / 4, 1.0f));
  DeviceBuffer<unsigned> base(1);
  expect_clean("mbarrier.init, then only bar.sync", [&] { init_then_barrier<<<1, 128>>>(out.get(), in.get()); });
  expect_clean("base of dynamic shared memory", [&] { dynamic_base<<<1, 1, 64>>>(base.get()); });
  expect("base as on sm_90", base.read()[0] == 1024, std::to_string(base.read()[0]));
  simSetStrict(1);
  init_then_barrier<<<1, 128>>>(out.get(), in.get());
  cudaDeviceSynchronize();
  check_message("strict: mbarrier.init, then only bar.sync",
                {"barrier after mbarrier.init without fence", "init_then_barrier", "(thread 0)"});
  dynamic_base<<<1, 1, 64>>>(base.get());
  expect("strict: base aligned as declared and no better", base.read()[0] % 32 == 16, std::to_string(base.read()[0]));
  simSetStrict(0);
}

// ---- clusters ----

template <bool Bug>
__global__ void __cluster_dims__(2) neighbour(int* out) {
  __shared__ int value;
  value = int(blockIdx.x);
  if (Bug)
    __syncthreads();
  else
    ptx::cluster_sync();
  const int* other = static_cast<const int*>(ptx::cluster_map(&value, ptx::cluster_rank() ^ 1));
  if (threadIdx.x == 0) out[blockIdx.x] = *other;  // planted: race in distributed shared memory
  ptx::cluster_sync();
}

// A flag in global memory orders two blocks of one cluster.
template <bool Bug>
__global__ void __cluster_dims__(2) flag_in_cluster(int* data, int* flag, int* out) {
  cuda::atomic_ref<int, cuda::thread_scope_device> f(*flag);
  if (ptx::cluster_rank() == 0) {
    *data = 42;
    f.store(1, Bug ? cuda::memory_order_relaxed : cuda::memory_order_release);
  } else {
    while (f.load(cuda::memory_order_acquire) == 0) {
    }
    *out = *data;  // planted: race, relaxed flag in a cluster
  }
}

void check_clusters() {
  simSetRace(1);
  DeviceBuffer<int> out(2), data(1), flag(std::vector<int>(1, 0));
  EXPECT_PLANTED("race in distributed shared memory", neighbour, "data race on shared", <<<2, 1>>>(out.get()));
  EXPECT_PLANTED("race, relaxed flag in a cluster", flag_in_cluster, "data race on global",
                 <<<2, 1>>>(data.get(), (cudaMemset(flag.get(), 0, 4), flag.get()), out.get()));
  simSetRace(0);
}

// ---- schedules ----

constexpr int kCopies = 20;

// One block copies step after step; the other looks for its flag meanwhile, which must not keep the copies from landing.
__global__ void copies_while_another_spins(float* out, const float* in, int* flag) {
  __shared__ Stage s;
  cuda::atomic_ref<int, cuda::thread_scope_device> f(*flag);
  if (blockIdx.x == 1) {
    while (f.load(cuda::memory_order_acquire) == 0) __nanosleep(20);
    out[1] = out[0];
    return;
  }
  ptx::mbar_init(&s.bar, 1);
  ptx::mbar_fence_init();
  float sum = 0;
  for (int k = 0; k < kCopies; ++k) {
    ptx::mbar_arrive_expect_tx(&s.bar, kBytes);
    bulk_load(s.data, in, &s.bar, kBytes);
    ptx::mbar_wait(&s.bar, k & 1);
    sum += s.data[k];
  }
  out[0] = sum;
  f.store(1, cuda::memory_order_release);
}

void check_schedules() {
  DeviceBuffer<float> out(2), in(std::vector<float>(kBytes / 4, 1.0f));
  DeviceBuffer<int> flag(std::vector<int>(1, 0));
  simSetProfile(1);
  simProfileClear();
  expect_clean("copies while another block spins", [&] { copies_while_another_spins<<<2, 1>>>(out.get(), in.get(), flag.get()); });
  expect("copies while another block spins: sum", out.read()[1] == float(kCopies), std::to_string(out.read()[1]));
  const std::string profile = simProfileJson(0), key = "\"warpInstructions\":";
  const size_t at = profile.find(key);
  const long executed = at == std::string::npos ? -1 : atol(profile.c_str() + at + key.size());
  expect("copies while another block spins: soon", executed > 0 && executed < 20'000, std::to_string(executed) + " instructions");
  simSetProfile(0);
}

}  // namespace

int main() {
  simSetArch(90);
  check_mbarriers();
  check_proxies();
  check_strict();
  check_clusters();
  check_schedules();
  return report();
}
