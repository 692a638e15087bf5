// A binary that takes its process down as it is loaded: the doctor must report it, not suffer it.
#include <cstdlib>

__attribute__((constructor)) static void crash() { std::abort(); }
