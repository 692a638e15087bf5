// The figures of lm-evaluation-harness itself (test/fixtures/harness/golden.py) for the same model and the same files.
import { readFileSync } from 'node:fs';
import test from 'ava';
import { GPT, type Item, type MeasureOptions, measure, readDataset, type Sample, TASKS, Tokenizer } from '../../../lib/index.ts';

interface Golden {
  figures: Record<string, number>;
  /** Of each example its choices', or the last word's. */
  logProbs: number[][];
}

const folder = 'test/fixtures/harness';
const golden = JSON.parse(readFileSync(`${folder}/golden.json`, 'utf8')) as Record<'shots0' | 'shots2', Record<string, Golden>>;
const model = await GPT.fromPretrained(folder);
const tokenizer = await Tokenizer.fromPretrained(folder);

async function measured(task: 'hellaswag' | 'arc' | 'mmlu' | 'lambada', options: MeasureOptions = {}) {
  const samples: Sample[] = [];
  const onSample = (sample: Sample): void => void samples.push(sample);
  const result = await measure(model, tokenizer, task, readDataset(`${folder}/${task}.jsonl`), { ...options, onSample });
  return { result, samples };
}

/** Both compute in f32. */
const near = (a: number, b: number): boolean => Math.abs(a - b) <= 2e-5 * Math.max(1, Math.abs(b));

/** Its figure of a name: standard errors are called `acc_stderr`. */
function figureOf(figures: readonly { name: string; value: number; standardError: number | null }[], name: string): number {
  const found = figures.find((f) => f.name === name.replace(/_stderr$/, ''));
  return (name.endsWith('_stderr') ? found?.standardError : found?.value) ?? Number.NaN;
}

for (const task of ['hellaswag', 'arc', 'lambada'] as const)
  test(`${task}: log-probabilities, figures and standard errors are the harness's`, async (t) => {
    const { result, samples } = await measured(task);
    const { figures, logProbs } = golden.shots0[task] as Golden;
    t.is(samples.length, logProbs.length);
    for (const [i, wanted] of logProbs.entries()) {
      const got = samples[i]?.logProbs ?? [-(samples[i]?.scores.nats ?? Number.NaN)];
      for (const [j, x] of wanted.entries()) t.true(near(got[j] ?? Number.NaN, x), `example ${i}, choice ${j}: ${got[j]}, theirs ${x}`);
    }
    for (const [name, x] of Object.entries(figures)) t.true(near(figureOf(result.figures, name), x), `${name} ${x}`);
    t.true(Object.keys(figures).length >= 3);
  });

test("mmlu: subject by subject, without and with examples before the question, the harness's figures", async (t) => {
  const items: Item[] = [];
  for await (const fields of readDataset(`${folder}/mmlu_dev.jsonl`)) items.push(TASKS.mmlu.item(fields));
  for (const [run, options] of [
    ['shots0', {}],
    ['shots2', { shots: { count: 2, items } }],
  ] as const) {
    const { result, samples } = await measured('mmlu', options);
    for (const subject of ['small_numbers', 'ships']) {
      const { figures, logProbs } = golden[run][subject] as Golden;
      const own = samples.filter(({ group }) => group === subject);
      t.is(own.length, logProbs.length);
      for (const [i, wanted] of logProbs.entries())
        for (const [j, x] of wanted.entries()) t.true(near(own[i]?.logProbs?.[j] ?? Number.NaN, x), `${run}, ${subject} ${i} ${j}: ${x}`);
      const group = result.groups.find(({ name }) => name === subject);
      for (const [name, x] of Object.entries(figures))
        t.true(near(figureOf(group?.figures ?? [], name), x), `${run}, ${subject}: ${name} ${x}`);
    }
  }
});
