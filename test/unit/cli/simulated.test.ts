// Commands on simulated cards: whatever they say of a run says that it was simulated, and a card that breaks costs no checkpoint.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type DeviceInfo, gpus } from '../../../lib/index.ts';
import { readMetrics } from '../../../lib/train/metrics/log.ts';
import { heddle, lastLine, type Options, tinyProject } from './support.ts';

const simulated = gpus().some((d) => d.simulated);

/** A test of simulated cards, where the addon has them. */
function simulatedTest(title: string, body: (t: ExecutionContext) => Promise<void>): void {
  if (simulated) test.serial(title, body);
  else
    test(`${title} (not tested: no simulated card here)`, (t) => {
      t.pass();
    });
}

const on = (args: readonly string[], options: Options, cards = '80') =>
  heddle(args, { ...options, env: { SIM_CARDS: cards, SIM_MEMORY: '1G', HEDDLE_CPU: '', ...options.env } });
const lines = (text: string): string[] => text.split('\n').filter((line) => line.trim() !== '');

const FAMILIES = 'movement, elementwise, dropout, reduce, softmax, matmul, embedding, rope, norm, attention, loss, optimizer';

simulatedTest('doctor: every card with capability and memory, a test of every kernel family on each, all marked', async (t) => {
  const { code, stdout } = await on(['doctor', '--json'], {}, '80,75');
  t.is(code, 0, stdout);
  const { devices, findings } = JSON.parse(stdout) as {
    devices: DeviceInfo[];
    findings: { name: string; status: string; value: string }[];
  };
  t.deepEqual(
    devices.map((d) => [d.name, d.capability, d.memory, d.simulated]),
    [
      ['cuda:0', 80, 2 ** 30, true],
      ['cuda:1', 75, 2 ** 30, true],
    ],
  );
  const about = findings.filter((f) => /cuda/i.test(f.name));
  t.deepEqual(
    about.map((f) => [f.name, f.status]),
    ['CUDA', 'cuda:0', 'cuda:0 kernels', 'cuda:1', 'cuda:1 kernels'].map((name) => [name, 'ok']),
  );
  t.true(about.every((f) => f.value.includes('simulated')));
  const said = Object.fromEntries(about.map((f) => [f.name, f.value]));
  t.regex(said['cuda:1'] ?? '', /^simulated sm_75, compute capability 7\.5, \d+ multiprocessors, 1\.0 GiB, [01]\.\d GiB free$/);
  t.is(said['cuda:1 kernels'], `simulated sm_75, as on the CPU: ${FAMILIES}`);
  t.is(said['cuda:0 kernels'], `simulated sm_80, as on the CPU: ${FAMILIES}`);
});

simulatedTest('doctor: what keeps a driver from being used', async (t) => {
  const cuda = async (driver: string) =>
    lines((await on(['doctor'], { env: { SIM_DRIVER: driver } })).stdout).find((l) => l.includes('CUDA'));
  t.regex((await cuda('none')) ?? '', /no NVIDIA driver is installed/);
  t.regex((await cuda('12.2')) ?? '', /the NVIDIA driver is too old: it serves CUDA 12\.2, heddle was built with CUDA 1\d\.\d/);
});

simulatedTest('a run says in every line, row and curve that it was simulated', async (t) => {
  const cwd = tinyProject();
  const device = 'cuda:0 (simulated sm_80)';
  const run = await on(['pretrain', 'tiny.yaml', '--device', 'cuda', '--json', '--set', 'train.sampleEvery=5'], { cwd });
  t.is(run.code, 0, run.stderr);
  const unmarked = (text: string): string[] => lines(text).filter((line) => !line.startsWith('[simulated] '));
  t.deepEqual(unmarked(run.stderr), []);
  t.true(lines(run.stderr).length > 20);
  t.true(run.stderr.includes('[simulated] step 5, a sample:'));
  t.is(lastLine(run).device, device);
  const rows = readMetrics(join(cwd, 'runs/tiny/metrics.jsonl'));
  t.is(rows.length, 8);
  t.true(rows.every((row) => row.device === device));
  const board = readFileSync(join(cwd, 'runs/tiny/tensorboard', readdirSync(join(cwd, 'runs/tiny/tensorboard'))[0] ?? ''), 'latin1');
  const tags = [...board.matchAll(/(simulated\/)?(?:train|validation)\/\w+/g)];
  t.true(tags.length > 20 && tags.every(([, prefix]) => prefix !== undefined));

  const evaluated = await on(['evaluate', 'tiny.yaml', '--device', 'cuda'], { cwd });
  t.is(lines(evaluated.stdout)[0], '[simulated] evaluate tiny');
  t.true(evaluated.stdout.includes(device));
  t.deepEqual(unmarked(evaluated.stderr), []);
  const generated = await on(['generate', 'runs/tiny', '--device', 'cuda', '--max-tokens', '3'], { cwd });
  t.is(generated.stderr, `[simulated] computing on ${device} in f32\n`);
  const verified = await on(['verify-resume', 'tiny.yaml', '--device', 'cuda', '--steps', '2'], { cwd });
  t.is(verified.code, 0, verified.stderr);
  t.regex(verified.stdout, /^\[simulated\] Equal bit for bit/);
  t.deepEqual(unmarked(verified.stderr), []);
});

simulatedTest('bench: measured on the card, and marked', async (t) => {
  const run = await on(['bench', '--quick', '--device', 'cuda'], {});
  t.is(run.code, 0, run.stderr);
  t.true(run.stdout.startsWith('[simulated] heddle '));
  t.regex(run.stdout, /^ {2}FMA peak +not measured here: there is no probe for GPUs/m);
  t.regex(run.stdout, /^ {2}training char-cpu, bf16 /m);
  t.deepEqual(
    lines(run.stderr).filter((line) => !line.startsWith('[simulated] ')),
    [],
  );
});

simulatedTest('auto is the CPU, and says nothing of simulation', async (t) => {
  const run = await on(['pretrain', 'tiny.yaml', '--device', 'auto', '--json'], { cwd: tinyProject() });
  t.is(lastLine(run).device, 'cpu');
  t.false(run.stderr.includes('simulated'));
});

simulatedTest('a card that breaks in a run: the error says so, the last checkpoint is whole, and the CPU goes on from it', async (t) => {
  const cwd = tinyProject();
  const args = ['pretrain', 'tiny.yaml', '--json', '--set', 'train.saveEvery=1'];
  const broken = await on([...args, '--device', 'cuda'], { cwd, env: { SIM_FAULT: '250' } });
  t.is(broken.code, 1, broken.stderr);
  t.is(broken.stdout, '');
  t.regex(broken.stderr, /^\[simulated\] heddle: cuda:0 is lost: .*illegal.*\n?.*go on from the last checkpoint$/m);
  t.regex(
    broken.stderr,
    /It was in step [3-5], whose ops were replayed as captured graphs\. With train\.policy\.graph: false, and CUDA_LAUNCH_/,
  );
  const saved = readdirSync(join(cwd, 'runs/tiny/checkpoints')).filter((name) => name.startsWith('step-'));
  t.true(saved.length > 0 && !saved.includes('step-00000005'), saved.join());
  const rest = await on([...args, '--device', 'cpu', '--resume'], { cwd });
  t.is(rest.code, 0, rest.stderr);
  t.regex(rest.stderr, /^going on after step [1-4]$/m);
  t.is(lastLine(rest).steps, 5);
  t.true(existsSync(join(cwd, 'runs/tiny/checkpoints/step-00000005/model.safetensors')));
});
