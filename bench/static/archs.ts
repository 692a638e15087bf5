// What a multiprocessor does per clock, as far as it is published: the tables behind every predicted ceiling. A model, not a measurement.
//
// Pipes are charged in cycles of a sub-partition (one scheduler, a quarter of a multiprocessor): a warp's instruction on a pipe of n lanes
// per multiprocessor takes 32 / (n / 4) of them. What the whole multiprocessor shares (shared memory, the port to L2, its part of DRAM)
// costs four times its cycles, because four schedulers compete for it alike.
//
// Sources. W: NVIDIA's white papers of A100 and H100. G: CUDA C++ Programming Guide, throughput and compute-capability tables. L: Luo et
// al., arXiv 2402.13499 and 2501.12084. A: Abdelkhalik et al., arXiv 2208.11174. S: spacing of instructions by ptxas 13.0.

export interface Arch {
  name: string;
  sms: number; // W
  ghz: number; // W: the clock behind the quoted peak
  /** Dense 16-bit FLOP per clock and multiprocessor. W */
  tensor: number;
  /** What mma.sync reaches of it. L, S */
  mmaSync: number;
  /** Results per clock and multiprocessor. G */
  lanes: Record<string, number>;
  /** GB/s. W */
  dram: number;
  /** KiB that blocks can have of a multiprocessor. G */
  sharedKib: number;
  /** Cycles until a result. A, L */
  latency: Record<string, number>;
}

const LATENCY = { smem: 29, ldsm: 33, shfl: 24, xu: 24, const: 30, special: 25, bar: 22, mbar: 30, l2: 262, dram: 480, hgmma: 32 };

/** By major compute capability times ten. */
export const ARCHS: Record<number, Arch> = {
  80: {
    ...{ name: 'A100-SXM4-80GB', sms: 108, ghz: 1.41, tensor: 2048, mmaSync: 1, dram: 2039, sharedKib: 164 },
    lanes: { fma: 64, half: 256, bf16: 128, imad: 64, alu: 64, xu: 16, fp64: 32, shfl: 32 },
    latency: { ...LATENCY, l2: 200, dram: 466 },
  },
  90: {
    ...{ name: 'H100-SXM5', sms: 132, ghz: 1.83, tensor: 4096, mmaSync: 0.629, dram: 3350, sharedKib: 228 },
    lanes: { fma: 128, half: 256, bf16: 256, imad: 64, alu: 64, xu: 16, fp64: 64, shfl: 32 },
    latency: { ...LATENCY, dram: 479 },
  },
};

/** Of every architecture here. G, W */
export const SHARED_BYTES = 128; // of shared memory per clock: 32 banks of 4 bytes
export const L2_PORT = 64; // bytes per clock from L2 to a multiprocessor
export const L2_TOTAL = 5120; // bytes per clock of the whole chip; W for A100, assumed for H100
export const REGISTERS = 65536;
export const MOST_WARPS = 64;
export const MOST_BLOCKS = 32;

/** Bytes of DRAM per clock and multiprocessor. */
export const dramBytes = (arch: Arch): number => arch.dram / arch.ghz / arch.sms;

export function archOf(sm: number): Arch {
  const arch = ARCHS[Math.floor(sm / 10) * 10];
  if (!arch) throw new Error(`static report: architectures are ${Object.keys(ARCHS).join(', ')}, got ${sm}`);
  return arch;
}

// An opcode up to its first dot -> its pipe. What stands nowhere is uniform (U...) or ALU.
const PIPES: Record<string, string> = {
  fma: 'FFMA FMUL FADD FFMA32I FMUL32I FADD32I FSWZADD',
  half: 'HFMA2 HADD2 HMUL2 HFMA2_MMA HADD2_32I',
  imad: 'IMAD IMUL IDP',
  xu: 'MUFU F2I I2F F2F FRND POPC FLO BREV FCHK',
  fp64: 'DADD DMUL DFMA DSETP',
  tensor: 'HMMA IMMA BMMA DMMA HGMMA IGMMA QGMMA BGMMA',
  shared: 'LDS STS LDSM STSM ATOMS',
  global: 'LDG STG LDGSTS LD ST ATOM ATOMG RED REDG LDL STL',
  shfl: 'SHFL',
  tma: 'UTMALDG UTMASTG UTMAREDG UBLKCP UBLKRED UTMACMDFLUSH UTMAPF UTMACCTL',
  mbar: 'SYNCS',
  const: 'LDC LDCU',
  special: 'S2R S2UR CS2R R2UR',
  control:
    'BRA BRX JMP EXIT RET CALL BSSY BSYNC BREAK WARPSYNC NOP NANOSLEEP YIELD KILL BPT BAR DEPBAR LDGDEPBAR WARPGROUP MEMBAR ERRBAR ' +
    'CCTL FENCE ELECT VOTE VOTEU USETMAXREG ENDCOLLECTIVE BMOV ARRIVES ACQBULK PREEXIT CGABAR UCGABAR_ARV UCGABAR_WAIT RPCMOV LEPC',
};
const PIPE_OF = new Map(Object.entries(PIPES).flatMap(([pipe, ops]) => ops.split(' ').map((op): [string, string] => [op, pipe])));

export const pipeOf = (root: string): string => PIPE_OF.get(root) ?? (root.startsWith('U') ? 'uniform' : 'alu');
