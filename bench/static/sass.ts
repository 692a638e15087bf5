// Kernels out of what `nvdisasm -hex -gi` prints of a cubin.
import { demangle } from './demangle.ts';
import { type Instruction, type Line, parseInstruction } from './instruction.ts';

export interface Kernel {
  symbol: string;
  name: string;
  /** 80, 90. */
  sm: number;
  registers: number;
  staticShared: number;
  /** Of __launch_bounds__, 0 where there are none. */
  maxThreads: number;
  code: Instruction[];
  /** Label -> address. */
  labels: Map<string, number>;
}

/** What a row says, and what is done about it: the kernel, then what the pattern caught. */
type Rule = [pattern: RegExp, act: (kernel: Kernel, first: string, second: string) => void];

function follow(rules: readonly Rule[], row: string, kernel: Kernel): void {
  for (const [pattern, act] of rules) {
    const found = pattern.exec(row);
    if (!found) continue;
    act(kernel, found[1] as string, found[2] ?? '');
    return;
  }
}

/**
 * Kernels that `wanted` accepts by name.
 * @throws Error where the text is not nvdisasm's
 */
export function parseSass(text: string, origin = 'the disassembly', wanted: (name: string) => boolean = () => true): Kernel[] {
  const target = /(?:\.target\s+sm_|EF_CUDA_SM)(\d+)/.exec(text)?.[1];
  if (!target) throw new Error(`${origin} is not what nvdisasm -hex -gi prints: it names no architecture`);
  const sm = Number(target);
  const kernels = new Map<string, Kernel>();
  const get = (symbol: string): Kernel => {
    const known = kernels.get(symbol);
    if (known) return known;
    const kernel = { symbol, name: demangle(symbol), sm, registers: 0, staticShared: 0, maxThreads: 0, code: [], labels: new Map() };
    kernels.set(symbol, kernel);
    return kernel;
  };

  let section = '';
  let kernel: Kernel | undefined; // in its section of code
  let pending: [address: number, text: string] | undefined; // its first 64 bits were read
  let lines: Line[] = [];
  let fresh = false; // the last row was a line of source
  let attribute = '';
  let words: (string | number)[] = [];

  const inCode: Rule[] = [
    [
      /SHI_REGISTERS=(\d+)/,
      (k, n) => {
        k.registers = Number(n);
      },
    ],
    [
      /^\s*\/\/## File "([^"]*)", line (\d+)/,
      (_, file, line) => {
        lines = [...(fresh ? lines : []), [file, Number(line)]];
        fresh = true;
      },
    ],
    [
      /^\s*\/\*([0-9a-f]{4,})\*\/\s+(.*?)\s*;\s*\/\* 0x[0-9a-f]{16} \*\//,
      (_, address, text) => {
        pending = [Number.parseInt(address, 16), text];
        fresh = false;
      },
    ],
    [
      /^\s*\/\* 0x([0-9a-f]{16}) \*\//,
      (k, high) => {
        if (pending) k.code.push(parseInstruction(...pending, BigInt(`0x${high}`), lines));
        pending = undefined;
      },
    ],
    [/^(\.L\S+):/, (k, label) => void k.labels.set(label, (k.code.at(-1)?.address ?? -16) + 16)],
  ];
  const inInfo: Rule[] = [
    [
      /nvinfo : (\w+)/,
      (_, name) => {
        [attribute, words] = [name, []];
      },
    ],
    [
      /\.word\s+index@\((\S+)\)/,
      (_, symbol) => {
        words = [symbol];
      },
    ],
    [
      /\.word\s+0x([0-9a-f]+)/,
      (_, word) => {
        words.push(Number.parseInt(word, 16));
        if (attribute === 'EIATTR_REGCOUNT' && words.length === 2) get(words[0] as string).registers = words[1] as number;
        if ((attribute === 'EIATTR_MAX_THREADS' || attribute === 'EIATTR_REQNTID') && words.length === 3)
          get(section.slice('.nv.info.'.length)).maxThreads = words.reduce<number>((a, b) => a * Number(b), 1);
      },
    ],
  ];
  const system = sm >= 90 ? 1024 : 0; // Hopper counts the system's own among a kernel's shared memory
  const inShared: Rule[] = [
    [
      /^\s*\.zero\s+(\d+)/,
      (k, bytes) => {
        k.staticShared = Number(bytes) - system;
      },
    ],
  ];
  const nobody = get('');

  for (const row of text.split('\n')) {
    const next = /^\s*\.section\s+([^,\s]+)/.exec(row)?.[1];
    if (next !== undefined) {
      section = next;
      kernel = section.startsWith('.text.') && wanted(demangle(section.slice(6))) ? get(section.slice(6)) : undefined;
      [lines, attribute] = [[], ''];
    } else if (kernel) follow(inCode, row, kernel);
    else if (section.startsWith('.nv.info')) follow(inInfo, row, nobody);
    else if (section.startsWith('.nv.shared.')) follow(inShared, row, get(section.slice('.nv.shared.'.length)));
  }
  return [...kernels.values()].filter((k) => k.code.length > 0);
}
