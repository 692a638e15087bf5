import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { EXAMPLES, memory, parseRunConfig, pretrain, runExample } from '../../../lib/index.ts';
import { heddle } from '../cli/support.ts';
import { temporaryFolder } from './run_support.ts';

test.serial('every example runs on a model of any run, beside the untouched one and the baselines', async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'text.txt'), 'The old whale sees the white ship. What is two and three? '.repeat(100));
  const run = parseRunConfig(
    `
out: ${join(folder, 'run')}
model: { layers: 1, heads: 2, width: 16, contextLength: 128 }
tokenizer: { kind: bpe, vocabSize: 300 }
data: { path: text.txt }
train: { steps: 2, batchSize: 2 }
`,
    join(folder, 'a.yaml'),
  );
  await pretrain(run);
  const before = memory().used;
  for (const name of EXAMPLES) {
    const said: string[] = [];
    const set = ['finetune.train.steps=2', 'finetune.train.evalEvery=0', 'finetune.train.evalTokens=200', 'finetune.train.batchSize=2'];
    const result = await runExample(name, { from: run.out, out: join(folder, name), seed: 2, set, onMessage: (line) => said.push(line) });
    t.is(result.run.steps, 2);
    t.is(result.contestants[0]?.name, 'the model untouched');
    t.is(result.contestants.at(-1)?.name, 'the model finetuned');
    t.true(result.contestants.length >= 3 && result.contestants.every(({ score }) => score >= 0 && score <= 1), name);
    t.regex(said.join('\n'), /Counted: .*\n\d+ records to learn from, \d+ held out; e\.g\. \S/s);
    t.is(memory().used, before, name);
  }
});

test.serial('the command line: what does not go together, and what is missing', async (t) => {
  const cwd = temporaryFolder(t);
  const wrong = async (args: readonly string[]): Promise<string> => (await heddle(['finetune', ...args], { cwd })).stderr;
  t.regex(await wrong([]), /finetune: CONFIG\.yaml is missing/);
  t.regex(await wrong(['x.yaml', '--example', 'chat']), /--example takes no configuration/);
  t.regex(await wrong(['--example', 'chad']), /--example must be one of classify, translate, chat, dpo/);
  t.regex(await wrong(['--example', 'chat']), /runs\/quickstart: no such folder\n {2}Train that model first: npm start/);
});
