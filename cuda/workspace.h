#pragma once
// Scratch memory of every kernel that wants some, in bytes, and what decides it. Pure functions of the arguments and the card, compiled
// without CUDA too: a dry run on a planned card (native/plan) asks for the same.
#include <cstddef>
#include <cstdint>

#include "ops/backend.h"
#include "runtime/card.h"

namespace heddle::cuda {

size_t workspace(const ReduceArgs&, const Card&);
size_t workspace(const ColumnSumArgs&, const Card&);
size_t workspace(const MatmulArgs&, const Card&);
size_t workspace(const FP8QuantizeArgs&, const Card&);
size_t workspace(const FP8MatmulArgs&, const Card&);
size_t workspace(const NF4QuantizeArgs&, const Card&);
size_t workspace(const EmbeddingBackwardArgs&, const Card&);
size_t workspace(const NormBackwardArgs&, const Card&);
size_t workspace(const AttentionArgs&, const Card&);
size_t workspace(const AttentionBackwardArgs&, const Card&);
size_t workspace(const GradNormArgs&, const Card&);

// embedding/: the pairs that are sorted, and how many of each tile have each digit.
struct EmbeddingPair {
  int32_t id, i;
};
constexpr int kEmbeddingTile = 1024, kEmbeddingDigits = 256;
inline int64_t embedding_tiles(int64_t n) { return (n + kEmbeddingTile - 1) / kEmbeddingTile; }

// fp8/: maxima of parts.
inline int64_t fp8_parts(int64_t n) {
  constexpr int64_t kPart = 8192, kMost = 1024;
  const int64_t wanted = (n + kPart - 1) / kPart;
  return wanted < kMost ? wanted : kMost;
}

// norm/: blocks that share the rows, on every card as many: the order of the sums does not depend on its size.
constexpr int kNormWarps = 8;               // of a block
constexpr int64_t kNormWarpColumns = 1024;  // the longest aligned row for a warp; longer ones have a block each
inline int64_t norm_backward_blocks(const NormBackwardArgs& a) {
  constexpr int64_t kMost = 256;
  const int64_t wanted = a.cols <= kNormWarpColumns ? (a.rows + kNormWarps - 1) / kNormWarps : a.rows;
  return wanted < kMost ? wanted : kMost;
}

// optim/: partial sums of squares.
constexpr int64_t kNormPartial = 2048;  // elements of one, as long as there are few
inline int64_t grad_norm_partials(int64_t n) {
  constexpr int64_t kMost = 1024;
  const int64_t wanted = (n + kNormPartial - 1) / kNormPartial;
  return wanted < 1 ? 1 : wanted < kMost ? wanted : kMost;
}

}  // namespace heddle::cuda
