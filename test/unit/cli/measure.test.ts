import { cpSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { packageRoot } from '../../../lib/native/load.ts';
import { heddle, lastLine, tinyProject } from './support.ts';

test.serial('measure: a benchmark, a report, and two reports compared', async (t) => {
  const cwd = tinyProject();
  cpSync(join(packageRoot(), 'test/fixtures/tasks'), join(cwd, 'tasks'), { recursive: true });
  const trained = await heddle(['pretrain', 'tiny.yaml'], { cwd });
  t.is(trained.code, 0, trained.stderr);
  const checkpoints = join('runs/tiny/checkpoints');
  const [first = '', last = ''] = readdirSync(join(cwd, checkpoints))
    .filter((name) => name.startsWith('step-'))
    .sort();
  const measured = (model: string, report: string) =>
    heddle(['measure', join(checkpoints, model), '--task', 'hellaswag', '--data', 'tasks/hellaswag.jsonl', '--report', report, '--json'], {
      cwd,
    });
  const a = lastLine(await measured(first, 'a'));
  t.like(a, { command: 'measure', task: 'hellaswag', examples: 3, shots: 0, device: 'cpu' });
  t.deepEqual(
    (a.figures as { name: string }[]).map(({ name }) => name),
    ['acc', 'acc_norm'],
  );
  t.deepEqual(readdirSync(join(cwd, 'a')).sort(), ['report.html', 'report.json', 'report.md', 'samples.jsonl']);
  lastLine(await measured(last || first, 'b'));
  const compared = await heddle(['compare', 'a', 'b'], { cwd });
  t.is(compared.code, 0, compared.stderr);
  t.regex(compared.stdout, /^hellaswag, 3 examples\n {2}A .*\n {2}B .*\n\n.*A +B +B - A +95 % interval +p\n {2}acc \(higher is better\) /);
  const shots = ['--task', 'mmlu', '--data', 'tasks/mmlu.jsonl', '--shots', '1', '--shots-data', 'tasks/mmlu.jsonl', '--limit', '2'];
  const table = await heddle(['measure', 'runs/tiny', ...shots], { cwd });
  t.is(table.code, 0, table.stderr);
  t.regex(table.stdout, /measure mmlu[\s\S]*examples +│ 2[\s\S]*acc +│ [01]\.\d+/);
});

test.serial('measure: wrong command lines and wrong rows', async (t) => {
  const cwd = tinyProject();
  const usage = async (args: string[], message: RegExp) => {
    const { code, stderr } = await heddle(['measure', 'runs/tiny', ...args], { cwd });
    t.is(code, 2);
    t.regex(stderr, message);
  };
  await usage(['--data', 'x'], /^heddle: measure: --task is missing/);
  await usage(['--task', 'helaswag', '--data', 'x'], /--task must be one of hellaswag, .* \(hellaswag\?\)/);
  await usage(['--task', 'arc', '--data', 'x', '--shots', '3'], /--shots needs --shots-data FILE/);
  t.regex((await heddle(['compare', 'none', 'none'], { cwd })).stderr, /^heddle: none\/report\.json: cannot read: ENOENT/);
});
