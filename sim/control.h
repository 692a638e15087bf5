// Control of the simulator by tests, beside the environment variables of docs/simulator.md. A program that runs on real devices does not
// call these.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)
void simSetSeed(unsigned long long seed);
void simSetRace(int on);
void simSetProfile(int on);
void simSetInit(int on);                       // reads of uninitialised memory; of what is allocated from now on
void simSetStrict(int on);                     // habits that the memory model does not ask for
void simSetThreads(int threads);               // of the host, for launches with independent blocks
void simSetLast(unsigned long long clusters);  // of larger grids only the last ones start; 0: all
int simProfileCount(void);                     // launches recorded since simSetProfile(1), at most 4096
const char* simProfileJson(int k);             // the k-th oldest; "" if there is none
void simProfileClear(void);
void simSetArch(int arch);         // of device 0: 80, 90, ...; before the first launch of any kernel
const char* simLastMessage(void);  // text of the last simulator error
void simReset(void);               // forget a fault
double simKernelMs(void);          // time spent executing kernels since the last call
void simPrintInstructions(void);   // the table of supported instructions, in Markdown
#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
