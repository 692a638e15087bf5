// The GPU architectures of a release, as cmake/cuda.cmake has them, and the names of their code in a binary.
export const PORTABLE = ['75', '80', '86', '89', '90', '100', '120'];
export const HOPPER = '90a'; // *_sm90.cu is compiled for it alone
export const SMALL = ['80']; // of a tarball that is only tested: machine code for A100, PTX for everything newer, and 90a

// What a binary with the portable kernels for `archs` holds: the PTX for 80 serves GPUs newer than the list.
export const codeFor = (archs) => [...archs.map((arch) => `sm_${arch}`), 'compute_80', `sm_${HOPPER}`];
