// Leaks on purpose: a weak symbol of a shared name, compiled for a higher instruction set.
inline __attribute__((noinline)) float shared(float x) { return x * x; }

namespace heddle::cpu::HEDDLE_ISA {
float leak(float x) { return shared(x); }
}  // namespace heddle::cpu::HEDDLE_ISA
