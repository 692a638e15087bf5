import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import { randn, scope, type Tensor } from '../../../lib/index.ts';
import { binaryPath } from '../../../lib/native/load.ts';
import { workersComeAndGo } from './worker_support.ts';

const binary = binaryPath();

/** Runs a piece of CommonJS with the addon as `native` in a worker thread; resolves with the first message. */
function inWorker(code: string): { worker: Worker; message: Promise<unknown> } {
  const worker = new Worker(
    `const { parentPort } = require('node:worker_threads'); const native = require(${JSON.stringify(binary)}); ${code}`,
    {
      eval: true,
    },
  );
  const message = new Promise((resolve, reject) => {
    worker.once('message', resolve).once('error', reject);
  });
  return { worker, message };
}

/** The same in a process of its own; gives what it printed. */
const inProcess = (code: string): string =>
  execFileSync(process.execPath, ['-e', `const native = require(${JSON.stringify(binary)}); ${code}`], {
    encoding: 'utf8',
    timeout: 60_000,
  });

test.serial('a 50 ms timer keeps firing while a step of seconds runs', async (t) => {
  const x = randn([1024, 1024], { seed: 1 });
  const work = (products: number): Tensor => {
    let y = x.mul(1);
    for (let i = 0; i < products; i++) {
      const before = y;
      y = scope(() => {
        let z = before.matmul(x).mul(0.03);
        // Small ops between the large ones, in all fewer than the stream's queue holds.
        for (let j = 0; j < 2 && i < 100; j++) z = z.slice(0, 0, 16).add(0).add(0).mean().mul(0).add(z);
        return z;
      });
      before.dispose();
    }
    const loss = y.mean();
    y.dispose();
    return loss;
  };
  const trial = performance.now();
  await work(10).item();
  const products = Math.ceil((10 * 800) / (performance.now() - trial)); // so that a step takes about 0.8 s here
  const started = performance.now();
  let [ticks, worst, before] = [0, 0, started];
  const timer = setInterval(() => {
    const now = performance.now();
    ticks++;
    worst = Math.max(worst, now - before);
    before = now;
  }, 50);
  let steps = 0;
  while (performance.now() - started < 2000) {
    const loss = work(products);
    t.true(!Number.isNaN(await loss.item()));
    loss.dispose();
    steps++;
  }
  clearInterval(timer);
  x.dispose();
  const took = performance.now() - started;
  // Had the loop stood still while a step ran, there would be one tick a step.
  const said = `${ticks} ticks in ${steps} steps of ${took / steps} ms, ${worst} ms without one at most`;
  t.log(said);
  t.true(took / steps > 150, said);
  t.true(ticks >= took / 50 / 3, said);
  t.true(worst < (took / steps) * 0.8, said);
});

const CHURN = `
  const x = native.empty('cpu', 'f32', [600, 600]);
  native.random(x, 'normal', 0, 1, 1, 0);
  const churn = async () => {
    for (;;) {
      let y = native.matmul(x, x, false, false, 'full');
      for (let i = 0; i < 20; i++) { const z = native.matmul(y, x, false, false, 'full'); native.dispose(y); y = z; }
      const reading = native.read(y);
      native.dispose(y);
      await reading;
    }
  };`;

test.serial('two worker threads have instances of their own; tensors do not cross', async (t) => {
  const code = `
    const x = native.empty('cpu', 'f32', [3]);
    native.fill(x, 7);
    parentPort.on('message', (foreign) => {
      let said = 'nothing';
      try { native.readSync(foreign); } catch (error) { said = error.code + ' ' + error.message; }
      parentPort.postMessage({ said, own: [...new Float32Array(native.readSync(x))], tensors: native.memory('cpu').tensors });
      parentPort.close();
    });
    parentPort.postMessage(x);`;
  const workers = [inWorker(code), inWorker(code)] as const;
  const handles = (await Promise.all(workers.map((w) => w.message))) as [number, number];
  t.not(handles[0], handles[1]);
  const answers = await Promise.all(
    workers.map(({ worker }, i) => {
      const answer = new Promise((resolve) => void worker.once('message', resolve));
      worker.postMessage(handles[1 - i]);
      return answer;
    }),
  );
  const said = 'ERR_HEDDLE_DISPOSED readSync: x is a tensor that was disposed, or one of another thread';
  for (const answer of answers) t.deepEqual(answer, { said, own: [7, 7, 7], tensors: 1 });
  await Promise.all(workers.map(({ worker }) => worker.terminate()));
});

test.serial('workers that are terminated in the middle of a step take nothing with them', async (t) => {
  for (let i = 0; i < 20; i++) {
    const { worker, message } = inWorker(`${CHURN} churn(); setTimeout(() => parentPort.postMessage('busy'), ${i % 5});`);
    t.is(await message, 'busy');
    if (i % 2) await new Promise((resolve) => setTimeout(resolve, i));
    t.is(await worker.terminate(), 1);
  }
  t.true(Number.isFinite(randn([10], { seed: 1 }).mean().itemSync()), 'this thread goes on');
});

test.serial('workers that import heddle and train come and go, this thread trains on, nothing is left of them', async (t) => {
  await workersComeAndGo(t, { count: 24, alive: 4 });
});

test.serial('the addon stays in memory when the last worker that had it ends', (t) => {
  if (process.platform !== 'linux') return t.pass();
  const said = execFileSync(
    process.execPath,
    [
      '-e',
      `const { Worker } = require('node:worker_threads');
       const loaded = () => require('node:fs').readFileSync('/proc/self/maps', 'utf8').includes(${JSON.stringify(binary)});
       const worker = new Worker('require(' + JSON.stringify(${JSON.stringify(binary)}) + ').info()', { eval: true });
       worker.on('exit', () => console.log(loaded()));`,
    ],
    { encoding: 'utf8', timeout: 60_000 },
  );
  t.is(said, 'true\n');
});

test.serial('a process ends in the middle of a step: by exit, by running out of work, by an error', (t) => {
  const started = performance.now();
  t.is(inProcess(`${CHURN} churn(); setTimeout(() => { console.log('out'); process.exit(0); }, 30);`), 'out\n');
  // Work that nobody waits for does not keep the process alive.
  const idle = `${CHURN} for (let i = 0; i < 1000; i++) native.dispose(native.matmul(x, x, false, false, 'full')); console.log('out');`;
  t.is(inProcess(idle), 'out\n');
  const { status, stderr } = spawnSync(
    process.execPath,
    ['-e', `const native = require(${JSON.stringify(binary)}); ${CHURN} churn(); setTimeout(() => { throw new Error('mine'); }, 30);`],
    { encoding: 'utf8' },
  );
  t.is(status, 1);
  t.regex(stderr, /Error: mine/);
  t.true(performance.now() - started < 30_000);
});

test.serial('a promise that is waited for does keep the process alive', (t) => {
  const code = `${CHURN} let y = x; for (let i = 0; i < 30; i++) y = native.matmul(y, x, false, false, 'full'); native.read(y).then((b) => console.log(b.byteLength));`;
  t.is(inProcess(code), `${600 * 600 * 4}\n`);
});

test.serial('the addon loads twice in one thread: two instances, each with its tensors', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-test-addon-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const copy = join(folder, 'copy.node');
  copyFileSync(binary, copy);
  for (const second of [
    `require(${JSON.stringify(copy)})`,
    `(delete require.cache[${JSON.stringify(binary)}], require(${JSON.stringify(binary)}))`,
  ]) {
    const out = inProcess(`
      const other = ${second};
      const a = native.empty('cpu', 'f32', [2]); native.fill(a, 1);
      const b = other.empty('cpu', 'f32', [2]); other.fill(b, 2);
      let said = [];
      for (const f of [() => other.readSync(a), () => native.readSync(b)]) try { f(); } catch (error) { said.push(error.code); }
      Promise.all([native.read(a), other.read(b)]).then(([x, y]) => console.log(JSON.stringify([other !== native, said, [...new Float32Array(x)], [...new Float32Array(y)]])));
    `);
    t.deepEqual(JSON.parse(out), [true, ['ERR_HEDDLE_DISPOSED', 'ERR_HEDDLE_DISPOSED'], [1, 1], [2, 2]], second);
  }
});
