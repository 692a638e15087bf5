// Whether devices compute what they should: heddle doctor's tests of the CPU and of every GPU, in processes of their own, so that the
// doctor lives to tell of one that crashes.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { DeviceInfo } from '../native/addon.ts';
import type { NativeInfo } from '../native/load.ts';
import { formatCount } from '../train/metrics/format.ts';
import { cardPeak } from '../util/cards.ts';
import { expectedTokensPerSecond, OF_MEMORY, OF_TENSOR } from './card-speed.ts';
import type { Finding } from './doctor.ts';
import { gib } from './machine.ts';
import type { Verdict } from './self_test.ts';

/** What a device was tested for, and what went wrong. */
export interface SelfTest {
  /** `cpu`, `cuda:0`. */
  readonly device: string;
  /** By kernel family; empty where the test itself did not come to its end. */
  readonly verdicts: Readonly<Record<string, Verdict>>;
  /** Why it did not, and what it said until then. */
  readonly failure?: { readonly how: string; readonly said: string };
}

const SCRIPT = fileURLToPath(import.meta.url.replace(/doctor-devices\.(ts|js)$/, 'self_test.$1'));

// tsx, when this runs from sources
const LOADERS = process.execArgv.flatMap((a, i, all) => (a === '--import' ? [a, all[i + 1] ?? ''] : a.startsWith('--import=') ? [a] : []));

function run(what: string, input: string, env: NodeJS.ProcessEnv = process.env): { stdout: string } | { how: string; said: string } {
  const args = [...LOADERS, SCRIPT, what];
  const child = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 300_000, input, env, maxBuffer: 2 ** 26 });
  const { status, signal, stdout, stderr } = child;
  if (status === 0 && stdout.startsWith('{')) return { stdout };
  const said = stderr.trim();
  const message = /^\w*Error(?: \[\w+\])?: (.*)$/m.exec(said)?.[1] ?? said.split('\n').at(-1) ?? '';
  return { how: signal ? `ended with ${signal}` : `ended with code ${status}: ${message}`, said };
}

/** Tests the CPU and the GPUs. What is right is what the CPU computes at its plainest instruction set, which no kernel is tuned for. */
export function testDevices(devices: readonly DeviceInfo[]): SelfTest[] {
  const values = run('values', '', { ...process.env, HEDDLE_CPU: 'baseline', HEDDLE_BF16: '' });
  if ('how' in values) return [{ device: 'cpu', verdicts: {}, failure: values }];
  return ['cpu', ...devices.filter((d) => d.problem === '').map((d) => d.name)].map((device) => {
    const answer = run(device, values.stdout);
    if ('how' in answer) return { device, verdicts: {}, failure: answer };
    return { device, verdicts: JSON.parse(answer.stdout) as Record<string, Verdict> };
  });
}

/** A GPU as the driver shows it. */
function describe({ name, card, capability, memory, free, multiprocessors, problem }: DeviceInfo): Finding {
  const facts = `${card}, compute capability ${Math.floor(capability / 10)}.${capability % 10}, ${multiprocessors} multiprocessors`;
  const value = `${facts}, ${gib(memory)}, ${gib(free)} free`;
  return problem ? { name, status: 'note', value, remedy: problem } : { name, status: 'ok', value };
}

/** How fast it should be, where its peaks are known. */
function expected({ name, card, capability, simulated }: DeviceInfo): Finding[] {
  const peak = simulated ? undefined : cardPeak(card);
  if (!peak) return [];
  const percent = (share: number): string => `${100 * share} %`;
  const parts = `${percent(OF_TENSOR)} of ${peak.tensor / 1e12} TFLOP/s, ${percent(OF_MEMORY)} of ${peak.memory / 1e9} GB/s`;
  const how = `${formatCount(expectedTokensPerSecond(peak))} tokens/s in ${capability >= 80 ? 'bf16' : 'f16'}`;
  const value = `GPT-2 124M should train at about ${how} (${parts}); heddle bench measures it`;
  return [{ name: `${name} speed`, status: 'ok', value }];
}

/** What a test says in the report; `who` is the card's name, or the instruction set. */
function verdictOf({ device, verdicts, failure }: SelfTest, who: string, like: string): Finding {
  const name = `${device} kernels`;
  if (failure) {
    const remedy = 'npx heddle build, or report this: heddle doctor --report';
    return { name, status: 'problem', value: `${who}: the self-test ${failure.how}`, remedy };
  }
  const bad = Object.entries(verdicts).flatMap(([family, { error }]) => (error === undefined ? [] : [`${family}: ${error}`]));
  if (bad.length === 0) return { name, status: 'ok', value: `${who}, ${like}: ${Object.keys(verdicts).join(', ')}` };
  const remedy =
    device === 'cpu'
      ? 'HEDDLE_CPU=baseline, and report this: heddle doctor --report'
      : "use device 'cpu' and report this: heddle doctor --report";
  return { name, status: 'problem', value: `${who}: ${bad.join('; ')}`, remedy };
}

/** The lines on the CPU's kernels, and on each GPU and its kernels. */
export function deviceFindings(info: NativeInfo | undefined, devices: readonly DeviceInfo[], tests: readonly SelfTest[]): Finding[] {
  const test = (device: string, who: string, like: string) => tests.filter((t) => t.device === device).map((t) => verdictOf(t, who, like));
  const cpu = info === undefined ? [] : test('cpu', info.isa, info.isa === 'baseline' ? 'run to the end' : 'as baseline');
  return [...cpu, ...devices.flatMap((d) => [describe(d), ...expected(d), ...test(d.name, d.card, 'as on the CPU')])];
}
