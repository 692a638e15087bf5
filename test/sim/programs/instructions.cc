// Prints the simulator's table of instruction families.
#include "sim/control.h"

int main() { simPrintInstructions(); }
