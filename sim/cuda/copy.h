// How copies and fills enter the queues.
#pragma once

#include "sim/cuda/work.h"

namespace sim {

enum class Wait : uint8_t { Never, AsDocumented };  // for the asynchronous and the synchronous forms of a call

// Checks the copy; stages pageable sources; waits where CUDA's table of API synchronisation behaviour says so.
void submit_copy(Session& s, cudaStream_t stream, CopyTask task, Wait wait, std::vector<WorkRef> after = {});
void submit_fill(Session& s, cudaStream_t stream, FillTask task);

CopyTask flat_copy(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind);
CopyTask copy_of(const cudaMemcpy3DParms& p);  // refuses arrays
cudaMemcpy3DParms params_of(const CopyTask& task);

// The address of offset + bytes within a __device__ variable. Takes the lock.
cudaError_t in_symbol(const void* symbol, size_t offset, size_t bytes, char** p);

}  // namespace sim
