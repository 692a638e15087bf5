// The static report's reading of machine code, on pieces of what ptxas 13.0 made of our own kernels (sass/, as nvdisasm -hex -gi prints
// them), and its model: no disassembler, no compiler, no GPU.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import { archOf } from '../../../bench/static/archs.ts';
import { demangle, shortName } from '../../../bench/static/demangle.ts';
import { findDisassembler } from '../../../bench/static/disassembler.ts';
import { charges, type Instruction, parseInstruction } from '../../../bench/static/instruction.ts';
import type { Loop } from '../../../bench/static/loops.ts';
import { analyse, analyseKernel, hotLoop, type Launched, type LoopReport, launched, loopOf } from '../../../bench/static/model.ts';
import { type Profile, parseLaunches } from '../../../bench/static/profile.ts';
import { type RecordedLoop, regressions } from '../../../bench/static/recorded.ts';
import { kernelRemarks, loopRemarks } from '../../../bench/static/remarks.ts';
import { type Kernel, parseSass } from '../../../bench/static/sass.ts';
import { simulate } from '../../../bench/static/schedule.ts';
import { functionsOf } from '../../../bench/static/symbols.ts';
import { outsideOf, type TileKernel, tileOf, wholeShare } from '../../../bench/static/whole.ts';

const text = (name: string): string => readFileSync(path.join('test', 'unit', 'bench', 'sass', `${name}.sass`), 'utf8');
const only = (name: string): Kernel => parseSass(text(name), name)[0] as Kernel;
const ampere = (): Launched => launched(only('matmul.sm_80'), { dynamicShared: 65536 });
const hot = (kernel: Launched): LoopReport => hotLoop(analyseKernel(kernel, false)) as LoopReport;
const lines = (code: string): Instruction[] =>
  code
    .trim()
    .split('\n')
    .map((line, i) => {
      const [, stall, write, wait, what] = /^\s*(\d+) (\d) (\d+) (.*)$/.exec(line) as RegExpExecArray;
      const control = BigInt(Number(stall) | 16 | (Number(write) << 5) | (7 << 8) | (Number(wait) << 11));
      return parseInstruction(16 * i, what as string, control << 41n, []);
    });

test('control fields agree with what the text says, and with what must hold on any machine', (t) => {
  for (const name of ['matmul.sm_80', 'matmul.sm_90a', 'softmax.sm_80']) {
    const { code } = only(name);
    const set = new Set(code.flatMap((c) => [c.writeBar, c.readBar]));
    for (const c of code) {
      const reused = [...c.reuse.toString(2)].filter((bit) => bit === '1').length;
      t.is(reused, c.text.split('.reuse').length - 1, c.text);
      if (['fma', 'imad', 'alu'].includes(c.pipe) || c.root === 'HMMA') t.deepEqual([c.writeBar, c.readBar], [7, 7], c.text);
      if (['LDG', 'LDSM', 'SHFL', 'S2R'].includes(c.root) && !c.off) t.true(c.writeBar < 6, c.text);
      if (name === 'softmax.sm_80') for (let b = 0; b < 6; b++) if ((c.wait >> b) & 1) t.true(set.has(b), c.text); // whole, not a piece
    }
  }
});

test('the portable matmul: 64x64 of a warp, 16 LDSM.x4 and 8 copies of 16 bytes for 64 products', (t) => {
  const kernel = ampere();
  t.like(kernel, { name: 'matmul_mma_kernel<bf16,128,1,1,1>', sm: 80, maxThreads: 128, blocksPerSm: 2, limiter: 'registers' });
  const r = hot(kernel);
  t.deepEqual(r.mma, { 'HMMA.16816': 64 });
  t.like(r, {
    flops: 64 * 2 * 16 * 8 * 16,
    bytes: 8 * 32 * 16,
    wavefronts: 16 * 4,
    warps: 2,
    unit: 'tensor peak',
    binding: 'tensor',
    ceiling: 1,
  });
  t.is(Math.round(r.cycles.tensor as number), 64 * 8 * 2); // ptxas spaces HMMA by the same 8 cycles
  t.is(r.loop, 'loop mma.cuh:129');
  t.true(kernel.flow.loops.some((l) => l.depth === 1)); // what copies the last tile; off the hot path
});

test('the Hopper matmul: the consumers are the hot loop, fed by what the producer announces', (t) => {
  const kernel = launched(only('matmul.sm_90a'), { threads: 384, dynamicShared: 229376 });
  const r = hot(kernel);
  t.deepEqual(r.mma, { 'HGMMA.64x256x16': 4 });
  t.like(r, { specialised: true, warps: 2, tmaBytes: (128 + 256) * 128, tmaKnown: true, binding: 'tensor', ceiling: 1 });
  t.is(r.flops, (4 * 2 * 64 * 256 * 16) / 4);
});

test('a streaming kernel is one path, and DRAM bounds it', (t) => {
  const kernel = launched(only('softmax.sm_80'), {});
  const r = hot(kernel);
  t.like(r, { depth: -1, bytes: 2 * 32 * 16, binding: 'dram', unit: 'DRAM bandwidth', ceiling: 1, mmas: 0 });
  t.is(hot(launched(only('softmax.sm_80'), { dramShare: 0.5 })).cycles.dram, (r.cycles.dram as number) / 2);
});

test('more shared memory leaves fewer blocks; too much is said', (t) => {
  t.is(launched(only('matmul.sm_80'), { dynamicShared: 100_000 }).blocksPerSm, 1);
  const none = launched(only('matmul.sm_80'), { dynamicShared: 200_000 });
  t.is(none.blocksPerSm, 0);
  t.true(kernelRemarks(none).some((l) => l.includes('does not fit')));
});

test('planted faults in the hot loop are remarked upon', (t) => {
  const remarks = (from: string, to: string): string => {
    const changed = text('matmul.sm_80').replaceAll(from, to);
    t.not(changed, text('matmul.sm_80'), from);
    const kernel = launched(parseSass(changed)[0] as Kernel, { dynamicShared: 65536 });
    const [loop, r] = [kernel.flow.loops.find((l) => l.path.some((c) => c.flops > 0)), hot(kernel)];
    return loop ? loopRemarks(kernel, loop, r).join('\n') : '';
  };
  t.regex(remarks('LDSM.16.M88.4', 'LDSM.16.M88.2'), /16 LDSM without \.x4/);
  t.regex(remarks('LDGSTS.E.BYPASS.LTC128B.128', 'LDGSTS.E.64'), /8 LDGSTS of 8 bytes a thread/);
  t.regex(remarks('LDGDEPBAR', 'STL [R1], R2'), /spill: 1 LDL or STL/);
});

test('pipes are charged by the tables', (t) => {
  const one = (line: string, sm: number) => charges(lines(`1 7 0 ${line}`)[0] as Instruction, archOf(sm));
  t.deepEqual(one('FFMA R1, R2, R3, R4', 80), { fma: 2 });
  t.deepEqual(one('FFMA R1, R2, R3, R4', 90), { fma: 1 });
  t.deepEqual(one('MUFU.EX2 R1, R2', 80), { xu: 8 });
  t.deepEqual(one('LDSM.16.M88.4 R4, [R1]', 80), { smem: 16 });
  t.deepEqual(one('LDG.E.128 R4, [R2.64]', 80), { smem: 16, l2: 32 });
  t.deepEqual(one('@!PT LDS RZ, [RZ]', 80), {});
  t.is(one('HMMA.16816.F32.BF16 R4, R8, R12, R4', 80).tensor, 8);
  t.true((one('HMMA.16816.F32.BF16 R4, R8, R12, R4', 90).tensor as number) > 6); // mma.sync does not reach wgmma's rate
  t.deepEqual(one('HGMMA.64x256x16.F32.BF16 R24, gdesc[UR4], R24', 90), { tensor: 128, smem: 80 });
  t.deepEqual(one('HGMMA.64x256x16.F32.BF16 R24, R4, gdesc[UR4], R24', 90), { tensor: 128, smem: 64 });
});

test('a simulated schedule waits for stalls, scoreboards and pipes', (t) => {
  const arch = archOf(80);
  const run = (code: string, warps = 1, memory = 200): number => simulate(lines(code), arch, { warps, group: warps, memory });
  t.is(run('4 7 0 IADD3 R1, R2, R3, R4\n6 7 0 BRA `(.L_x_1)'), 10);
  const load = run('1 0 0 LDG.E R4, [R2.64]\n1 7 1 IADD3 R1, R4, R3, R4'); // 8 or 9 cycles of a port, 200 of latency, one to issue
  t.true(load > 208 && load < 212, `${load}`);
  t.is(run('1 7 0 HMMA.16816.F32.BF16 R4, R8, R12, R4\n1 7 0 NOP'), 8);
  t.is(run('8 7 0 IADD3 R1, R2, R3, R4', 2), 8); // warps fill one another's stalls
});

test('names of kernels, mangled and demangled, come to the same', (t) => {
  t.is(
    demangle('_ZN6heddle4cuda17matmul_mma_kernelI13__nv_bfloat16Li128ELb1ELb0ELb1EEEvNS0_13MatmulProblemE'),
    'matmul_mma_kernel<bf16,128,1,0,1>',
  );
  t.is(shortName('void heddle::cuda::matmul_mma_kernel<__nv_bfloat16, 128, true, false, true>'), 'matmul_mma_kernel<bf16,128,1,0,1>');
  const optimizer =
    '_ZN6heddle4cuda45_GLOBAL__N__24f79279_12_optimizer_cu_0f0a327f14optimizer_stepILNS_9OptimizerE0E13__nv_bfloat16EEvNS_13OptimizerArgsEb';
  t.is(demangle(optimizer), 'optimizer_step<0,bf16>');
  t.is(
    shortName('void heddle::cuda::(anonymous namespace)::optimizer_step<(heddle::cuda::Optimizer)0, __nv_bfloat16>'),
    'optimizer_step<0,bf16>',
  );
  // A template among the arguments of another.
  const codes =
    '_ZN6heddle4cuda20matmul_hopper_kernelINS0_5CodesI13__nv_bfloat16LNS_3FP8E0ELS4_1EEELi128ELi64ELb1ELb1EEEvNS0_13MatmulProblemE14CUtensorMap_stS7_NS0_7BoxMapsE';
  t.is(demangle(codes), 'matmul_hopper_kernel<Codes<bf16,0,1>,128,64,1,1>');
  t.is(
    shortName(
      'void heddle::cuda::matmul_hopper_kernel<heddle::cuda::Codes<__nv_bfloat16, (heddle::FP8)0, (heddle::FP8)1>, 128, 64, true, true>',
    ),
    'matmul_hopper_kernel<Codes<bf16,0,1>,128,64,1,1>',
  );
  t.deepEqual(tileOf('matmul_hopper_kernel<Codes<bf16,0,1>,128,64,1,1>'), { m: 128, n: 64, cluster: 2, persistent: true });
  t.is(demangle('matmul'), 'matmul');
});

test('launches of the simulator are read job by job', (t) => {
  const launch =
    '{"kernel":"void heddle::cuda::norm_warp<float, false, 4, 6>","grid":[16,1,1],"block":[128,1,1],"dynamicShared":0,"warpInstructions":7,"mmaFlops":0,' +
    '"globalLoad":{"requests":1,"bytes":2,"sectors":3,"idealSectors":4},"globalStore":{"requests":1,"bytes":2,"sectors":3,"idealSectors":4},"bulkBytes":0,' +
    '"sharedLoad":{"wavefronts":1,"conflicts":1},"sharedStore":{"wavefronts":2,"conflicts":2},"matrix":{"wavefronts":3,"conflicts":3}}';
  const read = parseLaunches(`${launch}\njob layernorm: backward|0|64\nnoise\n${launch}\n\nend\n${launch}`);
  t.is(read.size, 1);
  const { launches, bytes } = read.get('layernorm: backward|0') as { launches: object[]; bytes: number };
  t.is(bytes, 64);
  t.is(launches.length, 1);
  t.like(launches[0], { kernel: 'norm_warp<float,0,4,6>', blocks: 16, threads: 128, conflicts: 6, wavefronts: 6 });
});

/** As if it were scheduled without a gap, and nothing stood around its main loop. */
function perfect(kernel: Launched, m: number, n: number, cluster: number): TileKernel {
  const loop = { ...hot(kernel), l2: [1, 1] as [number, number] };
  return { kernel, loop, hot: loopOf(kernel, loop) as Loop, m, n, cluster, persistent: cluster > 1, outside: 0 };
}
const product = (M: number, N: number, K: number) => ({ kind: 'dW' as const, name: '', M, N, K });

test('a product of whole tiles: its waves, its epilogue, its chunks of K', (t) => {
  const tile = perfect(ampere(), 128, 128, 1);
  const whole = { chunks: 1, chunkK: 768 };
  t.is(wholeShare(tile, product(128 * 216, 128, 768), whole).share, 1); // 216 places for blocks
  t.is(wholeShare(tile, product(128 * 216 * 3, 100, 768), whole).share, 100 / 128); // of every tile some columns are not there
  const over = wholeShare(tile, product(128 * 217, 128, 768), whole);
  t.true(over.fill > 0.48 && over.fill < 217 / 324, `${over.fill}`); // one alone, whose waits nobody fills
  const slow = wholeShare({ ...tile, outside: 4 * 24 * 512 }, product(128 * 216, 128, 768), whole);
  t.is(slow.share, 0.5); // as long outside of the loop as in it: 24 iterations of 512 cycles a block
  t.is(slow.outside, 0.5);
  t.is(wholeShare(tile, product(128 * 108, 128, 1536), { chunks: 2, chunkK: 768 }).share, 1);
});

test("Hopper's blocks start two below each other", (t) => {
  const tile = perfect(launched(only('matmul.sm_90a'), { threads: 384, dynamicShared: 229376 }), 128, 256, 2);
  const share = (cluster: number, rows: number) =>
    wholeShare({ ...tile, cluster }, product(128 * rows, 1024, 768), { chunks: 1, chunkK: 768 }).share;
  t.is(share(2, 66), 1); // 132 multiprocessors, 4 tiles beside each other
  t.is(share(1, 33), 1);
  t.is(share(2, 33), 0.5); // 34 rows of tiles
  const wave = (chunks: number) => wholeShare(tile, product(128 * 66, 512, 768), { chunks, chunkK: 768 / chunks }).share;
  t.is(wave(1), 1);
  const depth = (768 / 64) * 1024; // cycles
  t.true(Math.abs(wave(2) - depth / (depth + 2 * 479)) < 1e-9); // each chunk is a block of its own, which waits for its first tile
});

test('what a block does outside of its main loop, from the counts of two depths', (t) => {
  const kernel = ampere();
  const loop = hot(kernel); // 32 of k an iteration
  const profile = { main: { warpInstructions: 1000 + 8 * 50 }, deeper: { warpInstructions: 1000 + 16 * 50 } } as Profile;
  // 20 iterations' worth: 8 of them sum over 256.
  t.is(outsideOf(kernel, loop, profile, 256, 128, 128), 20 * 4 * loop.instructions);
  t.is(outsideOf(kernel, loop, { main: profile.main } as Profile, 256, 128, 128), 0);
  t.deepEqual(tileOf('matmul_hopper_kernel<bf16,128,256,1,1>'), { m: 128, n: 256, cluster: 2, persistent: true });
  t.deepEqual(tileOf('matmul_mma_kernel<bf16,64,1,1,1>'), { m: 64, n: 64, cluster: 1, persistent: false });
  t.is(tileOf('norm_warp<bf16,0,8,3>'), undefined);
});

test('worse than recorded: more than 5 % more instructions, a lower ceiling', (t) => {
  const r = hot(ampere());
  const perMflop = (r.instructions * 1e6) / r.flops;
  const was = { sm: 80, job: 'matmul', kernel: '', source: '', threads: 128, dynamicShared: 0, dramShare: 1, ceiling: 1 } as RecordedLoop;
  t.deepEqual(regressions({ ...was, instructionsPerMflop: perMflop / 1.04 }, r), []);
  t.regex(regressions({ ...was, instructionsPerMflop: perMflop / 1.06 }, r)[0] ?? '', /instructions per MFLOP, recorded were/);
  t.regex(regressions({ ...was, instructionsPerMflop: perMflop }, { ...r, ceiling: 0.9 })[0] ?? '', /ceiling of 90\.0 % of tensor peak/);
});

test('text of another tool is refused', (t) => {
  t.throws(() => parseSass('hello', 'x.cubin'), { message: /x\.cubin is not what nvdisasm/ });
  t.is(analyse(ampere(), ampere().flow.loops[0] as Launched['flow']['loops'][0], false).l2[0], 0);
});

test('functions of a cubin stand in its table of symbols', (t) => {
  const names = Buffer.from('\0first\0data\0second\0');
  const code = Buffer.from('..codeof it');
  const [header, entry, section] = [64, 24, 64];
  const symbols = Buffer.alloc(4 * entry); // the first one is nothing
  const add = (i: number, name: string, kind: number, text = ''): void => {
    symbols.writeUInt32LE(names.indexOf(`${name}\0`), i * entry);
    symbols[i * entry + 4] = 0x10 | kind; // a global one
    symbols.writeUInt16LE(3, i * entry + 6); // of section 3
    symbols.writeBigUInt64LE(BigInt(code.indexOf(text)), i * entry + 8);
    symbols.writeBigUInt64LE(BigInt(text.length), i * entry + 16);
  };
  add(1, 'first', 2, 'code');
  add(2, 'data', 1);
  add(3, 'second', 2, 'of it');
  const elf = Buffer.concat([Buffer.alloc(header), names, symbols, code, Buffer.alloc(4 * section)]);
  const sections = header + names.length + symbols.length + code.length;
  elf.writeBigUInt64LE(BigInt(sections), 0x28);
  elf.writeUInt16LE(section, 0x3a);
  elf.writeUInt16LE(4, 0x3c);
  const describe = (i: number, type: number, at: number, size: number, link: number): void => {
    elf.writeUInt32LE(type, sections + i * section + 4);
    elf.writeBigUInt64LE(BigInt(at), sections + i * section + 0x18);
    elf.writeBigUInt64LE(BigInt(size), sections + i * section + 0x20);
    elf.writeUInt32LE(link, sections + i * section + 0x28);
  };
  describe(1, 3, header, names.length, 0);
  describe(2, 2, header + names.length, symbols.length, 1);
  describe(3, 1, header + names.length + symbols.length, code.length, 0);
  const folder = mkdtempSync(path.join(tmpdir(), 'heddle-symbols-'));
  const file = path.join(folder, 'x.cubin');
  writeFileSync(file, elf);
  t.deepEqual(
    [...functionsOf(file)].map(([symbol, { index, code }]) => [symbol, index, code.toString()]),
    [
      ['first', 1, 'code'],
      ['second', 3, 'of it'],
    ],
  );
  rmSync(folder, { recursive: true });
});

test('HEDDLE_NVDISASM must name a disassembler', (t) => {
  const before = process.env.HEDDLE_NVDISASM;
  process.env.HEDDLE_NVDISASM = process.execPath;
  t.throws(() => findDisassembler('nvcc'), { message: /^HEDDLE_NVDISASM must name the nvdisasm of a CUDA toolkit, got .*node/ });
  if (before === undefined) delete process.env.HEDDLE_NVDISASM;
  else process.env.HEDDLE_NVDISASM = before;
});
