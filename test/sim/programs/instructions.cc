// Prints the simulator's table of instruction families.
#include "sim/cuda/runtime.h"

int main() { simPrintInstructions(); }
