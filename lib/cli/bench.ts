import type { ProgressLine } from '../train/metrics/progress.ts';
import { command } from './command.ts';
import { interruptible } from './interrupt.ts';
import { marked, print, printJSON } from './output.ts';
import { markSimulated } from './training.ts';

export const run = command(
  {
    name: 'bench',
    summary: 'measure what this machine reaches, and estimate what each preset would take to train',
    options: {
      device: { kind: 'text', value: 'D', help: 'where to measure: cpu, cuda, cuda:N or auto (default)' },
      quick: { kind: 'flag', help: 'in a few seconds, on small sizes: rough figures' },
      json: { kind: 'flag', help: 'one JSON object' },
    },
    details: [
      'Measures what the machine can do (fused multiply-adds, memory) and what heddle reaches of it (products of matrices, training steps,',
      'decoding) in less than a minute, and works out from that how long each preset would train. Says of each figure whether it was',
      'measured or estimated. Other programs that run beside it make the figures too low.',
    ].join('\n'),
    examples: [
      ['heddle bench', 'the GPU where there is one, else the CPU'],
      ['heddle bench --device cpu --json', 'the CPU, for a program'],
    ],
  },
  async ({ values: { device = 'auto', quick, json } }) => {
    await markSimulated(device);
    const { ProgressLine: Line } = await import('../train/metrics/progress.ts');
    const { measure } = await import('./bench-run.ts');
    const { bench, benchText } = await import('./bench-view.ts');
    const measured = await interruptible('Stopping.', async (signal) => {
      let line: ProgressLine | undefined;
      try {
        return await measure({ device, quick, signal }, (name, done, total) => {
          line ??= new Line({ label: marked('bench'), total, plainEvery: 0 });
          line.update({ step: done, more: name });
        });
      } finally {
        line?.done();
      }
    });
    const result = bench(measured);
    if (json) printJSON({ command: 'bench', quick, ...result });
    else print(benchText(result, quick));
    return 0;
  },
);
