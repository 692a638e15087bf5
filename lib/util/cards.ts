/** What a GPU can do at most, by its data sheet. */
export interface CardPeak {
  /** Floating-point operations a second of dense 16-bit products on tensor cores, summed in f32. */
  readonly tensor: number;
  /** Bytes a second between chip and memory. */
  readonly memory: number;
}

// By the driver's names: TFLOP/s and GB/s of NVIDIA's data sheets, without sparsity. The first that fits counts.
const CARDS: readonly (readonly [name: RegExp, tensor: number, memory: number])[] = [
  [/\bB200\b/, 2250, 8000],
  [/\bH200\b/, 989, 4800],
  [/\bH100 NVL\b/, 835, 3900],
  [/\bH100 PCIe\b/, 756, 2039],
  [/\bH100\b/, 989, 3350],
  [/\bA100 80GB PCIe\b/, 312, 1935],
  [/\bA100.*80GB\b/, 312, 2039],
  [/\bA100\b/, 312, 1555],
  [/\bA30\b/, 165, 933],
  [/\bL40S\b/, 362, 864],
  [/\bL40\b/, 181, 864],
  [/\bL4\b/, 121, 300],
  [/\bA40\b/, 149.7, 696],
  [/\bA10\b/, 125, 600],
  [/\bT4\b/, 65, 320],
  [/\bRTX 5090$/, 209.5, 1792],
  [/\bRTX 4090$/, 165.2, 1008],
  [/\bRTX 3090 Ti$/, 80, 1008],
  [/\bRTX 3090$/, 71, 936],
];

/** Of a card that the driver calls so, `NVIDIA H100 80GB HBM3`; undefined: not known here. */
export function cardPeak(card: string): CardPeak | undefined {
  const found = CARDS.find(([name]) => name.test(card));
  return found && { tensor: found[1] * 1e12, memory: found[2] * 1e9 };
}
