import { spawn } from 'node:child_process';
import type { ExecutionContext } from 'ava';
import { binaryPath } from '../../../lib/native/load.ts';

/** As CommonJS: products until `stopped`, a copy to the host after each twenty. */
const CHURN = `
  const native = require(${JSON.stringify(binaryPath())});
  const x = native.empty('cpu', 'f32', [300, 300]);
  native.random(x, 'normal', 0, 1, 1, 0);
  let stopped = false;
  const churn = async () => {
    while (!stopped) {
      let y = native.matmul(x, x, false, false, 'full');
      for (let i = 0; i < 20; i++) { const z = native.matmul(y, x, false, false, 'full'); native.dispose(y); y = z; }
      const reading = native.read(y);
      native.dispose(y);
      await reading;
    }
  };
  churn();`;
const WITH_WORKERS = `${CHURN}
  const { Worker } = require('node:worker_threads');
  const inWorker = (code) => new Worker(${JSON.stringify(CHURN)} + code, { eval: true });`;

interface Ending {
  code: string;
  /** Exit status, or the signal that ended the process. */
  ends: number | NodeJS.Signals;
  /** What it must say. */
  says?: RegExp;
  /** Sent when it has said that it is busy. */
  signal?: NodeJS.Signals;
}

/** How a process may end while this thread, or worker threads of it, are in the middle of a step. */
const ENDINGS: Readonly<Record<string, Ending>> = {
  'process.exit': { code: 'soon(() => process.exit(3));', ends: 3 },
  'process.exit with workers': { code: 'inWorker(""); inWorker(""); soon(() => process.exit(4));', ends: 4 },
  'an error that nobody catches': { code: "soon(() => { throw new Error('mine'); });", ends: 1, says: /Error: mine/ },
  'a rejection that nobody catches': { code: "soon(() => Promise.reject(new Error('mine')));", ends: 1, says: /Error: mine/ },
  'an error while workers run': { code: "inWorker(''); soon(() => { throw new Error('mine'); });", ends: 1, says: /Error: mine/ },
  'an error of a worker': {
    code: `inWorker("setTimeout(() => { throw new Error('theirs'); }, 20)").on('error', (e) => { console.log(e.message); process.exit(5); });`,
    ...{ ends: 5, says: /theirs/ },
  },
  'process.exit in a worker': {
    code: "inWorker('setTimeout(() => process.exit(7), 20)').on('exit', (status) => process.exit(status));",
    ends: 7,
  },
  'its last work done, with more enqueued that nobody waits for': {
    code: 'soon(() => { for (let i = 0; i < 500; i++) native.dispose(native.matmul(x, x, false, false, "full")); stopped = true; });',
    ends: 0,
  },
  SIGTERM: { code: '', ends: 'SIGTERM', signal: 'SIGTERM' },
  'SIGTERM with workers': { code: 'inWorker(""); inWorker("");', ends: 'SIGTERM', signal: 'SIGTERM' },
  'SIGTERM that it handles': { code: "inWorker(''); process.on('SIGTERM', () => process.exit(143));", ends: 143, signal: 'SIGTERM' },
};

function run(ending: Ending, delay: number): Promise<{ ended: number | NodeJS.Signals | null; said: string }> {
  const code = `${WITH_WORKERS}\nconst soon = (f) => setTimeout(f, ${delay});\n${ending.code}\nsetImmediate(() => console.log('busy'));`;
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000, killSignal: 'SIGKILL' });
  let said = '';
  let sent = false;
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (piece: string) => {
      said += piece;
      if (!ending.signal || sent || !said.includes('busy')) return;
      sent = true;
      setTimeout(() => child.kill(ending.signal), delay);
    });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => resolve({ ended: signal ?? status, said }));
  });
}

/** Ends a process in each of these ways, `times` times, at different moments of a step: as it should, without a crash or a hang. */
export async function processesEnd(t: ExecutionContext, times: number): Promise<void> {
  for (const [name, ending] of Object.entries(ENDINGS))
    for (let i = 0; i < times; i++) {
      const { ended, said } = await run(ending, (i * 37) % 50);
      if (ended !== ending.ends || (ending.says && !ending.says.test(said))) t.fail(`${name}, time ${i + 1}: ended with ${ended}\n${said}`);
    }
  t.log(`${times * Object.keys(ENDINGS).length} processes`);
  t.pass();
}
