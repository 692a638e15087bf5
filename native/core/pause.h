#pragma once
// One turn of a spin-wait: tells the processor, so that it saves power and its sibling thread gets the pipeline.
#if defined(__x86_64__)
#include <immintrin.h>
#else
#include <thread>
#endif

namespace heddle {

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace heddle
