// What a CUDA device must do beside computing: be found by name, say clearly what is wrong with it, keep its memory in order, never hold
// up the event loop. Each case has a process of its own with simulated cards as it needs them; a real GPU cannot be told to break.
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import type { DeviceInfo } from '../../../lib/index.ts';
import { gpus } from '../../../lib/index.ts';
import { binaryPath } from '../../../lib/native/load.ts';

const run = promisify(execFile);
const simulated = gpus().some((d) => d.simulated);

/** A test of simulated cards, where the addon has them. */
function simulatedTest(title: string, body: (t: ExecutionContext) => Promise<void>): void {
  if (simulated) test(title, body);
  else
    test(`${title} (not tested: no simulated card here)`, (t) => {
      t.pass();
    });
}

const PREAMBLE = `
  const native = require(process.argv[1]);
  const failure = (f) => { try { f(); return 'nothing'; } catch (e) { return e.code + ' ' + e.message; } };
  const rejected = async (f) => { try { await f(); return 'nothing'; } catch (e) { return e.code + ' ' + e.message; } };
  const filled = (device, shape, value = 1) => { const x = native.empty(device, 'f32', shape); native.fill(x, value); return x; };
  const numbers = (buffer) => [...new Float32Array(buffer)];
  const say = (...values) => process.stdout.write(JSON.stringify(values));`;

/** What a piece of JavaScript says, in a process with such cards. */
async function child<T>(env: Readonly<Record<string, string>>, code: string, binary = binaryPath()): Promise<T> {
  const script = `${PREAMBLE}\n(async () => {${code}})().catch((e) => { console.error(e); process.exit(1); });`;
  const { stdout } = await run(process.execPath, ['-e', script, binary], { env: { ...process.env, HEDDLE_CPU: '', ...env } });
  return JSON.parse(stdout) as T;
}

simulatedTest('cards by name; auto never takes a simulated one', async (t) => {
  const [devices, named, wrong] = await child<[DeviceInfo[], string[], string[]]>(
    { SIM_CARDS: '80,90,75', SIM_MEMORY: '256M' },
    `const at = (name) => native.device(native.empty(name, 'f32', [1]));
     say(native.devices(), ['cpu', 'cuda', 'cuda:1', 'cuda:2', 'auto'].map(at), ['cuda:3', 'cuda:', 'gpu', 'cuda:-1'].map((n) => failure(() => at(n))));`,
  );
  t.deepEqual(
    devices.map(({ name, card, capability, memory, problem, simulated }) => ({ name, card, capability, memory, problem, simulated })),
    [80, 90, 75].map((sm, i) => ({
      ...{ name: `cuda:${i}`, card: `simulated sm_${sm}`, capability: sm, memory: 256 * 2 ** 20, problem: '', simulated: true },
    })),
  );
  t.true(devices.every((d) => d.free > 0 && d.free <= d.memory && d.multiprocessors > 0));
  t.deepEqual(named, ['cpu', 'cuda:0', 'cuda:1', 'cuda:2', 'cpu']);
  t.deepEqual(wrong, [
    'ERR_HEDDLE_DEVICE device must be one of cuda:0 to cuda:2, got cuda:3',
    "ERR_HEDDLE_ARGUMENT device must be 'cpu', 'cuda', 'cuda:N' or 'auto', got 'cuda:'",
    "ERR_HEDDLE_ARGUMENT device must be 'cpu', 'cuda', 'cuda:N' or 'auto', got 'gpu'",
    "ERR_HEDDLE_ARGUMENT device must be 'cpu', 'cuda', 'cuda:N' or 'auto', got 'cuda:-1'",
  ]);
});

const STARTS =
  "say(failure(() => native.empty('cuda', 'f32', [1])), native.info().cuda, numbers(native.readSync(filled('auto', [2], 7))));";

simulatedTest('no driver, and no card: each is said, and the CPU works', async (t) => {
  const none = 'no NVIDIA driver is installed, or it does not answer';
  t.deepEqual(await child({ SIM_DRIVER: 'none' }, STARTS), [`ERR_HEDDLE_DEVICE there is no CUDA device: ${none}`, none, [7, 7]]);
  const empty = 'the NVIDIA driver sees no GPU (is CUDA_VISIBLE_DEVICES empty?)';
  t.deepEqual(await child({ SIM_CARDS: 'none' }, STARTS), [`ERR_HEDDLE_DEVICE there is no CUDA device: ${empty}`, empty, [7, 7]]);
});

simulatedTest('a driver older than the runtime: both versions are named', async (t) => {
  const [refused, status, cpu] = await child<[string, string, number[]]>({ SIM_DRIVER: '12.2' }, STARTS);
  t.regex(status, /^the NVIDIA driver is too old: it serves CUDA 12\.2, heddle was built with CUDA 1[3-9]\.\d+; update the driver$/);
  t.is(refused, `ERR_HEDDLE_DEVICE there is no CUDA device: ${status}`);
  t.deepEqual(cpu, [7, 7]);
});

simulatedTest('no kernels for the architecture of a card: what there is, and how to build; other cards work', async (t) => {
  // The addon with its code for sm_75 renamed.
  const folder = mkdtempSync(join(tmpdir(), 'heddle-arch-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const binary = join(folder, 'build', 'Release', 'heddle.node');
  mkdirSync(join(folder, 'build', 'Release'), { recursive: true });
  const bytes = readFileSync(binaryPath());
  const target = Buffer.from('.target sm_75');
  for (let at = bytes.indexOf(target); at >= 0; at = bytes.indexOf(target, at + 1)) bytes.write('99', at + target.length - 2);
  writeFileSync(binary, bytes);
  const [problem, refused, other] = await child<[string, string, number[]]>(
    { SIM_CARDS: '75,80' },
    "say(native.devices()[0].problem, failure(() => native.empty('cuda:0', 'f32', [1])), numbers(native.readSync(filled('cuda:1', [2], 5))));",
    binary,
  );
  t.regex(problem, /^this build has no kernels for simulated sm_75 \(sm_75\); it was built for compute_75 .*npx heddle build$/);
  t.is(refused, `ERR_HEDDLE_DEVICE cuda:0: ${problem}`);
  t.deepEqual(other, [5, 5]);
});

simulatedTest(
  'a fault of the device: it is lost with all that was on it, said at each use; the process, other cards and the CPU go on',
  async (t) => {
    const [first, again, made, others] = await child<[string, string, string, number[][]]>(
      { SIM_CARDS: '80,80', SIM_FAULT: '5' },
      `const [x, y] = [filled('cuda:0', [300]), filled('cuda:1', [2], 3)];
     let z = native.unary(x, 'neg');
     await native.synchronize('cuda:1');
     for (let i = 0; i < 5; i++) z = native.unary(z, 'neg');
     const first = await rejected(() => native.read(z));
     const again = await rejected(() => native.read(x));
     const made = failure(() => { for (let i = 0; i < 3; i++) native.readSync(native.unary(native.empty('cuda:0', 'f32', [1 << 20]), 'neg')); });
     say(first, again, made, [await native.read(native.unary(y, 'neg')), native.readSync(filled('cpu', [2], 4))].map(numbers));`,
    );
    for (const said of [first, again, made]) {
      t.regex(said, /^ERR_HEDDLE_DEVICE cuda:0 is lost: .+ \(cudaError\w+\), found by /);
      t.regex(said, /the CPU still works, and a new process can go on from the last checkpoint$/);
    }
    t.deepEqual(others, [
      [-3, -3],
      [4, 4],
    ]);
  },
);

simulatedTest(
  'a fault of the device within a replay of a captured graph: said at the next wait, and at each use, with its name',
  async (t) => {
    const [sound, first, again, cpu] = await child<[number[], string, string, number[]]>(
      { SIM_CARDS: '80', SIM_FAULT: '8' },
      `const x = filled('cuda:0', [300]);
     native.beginCapture('cuda:0', 0, 'five signs');
     let y = x;
     for (let i = 0; i < 5; i++) y = native.unary(y, 'neg');
     const graph = native.endCapture();
     native.replay(graph);
     const sound = numbers(await native.read(y)).slice(0, 1);
     native.replay(graph); // the eighth launch is in it
     const first = await rejected(() => native.read(y));
     const again = await rejected(() => (native.replay(graph), native.read(y)));
     native.releaseGraph(graph);
     say(sound, first, again, numbers(native.readSync(filled('cpu', [2], 4))));`,
    );
    t.deepEqual(sound, [-1]);
    for (const said of [first, again])
      t.regex(
        said,
        /^ERR_HEDDLE_DEVICE cuda:0 is lost: .+ \(cudaError\w+\), found by (waiting for it|copy from the device|replay of five signs), after replays of captured ops: five signs\. /,
      );
    t.deepEqual(cpu, [4, 4]);
  },
);

simulatedTest('memory of a card: figures, a limit, and what an error says when the card is full', async (t) => {
  const MiB = 2 ** 20;
  const [figures, limited, full, after] = await child<[Record<string, number>[], string, string, number[]]>(
    { SIM_CARDS: '80', SIM_MEMORY: '64M' },
    `const MiB = ${MiB};
     const make = (mib) => native.empty('cuda', 'f32', [mib * MiB / 4]);
     const cpu = native.memory('cpu').used;
     const a = make(24);
     const figures = [native.memory('cuda')];
     native.dispose(a);
     const [b, c] = [make(8), make(16)]; // both from the 24 that were cached
     figures.push(native.memory('cuda'));
     native.setMemoryLimit('cuda', 30 * MiB);
     const limited = failure(() => make(8));
     native.setMemoryLimit('cuda', 0);
     const full = failure(() => native.fill(make(48), 0));
     native.dispose(b); native.dispose(c);
     const d = make(48); // the cache went back to make room
     native.fill(d, 2);
     figures.push(native.memory('cuda'), { used: native.memory('cpu').used - cpu });
     say(figures, limited, full, numbers(native.readSync(native.slice(d, 0, 0, 2, 1))));`,
  );
  const pick = ({ used, cached, peak, blocks }: Record<string, number>) => [used, cached, peak, blocks].map((n) => n ?? Number.NaN);
  t.deepEqual(pick(figures[0] ?? {}), [24 * MiB, 0, 24 * MiB, 1]);
  t.deepEqual(pick(figures[1] ?? {}), [24 * MiB, 0, 24 * MiB, 2]);
  t.deepEqual(pick(figures[2] ?? {}).slice(0, 2), [48 * MiB, 0]);
  t.is(figures[3]?.used, 0, 'the CPU has its own figures');
  t.regex(
    limited,
    /^ERR_HEDDLE_OUT_OF_MEMORY empty: out of memory: asked for 8\.0 MiB, 24\.0 MiB in use of a limit of 30\.0 MiB, 6\.0 MiB free, largest free block 0\.0 MiB\. Made by: empty 24\.0 MiB\. It would fit with 2\.0 MiB less in use .* or with a limit of 32\.0 MiB\n {2}Held by: other tensors 24\.0 MiB\n {2}Largest: 16\.0 MiB f32 \(4194304\) made by empty \(other tensors\), 8\.0 MiB f32 \(2097152\) made by empty \(other tensors\)$/,
  );
  t.regex(
    full,
    /^ERR_HEDDLE_OUT_OF_MEMORY empty: out of memory: asked for 48\.0 MiB, 24\.0 MiB in use and cuda:0 gives no more, \d+\.\d MiB free, largest free block 0\.0 MiB\. Made by: empty 24\.0 MiB\. It would fit with \d+\.\d MiB less in use /,
  );
  t.deepEqual(after, [2, 2]);
});

simulatedTest('large copies go through pinned memory in pieces, both ways, and to another card', async (t) => {
  const [same] = await child<[boolean[]]>(
    { SIM_CARDS: '80,75' },
    `const bytes = new Uint8Array(9 * 2 ** 20 + 5);
     for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 2654435761) >>> 24;
     const x = native.empty('cuda', 'u8', [bytes.length]);
     native.write(x, bytes);
     const copy = bytes.slice();
     bytes.fill(0); // the bytes were taken at once
     const equal = (buffer) => Buffer.compare(Buffer.from(buffer), Buffer.from(copy.buffer)) === 0;
     const there = native.toDevice(x, 'cuda:1');
     say([equal(await native.read(x)), equal(native.readSync(there)), equal(native.readSync(native.toDevice(there, 'cpu')))]);`,
  );
  t.deepEqual(same, [true, true, true]);
});

simulatedTest('the event loop goes on while a kernel runs and its result is waited for', async (t) => {
  const [ticks, worst, took, finite] = await child<[number, number, number, boolean]>(
    { SIM_CARDS: '80' },
    `const n = 256;
     const x = native.empty('cuda', 'f32', [n, n]);
     native.random(x, 'normal', 0, 0.05, 1, 0);
     await native.synchronize('cuda');
     const step = () => native.read(native.matmul(x, x, false, false, 'full'));
     await step();
     let start = performance.now();
     await step();
     const repeats = Math.max(1, Math.ceil(3000 / (performance.now() - start)));
     let [ticks, worst, before] = [0, 0, performance.now()];
     const timer = setInterval(() => { const now = performance.now(); ticks++; worst = Math.max(worst, now - before); before = now; }, 10);
     start = performance.now();
     let y = x;
     for (let i = 0; i < repeats; i++) y = native.matmul(y, x, false, false, 'full');
     const result = numbers(await native.read(y));
     const took = performance.now() - start;
     clearInterval(timer);
     say(ticks, worst, took, result.every(Number.isFinite));`,
  );
  const said = `${ticks} ticks of 10 ms in ${took} ms, ${worst} ms without one at most`;
  t.log(said);
  t.true(finite);
  t.true(took > 500, said);
  t.true(ticks > took / 10 / 20, said); // it would be none; other processes may hold this thread up, too
  t.true(worst < took / 2, said);
});
