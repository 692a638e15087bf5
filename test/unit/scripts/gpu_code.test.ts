// What proves that a binary holds the architectures it should, and that no kernel spills: each must be able to say no.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { packageRoot } from '../../../lib/native/load.ts';

const load = <T>(name: string): Promise<T> => import(pathToFileURL(path.join(packageRoot(), 'scripts', name)).href) as Promise<T>;
const { gpuCode, gpuCodeProblem } = await load<{
  gpuCode(bytes: Buffer): string[][];
  gpuCodeProblem(bytes: Buffer, wanted: string[], sources: string[]): string | undefined;
}>('fatbin.mjs');
const { PORTABLE, codeFor } = await load<{ PORTABLE: string[]; codeFor(archs: string[]): string[] }>('archs.mjs');
const { examine, loopProblems } = await load<{
  examine(report: string, ptx: string): { kernels: object[]; problems: string[] };
  loopProblems(ptx: string, source: string): string[];
}>('ptxas.mjs');

/** A fatbin with code of the given names, as nvcc lays it out. */
function fatbin(names: readonly string[]): Buffer {
  const entries = names.map((name) => {
    const [, kind, arch, variant] = /^(sm|compute)_(\d+)(a?)$/.exec(name) as RegExpExecArray;
    const entry = Buffer.alloc(64 + 8, 0xee);
    entry.fill(0, 0, 64);
    entry.writeUInt16LE(kind === 'compute' ? 1 : 2, 0);
    entry.writeUInt32LE(64, 4);
    entry.writeBigUInt64LE(8n, 8);
    entry.writeUInt32LE(Number(arch), 28);
    entry.writeBigUInt64LE(variant ? 1n << 20n : 0n, 40);
    return entry;
  });
  const body = Buffer.concat(entries);
  const header = Buffer.from('50ed55ba01001000'.padEnd(32, '0'), 'hex');
  header.writeBigUInt64LE(BigInt(body.length), 8);
  return Buffer.concat([Buffer.alloc(24, 7), header, body, Buffer.alloc(64)]);
}

const sources = ['cuda/a/one.cu', 'cuda/a/two.cu', 'cuda/a/three_sm90.cu'];
const wanted = codeFor(['80', '90']);
const whole = [...wanted].filter((name) => name !== 'sm_90a');

test('the architectures of each .cu file are read from a binary', (t) => {
  t.deepEqual(gpuCode(Buffer.concat([fatbin(['sm_80', 'compute_80']), fatbin(['sm_90a'])])), [['sm_80', 'compute_80'], ['sm_90a']]);
  t.deepEqual(gpuCode(Buffer.alloc(100)), []);
  t.deepEqual(gpuCode(fatbin(['sm_80']).subarray(0, 60)), [], 'cut off');
});

test('a binary with everything passes, one that lacks something does not', (t) => {
  const binary = (...files: string[][]): Buffer => Buffer.concat(files.map(fatbin));
  t.is(gpuCodeProblem(binary(whole, whole, ['sm_90a']), wanted, sources), undefined);
  t.is(gpuCodeProblem(Buffer.alloc(64), wanted, sources), 'it has no GPU code');
  t.regex(
    gpuCodeProblem(binary(whole, ['sm_80', 'compute_80'], ['sm_90a']), wanted, sources) ?? '',
    /has code for compute_80 sm_80, expected/,
  );
  t.regex(gpuCodeProblem(binary(whole, ['sm_80', 'sm_90'], ['sm_90a']), wanted, sources) ?? '', /expected compute_80 sm_80 sm_90/);
  t.regex(gpuCodeProblem(binary(whole, whole), wanted, sources) ?? '', /2 \.cu files, 0 of them for sm_90a alone; the sources are 3 and 1/);
  t.regex(gpuCodeProblem(binary(whole, ['sm_90a'], ['sm_90a']), wanted, sources) ?? '', /2 of them for sm_90a alone/);
});

test('the list of architectures is that of the build', (t) => {
  const cmake = readFileSync(path.join(packageRoot(), 'cmake/cuda.cmake'), 'utf8');
  t.true(cmake.includes(`set(HEDDLE_ARCHS ${PORTABLE.join(' ')})`));
});

/** One kernel in the words of ptxas. */
const said = (registers: number, stack = 0, spills = 0): string =>
  `ptxas info    : Compiling entry function 'k' for 'sm_80'
ptxas info    : Function properties for k
    ${stack} bytes stack frame, ${spills} bytes spill stores, 0 bytes spill loads
ptxas info    : Used ${registers} registers, used 1 barriers, 360 bytes cmem[0]`;
const ptx = (bounds = '.maxntid 256'): string => `.visible .entry k(\n\t.param .u64 p\n)\n${bounds}\n{\n}`;

test('a kernel that fits has no problems; spills, stack frames, registers, serialised wgmma are', (t) => {
  t.deepEqual(examine(said(128), ptx()), { kernels: [{ name: 'k', registers: 128, stack: 0, spills: 0, threads: 256 }], problems: [] });
  t.regex(examine(said(128, 0, 8), ptx()).problems.join(), /spills 8 bytes/);
  t.regex(examine(said(128, 16), ptx()).problems.join(), /stack frame of 16 bytes/);
  t.regex(examine(said(168), ptx('.maxntid 512')).problems.join(), /needs 168 registers for 512 threads/);
  t.regex(examine(said(20), ptx('')).problems.join(), /no __launch_bounds__/);
  const serialised = 'ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized';
  t.deepEqual(examine(`${said(128)}\n${serialised}`, ptx()).problems, [serialised]);
});

test('a report that is not understood is a problem, too', (t) => {
  t.regex(examine(said(128).replace('bytes stack frame', 'bytes of stack'), ptx()).problems.join(), /not understood/);
  t.regex(examine('', ptx()).problems.join(), /not understood: 0 kernels read, 0 reported, 1 in the PTX/);
});

test('loops with products: ldmatrix of four matrices, and wgmma where the kernel is for Hopper alone', (t) => {
  const mma = 'mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1}, {%r1}, {%r2}, {%f1};';
  const read = (n: number): string => `ldmatrix.sync.aligned.m8n8.x${n}.shared.b16 {%r1}, [%r2];`;
  const ptx = (before: string, loop: string): string =>
    `.visible .entry k(.param .u64 p)\n{\n${before}\n$L__BB0_1:\n${loop}\n@%p1 bra $L__BB0_1;\n@%p1 bra $L__BB0_2;\n$L__BB0_2:\nret;\n}\n`;
  t.deepEqual(loopProblems(ptx('', `${read(4)}\n${mma}`), 'cuda/a.cu'), []);
  t.deepEqual(loopProblems(ptx('', `${read(2)}\n${mma}`), 'cuda/a.cu'), ['k: ldmatrix narrower than .x4 in a loop with products']);
  t.deepEqual(loopProblems(ptx(read(2), `${read(4)}\n${mma}`), 'cuda/a.cu'), []); // not in the loop
  t.deepEqual(loopProblems(ptx('', read(2)), 'cuda/a.cu'), []); // no products there
  t.regex(loopProblems(ptx('', mma), 'cuda/a_sm90.cu').join(), /^k: mma\.sync in a loop of a kernel for Hopper alone/);
  t.deepEqual(loopProblems(ptx(mma, 'wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16;'), 'cuda/a_sm90.cu'), []);
});
