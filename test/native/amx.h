#pragma once
// Intel AMX in software, so that machine code which uses it runs on x86-64 processors without: there its instructions raise SIGILL, and the
// handler does what they would have done, after Intel's Software Developer's Manual, volume 2. What they refuse, and what our code is not
// to do (configure tiles that were not given back), ends the program with a message. Of AMX-TILE all instructions but STTILECFG, of
// AMX-BF16 its one.
#include <immintrin.h>
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace amx {

constexpr int kTiles = 8, kRows = 16, kRowBytes = 64;

// FMA whose subnormal operands and results are zero: the MXCSR of the caller, who sets it.
__attribute__((target("avx512f"), noinline)) inline void multiply_rows(float* sum, const uint8_t* a, const uint8_t (*b)[kRowBytes],
                                                                       int pairs) {
  typedef uint32_t Words __attribute__((vector_size(kRowBytes)));
  __m512 even{}, odd{}, sums;
  for (int k = 0; k < pairs; ++k) {
    uint32_t x;
    Words y;
    std::memcpy(&x, a + 4 * k, sizeof x);
    std::memcpy(&y, b[k], sizeof y);
    even = _mm512_fmadd_ps((__m512)(Words{} + (x << 16)), (__m512)(y << 16), even);
    odd = _mm512_fmadd_ps((__m512)(Words{} + (x & 0xffff0000u)), (__m512)(y & 0xffff0000u), odd);
  }
  std::memcpy(&sums, sum, sizeof sums);
  sums += even + odd;
  std::memcpy(sum, &sums, sizeof sums);
}

// What an instruction came to: its length in bytes, 0 where it is none of AMX's; and what is wrong with it, or null.
struct Outcome {
  int length;
  const char* problem;
};

// The tiles of a thread.
class Machine {
 public:
  bool configured() const { return configured_; }
  const uint8_t* row(int tile, int row) const { return data_[tile][row]; }

  // general: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15.
  Outcome execute(const uint8_t* code, const uint64_t general[16]) {
    enum Prefix { none, p66, f3, f2 };
    if (code[0] != 0xc4 || (code[1] & 0x1f) != 2) return {0, nullptr};  // VEX of three bytes, opcodes 0F38
    const int R = !(code[1] & 0x80), X = !(code[1] & 0x40), B = !(code[1] & 0x20), W = code[2] >> 7, L = code[2] >> 2 & 1;
    const int v = ~code[2] >> 3 & 15, prefix = code[2] & 3, opcode = code[3];
    const int mod = code[4] >> 6, reg = (code[4] >> 3 & 7) | R << 3, rm = code[4] & 7;
    if ((opcode != 0x49 && opcode != 0x4b && opcode != 0x5c) || W || L) return {0, nullptr};

    int length = 5;
    uint64_t base = 0, stride = 0;
    if (mod != 3) {
      const bool sib = rm == 4;
      int from = rm | B << 3;
      if (sib) {
        const int byte = code[length++], index = (byte >> 3 & 7) | X << 3;
        from = (byte & 7) | B << 3;
        if (index != 4) stride = general[index] << (byte >> 6);
      } else if (opcode != 0x49) {
        return {length, "a tile is moved without an index"};
      }
      const bool no_base = mod == 0 && (from & 7) == 5;
      if (!no_base) base = general[from];
      if (mod == 1) base += static_cast<uint64_t>(static_cast<int8_t>(code[length++]));
      if (mod == 2 || no_base) {
        int32_t displacement;
        std::memcpy(&displacement, code + length, 4);
        length += 4;
        base += static_cast<uint64_t>(displacement);
        if (no_base && !sib) base += reinterpret_cast<uint64_t>(code) + static_cast<uint64_t>(length);  // relative to the next instruction
      }
    }
    if (opcode == 0x5c) return {length, mod == 3 && prefix == f3 ? multiply(reg, rm | B << 3, v) : "not TDPBF16PS"};
    if (v != 0) return {length, "VEX.vvvv must be 1111b"};
    if (opcode == 0x4b) {
      if (mod == 3 || prefix == none) return {length, "not a move of a tile"};
      if (const char* problem = unusable(reg)) return {length, problem};
      return prefix == f3 ? store(reg, base, stride, length) : load(reg, base, stride, length);
    }
    if (mod != 3 && prefix == none && reg == 0) return {length, configure(reinterpret_cast<const uint8_t*>(base + stride))};
    if (mod == 3 && prefix == none && reg == 0 && rm == 0) return {length, release()};
    if (mod == 3 && prefix == f2 && rm == 0) {
      const char* problem = unusable(reg);
      if (!problem) std::memset(data_[reg], 0, sizeof data_[reg]);
      return {length, problem};
    }
    return {length, "not an instruction of AMX-TILE that is known here"};
  }

 private:
  const char* configure(const uint8_t* config) {
    if (configured_) return "LDTILECFG: the tiles are in use, and would be lost";
    const auto zero = [&](int low, int high) {
      for (int i = low; i < high; ++i)
        if (config[i]) return false;
      return true;
    };
    if (config[0] != 1) return "LDTILECFG: the palette must be 1";
    if (config[1] != 0) return "LDTILECFG: the first row must be 0";
    if (!zero(2, 16) || !zero(32, 48) || !zero(56, 64)) return "LDTILECFG: reserved bytes must be 0";
    for (int t = 0; t < kTiles; ++t) {
      std::memcpy(&row_bytes_[t], config + 16 + 2 * t, 2);
      rows_[t] = config[48 + t];
      if (row_bytes_[t] > kRowBytes) return "LDTILECFG: a row of more than 64 bytes";
      if (rows_[t] > kRows) return "LDTILECFG: more than 16 rows";
      if (!rows_[t] != !row_bytes_[t]) return "LDTILECFG: rows without bytes, or bytes without rows";
    }
    std::memset(data_, 0, sizeof data_);
    configured_ = true;
    return nullptr;
  }
  const char* release() {
    configured_ = false;
    return nullptr;
  }
  const char* unusable(int tile) const {
    if (tile >= kTiles) return "there are 8 tiles";
    if (!configured_) return "a tile is used before LDTILECFG";
    return rows_[tile] ? nullptr : "a tile is used that the configuration leaves out";
  }
  Outcome load(int tile, uint64_t from, uint64_t stride, int length) {
    std::memset(data_[tile], 0, sizeof data_[tile]);
    for (int i = 0; i < rows_[tile]; ++i, from += stride)
      std::memcpy(data_[tile][i], reinterpret_cast<const void*>(from), row_bytes_[tile]);
    return {length, nullptr};
  }
  Outcome store(int tile, uint64_t to, uint64_t stride, int length) {
    for (int i = 0; i < rows_[tile]; ++i, to += stride) std::memcpy(reinterpret_cast<void*>(to), data_[tile][i], row_bytes_[tile]);
    return {length, nullptr};
  }
  // sum (m x n) += a (m x k pairs) b (k x n pairs)
  const char* multiply(int sum, int a, int b) {
    for (int tile : {sum, a, b})
      if (const char* problem = unusable(tile)) return problem;
    if (sum == a || a == b || sum == b) return "TDPBF16PS: the three tiles must differ";
    if (row_bytes_[sum] % 4 || row_bytes_[a] % 4 || row_bytes_[b] % 4) return "TDPBF16PS: rows must be of 4 bytes each";
    if (row_bytes_[sum] != row_bytes_[b]) return "TDPBF16PS: the sums' columns must be those of the second operand";
    if (rows_[sum] != rows_[a]) return "TDPBF16PS: the sums' rows must be those of the first operand";
    if (row_bytes_[a] / 4 != rows_[b]) return "TDPBF16PS: the first operand's columns must be the second one's rows";
    const unsigned before = _mm_getcsr();
    _mm_setcsr(0x9fc0);  // to nearest, subnormal numbers are zero, no exceptions
    for (int i = 0; i < rows_[sum]; ++i) {
      alignas(64) float row[kRowBytes / 4];
      std::memcpy(row, data_[sum][i], sizeof row);
      multiply_rows(row, data_[a][i], data_[b], row_bytes_[a] / 4);
      std::memset(data_[sum][i], 0, kRowBytes);
      std::memcpy(data_[sum][i], row, row_bytes_[sum]);
    }
    _mm_setcsr(before);
    return nullptr;
  }

  bool configured_ = false;
  uint8_t rows_[kTiles] = {};
  uint16_t row_bytes_[kTiles] = {};
  alignas(64) uint8_t data_[kTiles][kRows][kRowBytes] = {};
};

inline thread_local Machine machine;
inline std::atomic<int> holders{0};       // threads whose tiles are configured
inline std::atomic<int64_t> executed{0};  // instructions; none on a processor that has AMX

// Executes AMX's instructions of this process from now on, where the processor does not.
inline void install() {
  struct sigaction action{};
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = [](int, siginfo_t*, void* context) {
    greg_t* r = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    uint64_t general[16];
    constexpr int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                               REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    for (int i = 0; i < 16; ++i) general[i] = static_cast<uint64_t>(r[order[i]]);
    const bool before = machine.configured();
    const Outcome outcome = machine.execute(reinterpret_cast<const uint8_t*>(r[REG_RIP]), general);
    if (outcome.length == 0 || outcome.problem) {
      std::fprintf(stderr, "illegal instruction: %s\n", outcome.problem ? outcome.problem : "not one of AMX");
      _exit(1);
    }
    holders += static_cast<int>(machine.configured()) - static_cast<int>(before);
    ++executed;
    r[REG_RIP] += outcome.length;
  };
  sigaction(SIGILL, &action, nullptr);
}

}  // namespace amx
