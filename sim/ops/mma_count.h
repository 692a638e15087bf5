// The profile's count of matrix products.
#pragma once

#include "sim/machine/machine.h"

namespace sim {

// D[m][n] += A[m][k] B[k][n]. A product is useful if neither factor is zero, as the padding of a ragged tile and its masked part are.
// `a(i, j)` and `b(j, i)` give the elements.
template <class A, class B>
void count_products(Warp& w, int m, int n, int k, A&& a, B&& b) {
  Profile& p = w.machine->profile;
  p.mma_flops += 2 * uint64_t(m) * uint64_t(n) * uint64_t(k);
  if (!w.machine->options.profile) return;
  for (int j = 0; j < k; ++j) {
    uint64_t rows = 0, columns = 0;
    for (int i = 0; i < m; ++i) rows += a(i, j) != 0;
    for (int i = 0; i < n; ++i) columns += b(j, i) != 0;
    p.useful_mma_flops += 2 * rows * columns;
  }
}

}  // namespace sim
