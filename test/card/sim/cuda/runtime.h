// The simulator's functions for tests, on a real card: scripts/conformance.mjs puts this folder before the simulator's. There is nothing to
// switch on a card, so programs that want more than these do not compile for one.
#pragma once

#include <cuda_runtime_api.h>

inline void simSetRace(int) {}
inline void simSetInit(int) {}
inline void simSetStrict(int) {}
inline void simSetSeed(unsigned) {}
inline double simKernelMs() { return 0; }
inline void simReset() { cudaGetLastError(); }
inline const char* simLastMessage() { return cudaGetErrorString(cudaPeekAtLastError()); }
