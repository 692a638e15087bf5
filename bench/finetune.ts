// What finetuning reaches: every example of `heddle finetune --example` with several seeds, each beside the untouched model and simple baselines,
// in a table and in bench/finetune.json. Fails where a finetuned model does not beat all of them.
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { EXAMPLES, type ExampleName, type ExampleResult, runExample, version } from '../lib/index.ts';

const { values } = parseArgs({
  options: {
    examples: { type: 'string', default: EXAMPLES.join(',') },
    seeds: { type: 'string', default: '1,2,3' },
    from: { type: 'string', default: 'runs/quickstart' },
    out: { type: 'string', default: 'bench/finetune.json' },
    /** A part of the steps, and no record: enough to see that each learns. */
    short: { type: 'boolean', default: false },
  },
});
if (!existsSync(values.from)) throw new Error(`${values.from}: no such folder; npm start trains it`);

/** Steps of a short run. */
const SHORT: Readonly<Record<ExampleName, number>> = { classify: 200, translate: 100, chat: 150, dpo: 20 };

const percent = (x: number): string => (100 * x).toFixed(1);
const mean = (list: readonly number[]): number => list.reduce((sum, x) => sum + x, 0) / list.length;

const rows: object[] = [];
let failed = false;
for (const example of values.examples.split(',') as ExampleName[]) {
  const results: (ExampleResult & { seconds: number })[] = [];
  for (const seed of values.seeds.split(',').map(Number)) {
    const started = performance.now();
    const steps = SHORT[example];
    const result = await runExample(example, {
      ...{ from: values.from, seed, out: `runs/prove-${example}-${seed}` },
      ...(values.short && { set: [`finetune.train.steps=${steps}`, `finetune.train.evalEvery=${steps}`] }),
      onEvent: (event) => {
        if (event.type === 'evaluation')
          process.stderr.write(`${example}, seed ${seed}: step ${event.step}, loss ${event.loss.toFixed(4)}\n`);
      },
    });
    results.push({ ...result, seconds: (performance.now() - started) / 1000 });
    rmSync(`runs/prove-${example}-${seed}`, { recursive: true, force: true });
  }
  const first = results[0] as ExampleResult;
  const contestants = first.contestants.map(({ name }, i) => ({ name, scores: results.map((r) => r.contestants[i]?.score as number) }));
  const finetuned = contestants.at(-1)?.scores as number[];
  const beaten = contestants.slice(0, -1).every(({ scores }) => scores.every((score, i) => score < (finetuned[i] as number)));
  if (!beaten) failed = true;
  const seconds = results.map((r) => r.seconds);
  console.log(
    `\n${example}: ${first.description}\n${first.train} records to learn from, ${first.heldOut} held out, ${mean(seconds).toFixed(0)} s each`,
  );
  for (const { name, scores } of contestants)
    console.log(`  ${name.padEnd(54)} ${percent(mean(scores)).padStart(5)} %   (${scores.map(percent).join(', ')})`);
  if (!beaten) console.log('  NOT BEATEN: one of the others is as good as the finetuned model');
  const { description, train, heldOut } = first;
  rows.push({ example, description, train, heldOut, steps: first.run.steps, contestants, seconds });
}
if (!values.short) {
  mkdirSync(dirname(values.out), { recursive: true });
  const machine = { processor: cpus()[0]?.model ?? 'unknown', cores: cpus().length, load: Math.round(loadavg()[0] as number) };
  const record = {
    heddle: version,
    date: new Date().toISOString().slice(0, 10),
    machine,
    seeds: values.seeds.split(',').map(Number),
    rows,
  };
  writeFileSync(values.out, `${JSON.stringify(record, null, 2)}\n`);
  console.log(`\nwritten: ${values.out}`);
}
process.exitCode = failed ? 1 : 0;
