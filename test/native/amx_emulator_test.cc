// The tiles of amx.h: what a processor with AMX refuses, and how it adds, one instruction at a time.
#include "check.h"

#if !defined(__x86_64__) || !defined(__linux__)
int main() { return 77; }
#else

#include <algorithm>

#include "amx.h"

namespace {

// Code of the instructions that follow, operands at rax and rcx: what an assembler makes of them.
const uint8_t kConfigure[] = {0xc4, 0xe2, 0x78, 0x49, 0x00};          // ldtilecfg (%rax)
const uint8_t kRelease[] = {0xc4, 0xe2, 0x78, 0x49, 0xc0};            // tilerelease
const uint8_t kZero3[] = {0xc4, 0xe2, 0x7b, 0x49, 0xd8};              // tilezero %tmm3
const uint8_t kLoad1[] = {0xc4, 0xe2, 0x7b, 0x4b, 0x0c, 0x08};        // tileloadd (%rax,%rcx,1), %tmm1
const uint8_t kLoad2At8[] = {0xc4, 0xe2, 0x7b, 0x4b, 0x54, 0x48, 8};  // tileloadd 8(%rax,%rcx,2), %tmm2
const uint8_t kLoad3[] = {0xc4, 0xe2, 0x7b, 0x4b, 0x1c, 0x08};        // tileloadd (%rax,%rcx,1), %tmm3
const uint8_t kStore3[] = {0xc4, 0xe2, 0x7a, 0x4b, 0x1c, 0x08};       // tilestored %tmm3, (%rax,%rcx,1)
const uint8_t kMultiply312[] = {0xc4, 0xe2, 0x6a, 0x5c, 0xd9};        // tdpbf16ps %tmm2, %tmm1, %tmm3: 3 += 1 x 2
const uint8_t kMultiply311[] = {0xc4, 0xe2, 0x72, 0x5c, 0xd9};        // tdpbf16ps %tmm1, %tmm1, %tmm3

struct Config {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// The emulated tiles, one instruction at a time.
struct Tiles {
  amx::Machine machine;
  std::string run(const uint8_t* code, const void* at = nullptr, int64_t stride = 0) {
    uint64_t general[16] = {};
    general[0] = reinterpret_cast<uint64_t>(at), general[1] = static_cast<uint64_t>(stride);
    const amx::Outcome outcome = machine.execute(code, general);
    return outcome.problem ? outcome.problem : outcome.length ? "" : "none of AMX";
  }
};

bool says(const std::string& problem, const char* words) { return problem.find(words) != std::string::npos; }

// What the processor refuses, the emulator does.
void refusals() {
  const auto configured = [](auto change) {
    Config config;
    std::fill_n(config.row_bytes, 8, 64), std::fill_n(config.rows, 8, 16);
    change(config);
    return Tiles{}.run(kConfigure, &config);
  };
  CHECK(configured([](Config&) {}) == "");
  CHECK(says(configured([](Config& c) { c.palette = 2; }), "palette"));
  CHECK(says(configured([](Config& c) { c.start = 1; }), "first row"));
  CHECK(says(configured([](Config& c) { c.reserved[13] = 1; }), "reserved"));
  CHECK(says(configured([](Config& c) { c.row_bytes[8] = 64; }), "reserved"));
  CHECK(says(configured([](Config& c) { c.rows[8] = 16; }), "reserved"));
  CHECK(says(configured([](Config& c) { c.row_bytes[7] = 65; }), "more than 64 bytes"));
  CHECK(says(configured([](Config& c) { c.rows[7] = 17; }), "more than 16 rows"));
  CHECK(says(configured([](Config& c) { c.rows[2] = 0; }), "bytes without rows"));
  CHECK(says(configured([](Config& c) { c.row_bytes[2] = 0; }), "rows without bytes"));

  float memory[16 * 16] = {};
  for (const uint8_t* code : {kZero3, kLoad1, kStore3}) CHECK(says(Tiles{}.run(code, memory, 64), "before LDTILECFG"));
  CHECK(says(Tiles{}.run(kMultiply312), "before LDTILECFG"));
  const auto multiplied = [&](auto change, const uint8_t* code) {
    Config config;
    std::fill_n(config.row_bytes, 8, 64), std::fill_n(config.rows, 8, 16);
    change(config);
    Tiles tiles;
    CHECK(tiles.run(kConfigure, &config) == "");
    return tiles.run(code);
  };
  CHECK(multiplied([](Config&) {}, kMultiply312) == "");
  CHECK(says(multiplied([](Config&) {}, kMultiply311), "must differ"));
  CHECK(says(multiplied([](Config& c) { c.rows[1] = 15; }, kMultiply312), "those of the first operand"));
  CHECK(says(multiplied([](Config& c) { c.row_bytes[2] = 60; }, kMultiply312), "the sums' columns"));
  CHECK(says(multiplied([](Config& c) { c.rows[2] = 15; }, kMultiply312), "second one's rows"));
  CHECK(says(multiplied([](Config& c) { c.row_bytes[1] = 62; }, kMultiply312), "4 bytes"));
  CHECK(says(multiplied([](Config& c) { c.rows[2] = 0, c.row_bytes[2] = 0; }, kMultiply312), "leaves out"));

  Config config;
  std::fill_n(config.row_bytes, 8, 64), std::fill_n(config.rows, 8, 16);
  Tiles tiles;
  CHECK(tiles.run(kConfigure, &config) == "" && says(tiles.run(kConfigure, &config), "in use"));
  CHECK(tiles.run(kRelease) == "" && says(tiles.run(kZero3), "before LDTILECFG"));
  const uint8_t add[] = {0xc5, 0xf8, 0x58, 0xc0, 0x00}, undefined[] = {0x0f, 0x0b, 0x00, 0x00, 0x00};  // vaddps, ud2
  CHECK(tiles.run(add) == "none of AMX" && tiles.run(undefined) == "none of AMX");
}

float bf16(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

// 2 x 3 sums over 4 of k, by hand: shapes, strides, and how TDPBF16PS adds.
void arithmetic() {
  Config config;
  config.rows[1] = 2, config.row_bytes[1] = 8;   // a, 2 x 4
  config.rows[2] = 2, config.row_bytes[2] = 12;  // b, 4 x 3 as 2 rows of pairs
  config.rows[3] = 2, config.row_bytes[3] = 12;  // sums
  const auto product = [&](const uint16_t (&a)[8], const uint16_t (&b)[12], float start) {
    Tiles tiles;
    uint16_t b_rows[4 + 2 * 8 + 2] = {};  // rows of 16 bytes, 8 bytes behind what is loaded from
    std::copy_n(b, 6, b_rows + 4), std::copy_n(b + 6, 6, b_rows + 12);
    float sums[2][4] = {{start, start, start, 7}, {start, start, start, 7}};
    CHECK(tiles.run(kConfigure, &config) == "" && tiles.run(kLoad3, sums, 16) == "");
    CHECK(tiles.run(kLoad1, a, 8) == "" && tiles.run(kLoad2At8, b_rows, 8) == "");
    CHECK(tiles.run(kMultiply312) == "" && tiles.run(kStore3, sums, 16) == "");
    CHECK(sums[0][3] == 7 && sums[1][3] == 7);
    return std::vector<float>{sums[0][0], sums[0][1], sums[0][2], sums[1][0], sums[1][1], sums[1][2]};
  };
  const uint16_t one = 0x3f80, two = 0x4000, three = 0x4040, big = 0x4b80 /* 2^24 */, small = 0x0040 /* subnormal */, tiny = 0x2000;
  // b's columns: (1, 2, 3, 1), (1, 0, 0, 0), (0, 1, 0, 2)
  const uint16_t b[12] = {one, two, one, 0, 0, one, three, one, 0, 0, 0, two};
  CHECK(product({one, two, three, one, two, one, one, two}, b, 10) ==
        std::vector<float>({10 + 15, 10 + 1, 10 + 4, 10 + 9, 10 + 2, 10 + 5}));
  // The even ones are a chain, the odd ones another, and the tile comes last: 2^24 + 1 + 1 would be 2^24 in order, here the two 1 meet
  // first.
  CHECK(product({big, one, 0, one, 0, 0, 0, 0}, {one, one, 0, 0, 0, 0, one, one, 0, 0, 0, 0}, 0)[0] == 16777218);
  CHECK(product({big, 0, one, 0, 0, 0, 0, 0}, {one, one, 0, 0, 0, 0, one, one, 0, 0, 0, 0}, 1)[0] == 16777216);
  // Subnormal numbers are zero: operands, products and what is there.
  CHECK(product({small, 0, 0, 0, 0, 0, 0, 0}, {big, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)[0] == 0);
  CHECK(product({tiny, 0, 0, 0, 0, 0, 0, 0}, {tiny, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)[0] == bf16(tiny) * bf16(tiny));
  CHECK(product({tiny, 0, 0, 0, 0, 0, 0, 0}, {0x1000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)[0] == 0);
  CHECK(product({0, 0, 0, 0, 0, 0, 0, 0}, b, bf16(small))[0] == 0);
}

}  // namespace

int main() {
  check::backend();
  if (heddle::cpu::level() != "avx512") {
    std::printf("skipped: the tiles are emulated with AVX-512\n");
    return 77;
  }
  refusals();
  arithmetic();
  return check::result();
}

#endif
