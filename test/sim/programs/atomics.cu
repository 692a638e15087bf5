// Atomic operations of every type and width, with scopes and orders; what libcu++ builds on them: barriers, latches, semaphores, pipelines.
#include <cooperative_groups.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdio>
#include <cstdlib>
#include <cuda/atomic>
#include <cuda/barrier>
#include <cuda/latch>
#include <cuda/pipeline>
#include <cuda/semaphore>
#include <cuda/std/complex>
#include <cuda/std/tuple>
#include <cuda/std/type_traits>
#include <vector>

#include "check.h"

namespace {

struct Cells {
  int i[12];
  unsigned u[12];
  unsigned long long l[12];
  long long s[4];
  float f[4];
  double d[4];
  __half h;
  __half2 h2;
  __nv_bfloat16 b;
  __nv_bfloat162 b2;
  unsigned short w[4];
  float4 f4;
  float2 f2;
  ulonglong2 wide;
  unsigned exchanged, spins;
  unsigned char bytes[8];
};

// 256 threads, thread t with t + 1.
__global__ void all(Cells* c) {
  const int t = int(blockIdx.x * blockDim.x + threadIdx.x), v = t + 1;
  atomicAdd(&c->i[0], v), atomicSub(&c->i[1], v), atomicMin(&c->i[2], -v), atomicMax(&c->i[3], v), atomicAnd(&c->i[4], ~(v & 0x70));
  atomicOr(&c->i[5], v), atomicXor(&c->i[6], v), atomicCAS(&c->i[7], t, v), atomicAdd_block(&c->i[8], v), atomicAdd_system(&c->i[9], v);
  atomicAdd(&c->u[0], unsigned(v)), atomicMin(&c->u[1], unsigned(v)), atomicMax(&c->u[2], unsigned(v)), atomicInc(&c->u[3], 99u);
  atomicDec(&c->u[4], 99u), atomicExch(&c->u[5], 7u), atomicAnd(&c->u[6], 0xfff0u), atomicOr(&c->u[7], unsigned(v)),
      atomicXor(&c->u[8], 3u);
  const unsigned long long wide = (unsigned long long)(v) << 33;
  atomicAdd(&c->l[0], wide), atomicMin(&c->l[1], wide), atomicMax(&c->l[2], wide), atomicAnd(&c->l[3], ~wide), atomicOr(&c->l[4], wide);
  atomicXor(&c->l[5], wide), atomicExch(&c->l[6], 5ull), atomicCAS(&c->l[7], 0ull, 9ull);
  atomicMin(&c->s[0], -(long long)(wide)), atomicMax(&c->s[1], (long long)(wide));
  atomicAdd(&c->f[0], float(v)), atomicExch(&c->f[1], 2.5f), atomicAdd(&c->d[0], double(v)), atomicAdd_system(&c->d[1], 0.5),
      atomicAdd_block(&c->f[2], 1.0f);
  atomicAdd(&c->h, __float2half(1.0f)), atomicAdd(&c->h2, __floats2half2_rn(1, 2));
  atomicAdd(&c->b, __float2bfloat16(1.0f)), atomicAdd(&c->b2, __floats2bfloat162_rn(1, 2));
  unsigned short old = c->w[0], seen;
  do seen = old, old = atomicCAS(&c->w[0], seen, (unsigned short)(seen + v));
  while (old != seen);
#if __CUDA_ARCH__ >= 900
  atomicAdd(&c->f4, make_float4(1, 2, 3, 4));
  atomicAdd(&c->f2, make_float2(1, 0.5f));
  ulonglong2 expected = {0, 0}, found;
  for (;;) {
    found = atomicCAS(&c->wide, expected, ulonglong2{expected.x + 1, expected.y + wide});
    if (found.x == expected.x && found.y == expected.y) break;
    expected = found;
  }
#endif
  cuda::atomic_ref<unsigned char, cuda::thread_scope_device>(c->bytes[t % 8]).fetch_add((unsigned char)1, cuda::memory_order_relaxed);
  cuda::atomic_ref<unsigned short, cuda::thread_scope_system>(c->w[1]).fetch_max((unsigned short)v);
  cuda::atomic_ref<double, cuda::thread_scope_device>(c->d[2]).fetch_max(double(v));
  // a lock, taken by one lane at a time
  for (bool done = false; !done;) {
    if (atomicCAS(&c->exchanged, 0u, 1u) == 0) {
      __threadfence();
      *static_cast<volatile unsigned*>(&c->spins) += 1;
      __threadfence();
      atomicExch(&c->exchanged, 0u);
      done = true;
    }
  }
}

void check_all() {
  Cells c{}, *p;
  c.i[2] = c.i[4] = -1, c.u[1] = ~0u, c.u[4] = 50, c.u[6] = ~0u, c.l[1] = c.l[3] = ~0ull;
  CHECK(cudaMalloc(&p, sizeof c));
  CHECK(cudaMemcpy(p, &c, sizeof c, cudaMemcpyHostToDevice));
  all<<<4, 64>>>(p);
  CHECK(cudaMemcpy(&c, p, sizeof c, cudaMemcpyDeviceToHost));
  const int sum = 256 * 257 / 2;
  const unsigned long long wide = 1ull << 33;
  int exclusive = 0;
  for (int v = 1; v <= 256; ++v) exclusive ^= v;
  expect("int", c.i[0] == sum && c.i[1] == -sum && c.i[2] == -256 && c.i[3] == 256 && c.i[4] == ~0x70 && c.i[5] == 511 &&
                    c.i[6] == exclusive && c.i[8] == sum && c.i[9] == sum && c.i[7] >= 1);
  expect("unsigned", c.u[0] == unsigned(sum) && c.u[1] == 1 && c.u[2] == 256 && c.u[3] == 56 && c.u[4] == (50 + 3 * 100 - 256) % 100 &&
                         c.u[5] == 7 && c.u[6] == 0xfff0u && c.u[7] == 511 && c.u[8] == 0);
  expect("64 bits", c.l[0] == wide * sum && c.l[1] == wide && c.l[2] == 256 * wide && c.l[3] == ~(511 * wide) && c.l[4] == 511 * wide &&
                        c.l[5] == wide * exclusive && c.l[6] == 5 && c.l[7] == 9 && c.s[0] == -256ll * (long long)(wide) &&
                        c.s[1] == 256ll * (long long)(wide));
  expect("floating point", c.f[0] == float(sum) && c.f[1] == 2.5f && c.f[2] == 256 && c.d[0] == sum && c.d[1] == 128 && c.d[2] == 256);
  expect("16-bit floating point", __half2float(c.h) == 256 && __low2float(c.h2) == 256 && __high2float(c.h2) == 512 &&
                                      __bfloat162float(c.b) == 256 && __low2float(c.b2) == 256 && __high2float(c.b2) == 512);
  expect("16 and 8 bits", c.w[0] == (unsigned short)sum && c.w[1] == 256 && c.bytes[0] == 32 && c.bytes[7] == 32);
  expect("a lock", c.spins == 256);
  cudaDeviceProp prop;
  CHECK(cudaGetDeviceProperties(&prop, 0));
  if (prop.major >= 9)
    expect("vectors and 128 bits", c.f4.x == 256 && c.f4.w == 1024 && c.f2.y == 128 && c.wide.x == 256 && c.wide.y == wide * sum);
}

// ---- libcu++ ----

using Ref = cuda::atomic_ref<int, cuda::thread_scope_device>;

// Block 0 writes messages, block 1 reads them.
__global__ void messages(int* ready, int* taken, int* payload, int* out, int rounds) {
  for (int r = 1; r <= rounds; ++r) {
    if (blockIdx.x == 0) {
      payload[threadIdx.x] = r * 1000 + int(threadIdx.x);
      __syncthreads();
      if (threadIdx.x == 0) {
        Ref(*ready).store(r, cuda::memory_order_release);
        Ref(*taken).wait(r - 1, cuda::memory_order_acquire);
      }
      __syncthreads();
    } else {
      if (threadIdx.x == 0)
        while (Ref(*ready).load(cuda::memory_order_acquire) != r) __nanosleep(50);
      __syncthreads();
      out[threadIdx.x] += payload[(threadIdx.x + r) % blockDim.x];
      __syncthreads();
      if (threadIdx.x == 0) Ref(*taken).store(r, cuda::memory_order_release);
    }
  }
}

__global__ void semaphores(int* inside, int* most) {
  __shared__ cuda::counting_semaphore<cuda::thread_scope_block, 2> two;
  __shared__ cuda::std::aligned_storage_t<sizeof(cuda::latch<cuda::thread_scope_block>), alignof(cuda::latch<cuda::thread_scope_block>)>
      place;
  auto& start = reinterpret_cast<cuda::latch<cuda::thread_scope_block>&>(place);
  __shared__ cuda::barrier<cuda::thread_scope_block> done;
  if (threadIdx.x == 0) {
    new (&two) cuda::counting_semaphore<cuda::thread_scope_block, 2>(2);
    new (&start) cuda::latch<cuda::thread_scope_block>(blockDim.x / 32);
    init(&done, blockDim.x);
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) {
    start.arrive_and_wait();
    two.acquire();
    const int now = atomicAdd(inside, 1) + 1;
    atomicMax(most, now);
    __nanosleep(100);
    atomicSub(inside, 1);
    two.release();
  }
  auto token = done.arrive();
  done.wait(cuda::std::move(token));
  done.arrive_and_drop();
}

// Roles: warp 0 loads, the others add up.
__global__ void roles(const float4* in, float* out, int chunks) {
  constexpr int depth = 3, chunk = 64;
  __shared__ alignas(16) float4 stage[depth][chunk];
  __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, depth> state;
  const bool loads = threadIdx.x < 32;
  auto pipe = cuda::make_pipeline(cooperative_groups::this_thread_block(), &state,
                                  loads ? cuda::pipeline_role::producer : cuda::pipeline_role::consumer);
  if (loads) {
    for (int c = 0; c < chunks; ++c) {
      pipe.producer_acquire();
      for (int k = int(threadIdx.x); k < chunk; k += 32)
        cuda::memcpy_async(&stage[c % depth][k], &in[c * chunk + k], cuda::aligned_size_t<16>(16), pipe);
      pipe.producer_commit();
    }
    return;
  }
  const int t = int(threadIdx.x) - 32;
  cuda::std::complex<float> sum(0, 0);
  for (int c = 0; c < chunks; ++c) {
    pipe.consumer_wait();
    const float4 v = stage[c % depth][(t + c) % chunk];
    sum += cuda::std::complex<float>(v.x, v.y) * cuda::std::complex<float>(v.z, v.w);
    pipe.consumer_release();
  }
  const auto both = cuda::std::make_tuple(sum.real(), sum.imag());
  out[2 * t] = cuda::std::get<0>(both), out[2 * t + 1] = cuda::std::get<1>(both);
}

void check_library() {
  int* p;
  CHECK(cudaMalloc(&p, 4096));
  CHECK(cudaMemset(p, 0, 4096));
  int rounds = 5, *ready = p, *taken = p + 1, *payload = p + 64, *out = p + 256;
  void* arguments[] = {&ready, &taken, &payload, &out, &rounds};
  CHECK(cudaLaunchCooperativeKernel(reinterpret_cast<void*>(messages), dim3(2), dim3(64), arguments, 0, nullptr));
  std::vector<int> v(1024);
  CHECK(cudaMemcpy(v.data(), p, 4096, cudaMemcpyDeviceToHost));
  bool ok = true;
  for (int t = 0; t < 64; ++t) {
    int want = 0;
    for (int r = 1; r <= 5; ++r) want += r * 1000 + (t + r) % 64;
    ok &= v[256 + t] == want;
  }
  expect("messages between blocks", ok);
  CHECK(cudaMemset(p, 0, 8));
  semaphores<<<1, 128>>>(p, p + 1);
  CHECK(cudaMemcpy(v.data(), p, 8, cudaMemcpyDeviceToHost));
  expect("semaphore, latch, barrier", v[0] == 0 && v[1] >= 1 && v[1] <= 2);

  std::vector<float> in(7 * 64 * 4), sums(128);
  for (size_t i = 0; i < in.size(); ++i) in[i] = float(int(i * 31 % 23) - 11);
  float *din, *dout;
  CHECK(cudaMalloc(&din, in.size() * 4));
  CHECK(cudaMalloc(&dout, 512));
  CHECK(cudaMemcpy(din, in.data(), in.size() * 4, cudaMemcpyHostToDevice));
  roles<<<1, 96>>>(reinterpret_cast<float4*>(din), dout, 7);
  CHECK(cudaMemcpy(sums.data(), dout, 512, cudaMemcpyDeviceToHost));
  ok = true;
  for (int t = 0; t < 64; ++t) {
    float real = 0, imaginary = 0;
    for (int c = 0; c < 7; ++c) {
      const float* e = &in[(c * 64 + (t + c) % 64) * 4];
      real += e[0] * e[2] - e[1] * e[3], imaginary += e[0] * e[3] + e[1] * e[2];
    }
    ok &= sums[2 * t] == real && sums[2 * t + 1] == imaginary;
  }
  expect("pipeline with roles", ok);
}

}  // namespace

int main() {
  check_all();
  check_library();
  return bad != 0;
}
