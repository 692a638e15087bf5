import type { ConfigChanges } from '../train/ladder.ts';
import type { MemoryFit, MemoryPlan } from '../train/plan.ts';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { gib, parseBytes } from './machine.ts';
import { grid, note, print, printJSON } from './output.ts';
import { CONFIG, loadConfig, RUN_OPTIONS } from './training.ts';

/** `plan:90x132` for people. */
function describe(device: string): string {
  const [, capability, count] = /^plan:(\d+)(?:x(\d+))?$/.exec(device) ?? [];
  if (capability === undefined) return 'the CPU';
  return `a card of compute capability ${(Number(capability) / 10).toFixed(1)}${count === undefined ? '' : ` with ${count} multiprocessors`}`;
}

const size = (bytes: number): string => (bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : gib(bytes));

const setText = (changes: ConfigChanges): string =>
  Object.entries(changes)
    .map(([key, value]) => `--set ${key}=${value}`)
    .join(' ');

function printPlan({ peak, holders, onHost }: MemoryPlan, where: string): void {
  const beside = onHost > 0 ? `, and ${size(onHost)} of the host's memory, pinned` : '';
  print(`${size(peak)} at most, on ${where}${beside}. Then they hold it:`);
  const kinds = Object.entries({ ...holders.bytes, 'the op under way': holders.underway }).filter(([, bytes]) => bytes > 0);
  print(grid(kinds.sort(([, a], [, b]) => b - a).map(([kind, bytes]) => [kind, size(bytes)])));
  print('\nThe largest buffers:');
  print(grid(holders.largest.map((b) => [`${b.dtype} (${b.shape.join(', ')}), made by ${b.op}, ${b.kind}`, size(b.bytes)])));
}

function printFit({ tried, changes }: MemoryFit, limit: number): void {
  print(`\nTo fit into ${size(limit)}:`);
  print(grid(tried.map((t) => [setText(t.changes) || 'as configured', size(t.peak), t.fits ? 'fits' : 'no'])));
  if (changes === null) print('\nNothing of this fits: a smaller model, a shorter context, or an optimizer that keeps less (lion, sgd).');
  else if (Object.keys(changes).length === 0) print('\nIt fits as configured.');
  else print(`\nIt fits with ${setText(changes)}`);
}

export const run = command(
  {
    name: 'inspect memory',
    summary: 'how much memory a training run takes, without the device: a dry run that counts and computes nothing',
    positionals: CONFIG,
    options: {
      device: RUN_OPTIONS.device,
      capability: {
        kind: 'integer',
        value: 'N',
        min: 75,
        max: 129,
        help: "of a card that is not here, such as 80 (default: this machine's, else 90)",
      },
      limit: { kind: 'text', value: 'SIZE', help: 'try what makes the run fit into so much, such as 16GiB' },
      set: RUN_OPTIONS.set,
      json: RUN_OPTIONS.json,
    },
    details: [
      'Two steps of the ordinary training run on a device whose memory is only counted, so the figure is that of memory() to the byte. What the',
      "allocator does not see comes on top: on a card the driver's own memory (some hundred MiB), on the CPU the threads' scratch buffers.",
      '--limit tries, in this order and each on top of the ones before: computing activations and logits again (train.policy.recompute,',
      "headRows), smaller micro-batches with more accumulation, moments in the host's memory (train.policy.offload), moments and parameters in",
      'bf16 (moments, weights). What turns out not to be needed is taken back.',
    ].join('\n'),
    examples: [
      ['heddle inspect memory configs/quickstart.yaml', 'the peak, and who holds it'],
      ['heddle inspect memory configs/gpt2-124m.yaml --capability 80 --limit 16GiB --set model.vocabSize=50257', 'what fits into a card'],
    ],
  },
  async ({ values, positionals: [file = ''] }) => {
    const limit = values.limit === undefined ? undefined : parseBytes(values.limit);
    if (limit === null)
      throw new UsageError(`inspect memory: --limit must be a size such as 16GiB or 800MB, got ${JSON.stringify(values.limit)}`);
    const config = await loadConfig(file, { ...values, data: undefined, seed: undefined });
    const { fitMemory, planDevice, planMemory } = await import('../train/plan.ts');
    const device = planDevice(values.capability === undefined ? config.device : `plan:${values.capability}`);
    const options = { device, onMessage: note };
    const plan = await planMemory(config, options);
    const fit = limit === undefined ? undefined : await fitMemory(config, { ...options, limit });
    if (values.json) {
      printJSON({ command: 'inspect memory', run: config.name, device, ...plan, ...(fit && { limit, ...fit }) });
      return 0;
    }
    printPlan(plan, describe(device));
    if (fit && limit !== undefined) printFit(fit, limit);
    return 0;
  },
);
