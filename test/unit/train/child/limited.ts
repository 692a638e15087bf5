// Trains where the system refuses memory: the process limits its own address space, a little above what it uses, in the middle of a run.
// Prints what it saw as JSON.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type BatchSource, data, memory, nn, releaseMemory, tensor, zeros } from '../../../../lib/index.ts';
import { bitsOf, tokens, trainerOf } from '../run_support.ts';

const MiB = 1 << 20;
/** What the collector, the compiler and small allocations may take while the limit holds. */
const ROOM = 120 * MiB;

function addressSpace(): number {
  return Number(/^VmSize:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;
}

/** The soft limit only, so that it can be lifted again. */
function limitAddressSpace(bytes: number | null): void {
  execFileSync('prlimit', ['--pid', String(process.pid), `--as=${bytes === null ? 'unlimited' : Math.floor(bytes)}:`]);
}

const loader = (rows: number): data.Loader => new data.Loader(tokens(2000), { batch: rows, length: 16, seed: 3 });

/** Batches of whatever size is asked for now. */
function source(): BatchSource & { rows: number } {
  let taken = 0;
  return {
    rows: 4,
    next() {
      taken++;
      const loaded = loader(this.rows);
      for (let i = 1; i < taken; i++) loaded.next();
      return loaded.next();
    },
    state: () => ({ taken }),
    restore(state: { taken: number }) {
      taken = state.taken;
    },
    epoch: 0,
  };
}

const setup = { model: { width: 64 }, train: { steps: 4, policy: nn.fillPolicy({ graph: false }) } }; // graphs would be given up first

/** The bits after steps of so many rows each. */
async function bitsAfter(rows: readonly number[]): Promise<string> {
  const batches = source();
  const trainer = trainerOf({ ...setup, source: batches });
  const run = trainer[Symbol.asyncIterator]();
  for (const n of rows) {
    batches.rows = n;
    await run.next();
  }
  const bits = bitsOf(trainer);
  trainer.dispose();
  trainer.model.dispose();
  return bits;
}

async function failure(work: () => unknown): Promise<{ code?: string; message: string }> {
  try {
    await work();
    return { message: 'nothing' };
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    return { ...(code !== undefined && { code }), message };
  }
}

const LARGE = 2500;
const expected = { small: await bitsAfter([4, 4, 4]), large: await bitsAfter([4, 4, 4, LARGE]) };
releaseMemory();
await zeros([1]).data();

const batches = source();
const trainer = trainerOf({ ...setup, source: batches });
let run = trainer[Symbol.asyncIterator]();
await run.next();
await run.next();
const before = { bits: bitsOf(trainer), step: trainer.step, used: memory().used };
const [large, host] = [zeros([50 * MiB]), new Float32Array(20 * MiB)];

limitAddressSpace(addressSpace() + ROOM);
const reading = await failure(() => large.data());
const readingSync = await failure(() => large.dataSync());
const writing = await failure(() => tensor(host));
large.dispose();
releaseMemory();
await zeros([1]).data();
limitAddressSpace(addressSpace() + ROOM);
batches.rows = LARGE;
const step = await failure(() => run.next());
const after = { bits: bitsOf(trainer), step: trainer.step, used: memory().used };
batches.rows = 4;
run = trainer[Symbol.asyncIterator]();
await run.next();
const small = bitsOf(trainer);
limitAddressSpace(null);
batches.rows = LARGE;
await run.next();
console.log(JSON.stringify({ reading, readingSync, writing, step, before, after, small, large: bitsOf(trainer), expected }));
