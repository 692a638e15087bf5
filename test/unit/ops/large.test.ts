// Offsets beyond 2^31 elements. The sizes are real ones (the logits of GPT-2 at 64 x 1024 tokens), the work is not: test/run/large.ts.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { gpuInfo } from '../../../lib/tensor/index.ts';
import { computesIn, DEVICES, isSimulated, onDevice } from '../../run/devices.ts';
import { needs } from '../../run/needs.ts';

/** What the last elements may differ from the CPU's by: one rounding to bf16, or to tf32. */
const TOLERANCE = 2 ** -7;

const run = promisify(execFile);

// On a card of many multiprocessors a persistent kernel has a block for every tile.
const SPARSE = { SIM_LAST: '4', SIM_MEMORY: '512G', SIM_SMS: '1000000' };

for (const device of needs(
  'a simulated card with bf16',
  DEVICES.filter((d) => isSimulated(d) && computesIn(d, 'bf16')),
))
  test(`the last of more than 2^31 elements are right${onDevice(device)}`, async (t) => {
    t.timeout(300_000, 'a simulated card is slow');
    const env = { ...process.env, ...SPARSE, HEDDLE_CPU: '', HEDDLE_TEST_DEVICE: '', SIM_CARDS: `${gpuInfo(device)?.capability}` };
    const { stdout } = await run(process.execPath, ['--import=tsx', 'test/run/large.ts'], { env });
    const errors = Object.entries(JSON.parse(stdout) as Record<string, number | null>);
    t.true(errors.length > 20);
    for (const [what, error] of errors) t.true(error !== null && error <= TOLERANCE, `${what}: differs by ${error}`);
  });
