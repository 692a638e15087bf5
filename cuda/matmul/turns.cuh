#pragma once
// Stream-K: the chunks of K of one sum, computed side by side and added to c in order.
//
// A counter hands out units of work in the order in which blocks start: chunk 0 of every tile, then chunk 1, and so on. Whoever has a
// chunk's sum waits until the chunks before it are in c, adds, and passes the turn on. A block waits only for units that were handed out
// before its own, to blocks that are running: nothing need be resident together, and the bits are those of one chunk after another.
#include "matmul/problem.cuh"
#include "ptx/order.cuh"

namespace heddle::cuda {

// One thread of a block or cluster, once.
__device__ inline uint32_t take_ticket(const MatmulProblem& p) { return atomicAdd(p.turns, 1u); }

// Of piece `piece` of a tile, whose pieces are finished independently; one thread for all that finish the piece, which go on after a
// barrier with it.
__device__ inline void wait_for_turn(const MatmulProblem& p, const MatmulBlock& at, uint32_t piece) {
  const uint32_t* turn = p.turns + 1 + at.place + piece;
  while (ptx::load_acquire(turn) != at.chunk) __nanosleep(64);
}
// After a barrier of all that finish the piece.
__device__ inline void pass_turn(const MatmulProblem& p, const MatmulBlock& at, uint32_t piece) {
  ptx::store_release(p.turns + 1 + at.place + piece, at.chunk + 1);
}

// The same for a block whose tile is one piece. Only sums over rows have turns: others' kernels know nothing of them.
template <bool AKMajor>
struct BlockTurn {
  static __device__ uint32_t unit(const MatmulProblem& p) {
    if (AKMajor || !p.turns) return blockIdx.x;
    __shared__ uint32_t ticket;
    if (threadIdx.x == 0) ticket = take_ticket(p);
    __syncthreads();
    return ticket;
  }
  static __device__ void wait(const MatmulProblem& p, const MatmulBlock& at) {
    if (AKMajor || !p.turns) return;
    if (threadIdx.x == 0) wait_for_turn(p, at, 0);
    __syncthreads();
  }
  static __device__ void pass(const MatmulProblem& p, const MatmulBlock& at) {
    if (AKMajor || !p.turns) return;
    __syncthreads();
    if (threadIdx.x == 0) pass_turn(p, at, 0);
  }
};

}  // namespace heddle::cuda
