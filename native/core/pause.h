#pragma once
// Waiting without sleeping.
#include <thread>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace heddle {

// One turn of a spin-wait: tells the processor, so that it saves power and its sibling thread gets the pipeline.
inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// How long a thread looks for work before it sleeps. Ops and kernels follow each other within microseconds, serial work between them
// takes some tens of these, and waking takes as long again (on a virtual machine more). So it looks closely first, and then for about
// half a millisecond lets other threads have the processor in between.
class Patience {
 public:
  // False: it is time to sleep.
  bool wait() {
    if (turns_ == kPauses + kYields) return false;
    turns_++ < kPauses ? pause() : std::this_thread::yield();
    return true;
  }
  void renew() { turns_ = 0; }

 private:
  static constexpr int kPauses = 500, kYields = 2000;
  int turns_ = 0;
};

}  // namespace heddle
