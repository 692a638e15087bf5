// What looks wrong in a kernel's machine code, in words.
import { L2_TOTAL } from './archs.ts';
import type { Instruction } from './instruction.ts';
import { isLocal } from './instruction.ts';
import type { Loop } from './loops.ts';
import { lineName } from './loops.ts';
import { count, type Launched, type LoopReport, l2Demand } from './model.ts';

const ADDRESS = new Set(['IMAD', 'IADD3', 'LEA', 'LOP3', 'SHF', 'VIADD', 'IADD', 'SEL', 'PRMT', 'IABS', 'ISETP', 'SGXT']);
const percent = (x: number): string => `${Math.round(100 * x)} %`;

/** Global accesses below 16 bytes; `where` is put in front. */
function narrow(code: readonly Instruction[], least: number, where: string): string[] {
  const accesses = code.filter((c) => ['LDG', 'STG', 'LDGSTS'].includes(c.root) && c.width < 16 && !c.off);
  const kinds = Object.entries(count(accesses.map((c) => `${c.root} of ${c.width} bytes`)));
  return kinds.filter(([, n]) => n >= least).map(([kind, n]) => `${where}${n} ${kind} a thread`);
}

function ofProduct(kernel: Launched, path: readonly Instruction[], r: LoopReport): string[] {
  const found: string[] = [];
  const gmma = Object.keys(r.mma).some((name) => name.includes('GMMA'));
  const moves = path.filter((c) => c.root === 'MOV' || c.op.startsWith('IMAD.MOV')).length;
  const integer = path.filter((c) => ADDRESS.has(c.root) && !c.op.startsWith('IMAD.MOV')).length;
  if (integer > (gmma ? 8 : 1) * r.mmas) found.push(`integer work: ${integer} IMAD/IADD3/LEA/LOP3/... for ${r.mmas} MMA`);
  const small = path.filter((c) => c.root === 'LDSM' && c.width < 16).length;
  if (small > 0) found.push(`${small} LDSM without .x4`);
  const words = path.filter((c) => c.root === 'LDS' && !c.off).length;
  if (!gmma && words > 0 && !r.ops.LDSM) found.push(`fragments by ${words} LDS, not LDSM`);
  if (!gmma && kernel.arch.mmaSync < 1)
    found.push(`mma.sync reaches ${percent(kernel.arch.mmaSync)} of the tensor peak here, wgmma all of it`);
  if (gmma) {
    const alone = path.filter((c) => c.flops > 0 && c.operands.includes('gsb0')).length;
    const drains = path.filter((c) => c.op.startsWith('WARPGROUP.DEPBAR') && c.args.at(-1) === '0x0').length;
    if (alone >= r.mmas && r.mmas > 1) found.push('wgmma serialised: every HGMMA is committed and waited for alone (C7510)');
    else if (drains > 0)
      found.push(`the tensor pipe is drained ${drains}x an iteration: ${Math.round(r.mmas / drains)} HGMMA for each wait for all`);
    if (moves > 8 * r.mmas) found.push(`${moves} register moves for ${r.mmas} HGMMA (copies of accumulators?)`);
    if (!r.tmaKnown) found.push('bytes of a TMA stage not found in the code: smem and l2 leave them out');
  }
  const [asks, share] = [l2Demand(r), L2_TOTAL / kernel.arch.sms];
  if (asks > 1.02 * share)
    found.push(`asks L2 for ${Math.round(asks)} B a clock; an even share is ${Math.round(share)}, unless blocks read the same lines`);
  const barriers = path.filter((c) => c.root === 'BAR' && c.op.includes('SYNC')).length;
  if (barriers > 1) found.push(`${barriers} BAR.SYNC an iteration`);
  return found;
}

/** Of a loop's hot path. */
export function loopRemarks(kernel: Launched, loop: Loop, r: LoopReport): string[] {
  const { path } = loop;
  const found: string[] = [];
  const spills = path.filter(isLocal).length;
  if (spills > 0) found.push(`spill: ${spills} LDL or STL an iteration`);
  const calls = path.filter((c) => c.root === 'CALL' && !c.operands.includes('`(.L')).length;
  if (calls > 0) found.push(`${calls} CALL an iteration (the slow path of a division or a square root?)`);
  if (r.mmas > 0) found.push(...ofProduct(kernel, path, r));
  const mufu = r.ops.MUFU ?? 0;
  if (mufu >= 4 && (r.ops.FSETP ?? 0) >= 0.8 * mufu)
    found.push(`${r.ops.FSETP} FSETP for ${mufu} MUFU: exp2f or logf with denormals; ex2.approx.ftz has none`);
  found.push(...narrow(path, 1, ''));
  if (r.mmas === 0 && r.bytes > 0 && r.dram[1] < 0.8)
    found.push(`latency shows when data are in DRAM: ${r.bytes * r.warps * 4} B in flight a multiprocessor`);
  return found;
}

/** Of everything outside of loops, and of how it is launched. */
export function kernelRemarks(kernel: Launched): string[] {
  const found: string[] = [];
  const { arch, registers, threads, blocksPerSm, limiter, flow } = kernel;
  if (blocksPerSm === 0) found.push(`does not fit on a multiprocessor: too much of ${limiter}; the figures are for one block`);
  const spills = kernel.code.filter(isLocal);
  const lines = Object.entries(count(spills.map((c) => lineName(c.lines)))).map(([line, n]) => `${line} (${n})`);
  if (spills.length > 0) found.push(`${spills.length} spill or stack instructions: ${lines.slice(0, 4).join(', ')}`);
  const fit = Math.floor(65536 / (128 * Math.ceil(threads / 128) * (blocksPerSm + 1)) / 8) * 8;
  if (limiter === 'registers' && registers - fit <= 16)
    found.push(`${registers} registers; ${fit} would fit ${blocksPerSm + 1} blocks on a multiprocessor`);
  const divisions = flow.outside.filter((c) => c.root === 'FCHK').length;
  if (divisions > 2)
    found.push(`${divisions} divisions outside of loops (FCHK and a slow path), on ${arch.name} about 10 instructions each`);
  return kernel.code.some((c) => c.flops > 0) ? [...found, ...narrow(flow.outside, 8, 'outside of loops: ')] : found;
}
