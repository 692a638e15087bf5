// What CUDA's attention chooses, without a GPU: kernel, tiles, shared memory.
#include <initializer_list>

#include "attention/config.h"
#include "check.h"
#include "workspace.h"

using namespace heddle;
using namespace heddle::cuda;

namespace {

Card card_of(int sm, size_t shared_kib) {
  Card c{};
  c.sm = sm;
  c.multiprocessors = 100;
  c.shared_per_block = shared_kib << 10;
  c.shared_per_multiprocessor = (shared_kib + 1) << 10;
  return c;
}
const Card kT4 = card_of(75, 64), kA100 = card_of(80, 163), k3090 = card_of(86, 99), kH100 = card_of(90, 227);

Card with_hopper_code(Card c) {
  c.hopper = true;
  return c;
}
const Card kHopper = with_hopper_code(kH100);

alignas(16) char memory[64];

void dense(int64_t (&stride)[3], int64_t T, int64_t H, int64_t D) {
  stride[0] = T * H * D;
  stride[1] = H * D;
  stride[2] = D;
}

AttentionArgs forward(DType type, int64_t D, int64_t Tq = 1024, int64_t Tk = 1024) {
  AttentionArgs a{};
  a.s.type = type;
  a.s.B = 2;
  a.s.Tq = Tq;
  a.s.Tk = Tk;
  a.s.H = 4;
  a.s.Hkv = 2;
  a.s.D = D;
  a.s.scale = 0.125f;
  a.q = a.k = a.v = a.o = memory;
  dense(a.q_stride, Tq, 4, D);
  dense(a.o_stride, Tq, 4, D);
  dense(a.k_stride, Tk, 2, D);
  dense(a.v_stride, Tk, 2, D);
  return a;
}

AttentionBackwardArgs backward(DType type, int64_t D, int64_t Tq = 1024, int64_t Tk = 1024) {
  const AttentionArgs f = forward(type, D, Tq, Tk);
  AttentionBackwardArgs a{};
  a.s = f.s;
  a.q = a.k = a.v = a.o = a.d_o = memory;
  a.dq = a.dk = a.dv = memory;
  for (auto* stride : {&a.q_stride, &a.o_stride, &a.do_stride, &a.dq_stride}) dense(*stride, Tq, 4, D);
  for (auto* stride : {&a.k_stride, &a.v_stride, &a.dk_stride, &a.dv_stride}) dense(*stride, Tk, 2, D);
  return a;
}

void is(bool ok, const char* what, int line) { check::report(ok, __FILE__, line, what); }
#define IS(...) is((__VA_ARGS__), #__VA_ARGS__, __LINE__)

bool fused(const AttentionArgs& a, const Card& card) { return plan_attention(a, card).kernel == AttentionKernel::fused; }
bool fused(const AttentionBackwardArgs& a, const Card& card) { return plan_attention_backward(a, card).kernel == AttentionKernel::fused; }

void types() {
  IS(!fused(forward(DType::f32, 64), kA100) && !fused(backward(DType::f32, 64), kA100));
  for (const Card& card : {kA100, k3090, kH100})
    for (const DType type : {DType::bf16, DType::f16}) IS(fused(forward(type, 64), card) && fused(backward(type, 64), card));
  IS(!fused(forward(DType::bf16, 64), kT4) && !fused(backward(DType::bf16, 64), kT4));
  IS(fused(forward(DType::f16, 64), kT4) && fused(backward(DType::f16, 32), kT4));
}

void heads() {
  for (int64_t D = 16; D <= 256; D += 8) {
    IS(fused(forward(DType::bf16, D), k3090) && fused(backward(DType::bf16, D), k3090));
    IS(fused(forward(DType::f16, D), kT4) == (D <= 128));
    IS(fused(backward(DType::f16, D), kT4) == (D <= 32));
  }
  for (const int64_t D : {8, 20, 65, 127}) IS(!fused(forward(DType::bf16, D), kA100) && !fused(backward(DType::bf16, D), kA100));
  const int padded[][2] = {{16, 32}, {32, 32}, {40, 64}, {64, 64}, {72, 96}, {96, 96}, {104, 128}, {128, 128}, {136, 256}, {256, 256}};
  for (const auto& [D, head] : padded)
    IS(plan_attention(forward(DType::bf16, D), kA100).head == head &&
       plan_attention_backward(backward(DType::bf16, D), kA100).head == head);
}

// Q, K and V of a packed (B, T, 3, H, D), of which rows begin at multiples of 16 bytes; and others.
void strides() {
  AttentionArgs a = forward(DType::bf16, 64);
  a.q_stride[1] = a.k_stride[1] = a.v_stride[1] = 3 * 4 * 64;
  IS(fused(a, kA100));
  a.k_stride[1] += 4;
  IS(!fused(a, kA100));
  a = forward(DType::bf16, 64);
  a.v = memory + 2;
  IS(!fused(a, kA100));
  a = forward(DType::bf16, 64, 1);
  a.q_stride[1] = 1;  // of one query, leads nowhere
  IS(fused(a, kA100));
  AttentionBackwardArgs b = backward(DType::bf16, 64);
  b.dk_stride[2] = 63;
  IS(!fused(b, kA100));
}

void shapes() {
  for (const int64_t Tq : {1, 7, 4096})
    for (const int64_t Tk : {1, 100, 4096})
      IS(fused(forward(DType::bf16, 64, Tq, Tk), kA100) && fused(backward(DType::bf16, 64, Tq, Tk), kA100));
  AttentionArgs a = forward(DType::bf16, 64);
  a.s.scale = -1;
  IS(!fused(a, kA100));
  a.s.scale = 0;
  IS(!fused(a, kA100));
  a = forward(DType::bf16, 64);
  a.s.B = 70000;
  IS(!fused(a, kA100));
}

// What a block asks for is what its card has.
void shared_memory() {
  for (const Card& card : {kT4, kA100, k3090, kH100})
    for (const int D : {32, 64, 96, 128, 256}) {
      const AttentionPlan p = plan_attention(forward(DType::f16, D), card);
      IS(p.shared <= card.shared_per_block);
      const AttentionBackwardPlan b = plan_attention_backward(backward(DType::f16, D), card);
      if (b.kernel == AttentionKernel::composed) continue;
      IS(b.row_count % 32 == 0 && b.row_count >= 1024);
      for (const bool keys : {true, false}) {
        const int stages = keys ? b.key_stages : b.query_stages;
        IS((stages == 1 || stages == 2) && static_cast<size_t>(attention_backward_shared(D, keys, stages)) <= card.shared_per_block);
      }
    }
  IS(plan_attention_backward(backward(DType::bf16, 64), k3090).key_stages == 2);
  IS(plan_attention_backward(backward(DType::bf16, 128), k3090).key_stages == 2);
  IS(plan_attention_backward(backward(DType::bf16, 128), kA100).query_stages == 1);  // so that two blocks fit
  static_assert(2 * (attention_backward_shared(128, false, 1) + 1024) <= 164 * 1024);
  IS(plan_attention_backward(backward(DType::bf16, 256), k3090).key_stages == 1);
  IS(plan_attention_backward(backward(DType::bf16, 256), kA100).key_stages == 2);
}

// Few queries: chunks of keys, as many as the number of keys says.
void chunks() {
  IS(plan_attention(forward(DType::bf16, 64, 1, 256), kA100).chunks == 1);
  IS(plan_attention(forward(DType::bf16, 64, 17, 4096), kA100).chunks == 1);
  for (const int64_t Tk : {257, 1000, 4096, 4097, 100000}) {
    AttentionArgs a = forward(DType::bf16, 64, 1, Tk);
    const AttentionPlan p = plan_attention(a, kA100);
    IS(p.chunks > 1 && p.chunks <= kMostChunks && p.chunk % p.tile_k == 0);
    IS(int64_t{p.chunks} * p.chunk >= Tk && int64_t{p.chunks - 1} * p.chunk < Tk);
    IS(p.workspace == static_cast<size_t>(p.chunks * 2 * 4 * 65 * 4));
    a.s.B = 7;
    a.s.H = 2;
    IS(plan_attention(a, kH100).chunk == p.chunk);
  }
}

bool hopper(const AttentionArgs& a, const Card& card) { return plan_attention(a, card).kernel == AttentionKernel::hopper; }
bool hopper(const AttentionBackwardArgs& a, const Card& card) { return plan_attention_backward(a, card).kernel == AttentionKernel::hopper; }

// Heads of 64 and 128, where the build has code for Hopper; rows of an operand that are one and the same go elsewhere.
void on_hopper() {
  for (const int64_t D : {64, 128})
    for (const DType type : {DType::bf16, DType::f16}) {
      IS(hopper(forward(type, D), kHopper) && hopper(backward(type, D), kHopper));
      IS(fused(forward(type, D), kH100) && fused(backward(type, D), kH100));
    }
  for (const int64_t D : {32, 72, 96, 256}) IS(fused(forward(DType::bf16, D), kHopper) && fused(backward(DType::bf16, D), kHopper));
  IS(plan_attention(forward(DType::f32, 64), kHopper).kernel == AttentionKernel::composed);
  IS(fused(forward(DType::bf16, 64, 1, 1000), kHopper) && hopper(forward(DType::bf16, 64, 1, 100), kHopper));  // chunks of keys are others'
  AttentionArgs a = forward(DType::bf16, 64);
  a.k_stride[2] = 0;
  IS(fused(a, kHopper));
  a.s.Hkv = 1;  // leads nowhere
  IS(hopper(a, kHopper));
  a = forward(DType::bf16, 64);
  a.o_stride[1] = 4 * 64 + 1;
  IS(plan_attention(a, kHopper).kernel == AttentionKernel::composed);
  AttentionBackwardArgs b = backward(DType::bf16, 64);
  b.do_stride[1] = 0;
  IS(fused(b, kHopper));
  a = forward(DType::bf16, 64, int64_t{1} << 28);
  a.s.B = a.s.H = 1024;  // more tiles than 32 bits count
  IS(fused(a, kHopper));
  IS(plan_attention_backward(backward(DType::bf16, 64, 129), kHopper).row_count == 256);
}

// Keys in pages: as if they lay side by side, from where they are or copied first.
void pages() {
  int32_t table[1] = {};
  const auto paged = [&](AttentionArgs a) {
    a.pages = {table, 100, 16, 900};
    a.k_stride[0] = a.v_stride[0] = 16 * 2 * a.s.D;
    return a;
  };
  const auto same = [](const AttentionPlan& x, const AttentionPlan& y) {
    return x.kernel == y.kernel && x.chunk == y.chunk && x.chunks == y.chunks && x.head == y.head && x.workspace == y.workspace;
  };
  for (const Card& card : {kT4, kA100, kHopper})
    for (const DType type : {DType::f32, DType::f16})
      for (const int64_t Tq : {1, 100})
        for (const int64_t Tk : {100, 1000}) {
          const AttentionArgs side = forward(type, 64, Tq, Tk), there = paged(side);
          const AttentionPlan p = plan_attention(there, card);
          IS(same(p, plan_attention(side, card)) && p.gathers == (p.kernel != AttentionKernel::fused));
          IS(workspace(there, card) == workspace(side, card) + (p.gathers ? gathered_bytes(there) : 0));
        }
  AttentionArgs a = paged(forward(DType::bf16, 64, 1, 1000));
  IS(!plan_attention(a, kA100).gathers && gathered_bytes(a) == 2 * 2 * 1000 * 2 * 64 * 2);
  a.k_stride[1] = 2 * 64 + 1;
  IS(plan_attention(a, kA100).gathers && fused(a, kA100));
}

}  // namespace

int main() {
  types();
  heads();
  strides();
  shapes();
  shared_memory();
  chunks();
  on_hopper();
  pages();
  return check::result();
}
