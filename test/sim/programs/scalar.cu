// Integer instructions that CUDA C++ has no name for, as inline assembly, against the manual's pseudocode on the host.
#include <cstdint>
#include <cstdio>
#include <vector>

#define CHECK(call)                                                       \
  do {                                                                    \
    cudaError_t status = (call);                                          \
    if (status != cudaSuccess) {                                          \
      printf("FAIL line %d: %s\n", __LINE__, cudaGetErrorString(status)); \
      return 1;                                                           \
    }                                                                     \
  } while (0)

namespace {

constexpr int kResults = 25;

#define ASM3(text) asm(text " %0, %1, %2, %3;" : "=r"(o[k++]) : "r"(a), "r"(b), "r"(c))
#define ASM2(text) asm(text " %0, %1, %2;" : "=r"(o[k++]) : "r"(a), "r"(b))

__global__ void kernel(const uint32_t* in, uint32_t* out) {
  const uint32_t a = in[threadIdx.x], b = in[threadIdx.x + 1], c = in[threadIdx.x + 2];
  uint32_t* o = out + threadIdx.x * kResults;
  int k = 0;
  ASM3("prmt.b32.f4e");
  ASM3("prmt.b32.b4e");
  ASM3("prmt.b32.rc8");
  ASM3("prmt.b32.ecl");
  ASM3("prmt.b32.ecr");
  ASM3("prmt.b32.rc16");
  ASM3("dp2a.lo.s32.s32");
  ASM3("dp2a.hi.u32.u32");
  ASM3("dp4a.s32.u32");
  ASM2("bmsk.clamp.b32");
  ASM2("bmsk.wrap.b32");
  ASM2("szext.clamp.s32");
  ASM2("szext.wrap.u32");
  asm("bfind.u32 %0, %1;" : "=r"(o[k++]) : "r"(a));
  asm("bfind.shiftamt.s32 %0, %1;" : "=r"(o[k++]) : "r"(a));
  asm("fns.b32 %0, %1, 3, 2;" : "=r"(o[k++]) : "r"(a));
  asm("mul24.hi.s32 %0, %1, %2;" : "=r"(o[k++]) : "r"(a), "r"(b));
  asm("mad24.lo.u32 %0, %1, %2, %3;" : "=r"(o[k++]) : "r"(a), "r"(b), "r"(c));
  asm("{add.cc.u32 %0, %2, %3; addc.u32 %1, %2, %4;}" : "=r"(o[k]), "=r"(o[k + 1]) : "r"(a), "r"(b), "r"(c));
  k += 2;
  asm("{sub.cc.u32 %0, %2, %3; subc.u32 %1, %2, %4;}" : "=r"(o[k]), "=r"(o[k + 1]) : "r"(a), "r"(b), "r"(c));
  k += 2;
  asm("set.lt.u32.s32 %0, %1, %2;" : "=r"(o[k++]) : "r"(a), "r"(b));
  asm("cvt.pack.sat.s16.s32 %0, %1, %2;" : "=r"(o[k++]) : "r"(a), "r"(b));
  asm("{.reg .pred p, q; setp.ne.u32 q, %1, 0; lop3.or.b32 %0|p, %1, %2, %3, 0x96, q; selp.b32 %0, %0, 0, p;}"
      : "=r"(o[k++])
      : "r"(a), "r"(b), "r"(c));
}

uint32_t permute(uint32_t a, uint32_t b, uint32_t selectors) {
  uint32_t r = 0;
  for (int k = 0; k < 4; ++k) r |= uint32_t((uint64_t(b) << 32 | a) >> 8 * (selectors >> 4 * k & 7) & 0xff) << 8 * k;
  return r;
}

void reference(uint32_t a, uint32_t b, uint32_t c, uint32_t* o) {
  const uint32_t modes[6][4] = {{0x3210, 0x4321, 0x5432, 0x6543}, {0x5670, 0x6701, 0x7012, 0x0123}, {0x0000, 0x1111, 0x2222, 0x3333},
                                {0x3210, 0x3211, 0x3222, 0x3333}, {0x0000, 0x1110, 0x2210, 0x3210}, {0x1010, 0x3232, 0x1010, 0x3232}};
  for (auto& mode : modes) *o++ = permute(a, b, mode[c & 3]);
  *o++ = c + uint32_t(int16_t(a) * int8_t(b)) + uint32_t(int16_t(a >> 16) * int8_t(b >> 8));
  *o++ = c + (a & 0xffff) * (b >> 16 & 0xff) + (a >> 16) * (b >> 24);
  uint32_t dot = c;
  for (int k = 0; k < 32; k += 8) dot += uint32_t(int8_t(a >> k) * int(uint8_t(b >> k)));
  *o++ = dot;
  const uint64_t ones = b >= 32 ? ~0ull : (1ull << b) - 1;
  *o++ = a >= 32 ? 0 : uint32_t(ones << a);
  *o++ = uint32_t(((1ull << (b & 31)) - 1) << (a & 31));
  *o++ = b >= 32 ? a : b == 0 ? 0 : uint32_t(int32_t(a << (32 - b)) >> (32 - b));
  *o++ = a & ((1u << (b & 31)) - 1);
  *o++ = a ? 31 - uint32_t(__builtin_clz(a)) : ~0u;
  const uint32_t magnitude = int32_t(a) < 0 ? ~a : a;
  *o++ = magnitude ? uint32_t(__builtin_clz(magnitude)) : ~0u;
  uint32_t found = ~0u;
  for (int k = 3, left = 2; k < 32 && found == ~0u; ++k)
    if (a >> k & 1 && --left == 0) found = uint32_t(k);
  *o++ = found;
  *o++ = uint32_t(int64_t(int32_t(a << 8) >> 8) * (int32_t(b << 8) >> 8) >> 16);
  *o++ = uint32_t(uint64_t(a & 0xffffff) * (b & 0xffffff)) + c;
  *o++ = a + b;
  *o++ = a + c + (uint64_t(a) + b > UINT32_MAX);
  *o++ = a - b;
  *o++ = a - c - (a < b);
  *o++ = int32_t(a) < int32_t(b) ? ~0u : 0;
  auto clamp = [](int32_t v) { return uint16_t(v < -32768 ? -32768 : v > 32767 ? 32767 : v); };
  *o++ = uint32_t(clamp(int32_t(a))) << 16 | clamp(int32_t(b));
  *o++ = (a ^ b ^ c) != 0 || a != 0 ? a ^ b ^ c : 0;
}

}  // namespace

int main() {
  std::vector<uint32_t> in{0, 1, 5, 31, 32, 33, 0x80000000u, 0xffffffffu, 0x7fffffffu, 100, 7, 40000, 0xffff0000u};
  uint32_t s = 1;
  while (in.size() < 66) in.push_back((s = s * 1664525u + 1013904223u) >> (s & 24));
  uint32_t *d, *o;
  CHECK(cudaMalloc(&d, in.size() * 4));
  CHECK(cudaMalloc(&o, 64 * kResults * 4));
  CHECK(cudaMemcpy(d, in.data(), in.size() * 4, cudaMemcpyHostToDevice));
  kernel<<<1, 64>>>(d, o);
  CHECK(cudaDeviceSynchronize());
  std::vector<uint32_t> got(64 * kResults), want(kResults);
  CHECK(cudaMemcpy(got.data(), o, got.size() * 4, cudaMemcpyDeviceToHost));
  int bad = 0;
  for (int t = 0; t < 64; ++t) {
    reference(in[t], in[t + 1], in[t + 2], want.data());
    for (int k = 0; k < kResults; ++k)
      if (got[t * kResults + k] != want[k] && ++bad < 10)
        printf("result %d of (%x, %x, %x): %x, want %x\n", k, in[t], in[t + 1], in[t + 2], got[t * kResults + k], want[k]);
  }
  printf(bad ? "FAIL %d\n" : "ok   integer instructions\n", bad);
  return bad != 0;
}
