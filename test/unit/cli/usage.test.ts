import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { packageRoot, packageVersion } from '../../../lib/native/load.ts';
import { heddle, lastLine, noBinary, tinyProject } from './support.ts';

const COMMANDS = [
  ...[
    'quickstart',
    'prepare',
    'pretrain',
    'finetune',
    'evaluate',
    'measure',
    'compare',
    'generate',
    'chat',
    'serve',
    'tokenizer',
    'config',
    'data',
  ],
  ...['verify-resume', 'bench', 'doctor', 'build', 'inspect'],
];
const IN_DETAIL = [
  ...COMMANDS.filter((name) => name !== 'tokenizer' && name !== 'inspect'),
  'inspect batch',
  'inspect memory',
  'tokenizer train',
  'tokenizer encode',
  'tokenizer decode',
  'tokenizer info',
];

test.serial('the overview names every command; the version', async (t) => {
  const { code, stdout, stderr } = await heddle(['--help']);
  t.is(code, 0);
  t.is(stderr, '');
  const listed = [...stdout.matchAll(/^ {2}([\w-]+) {2,}/gm)].map((m) => m[1]);
  t.deepEqual(listed.filter((name) => !name?.startsWith('-')).sort(), [...COMMANDS].sort());
  t.is((await heddle(['--version'])).stdout, `${packageVersion()}\n`);
});

test.serial('every command has help with an example, and docs/cli.md has all its options', async (t) => {
  const docs = readFileSync(join(packageRoot(), 'docs/cli.md'), 'utf8');
  const env = noBinary(); // help does not need it
  const outcomes = await Promise.all(IN_DETAIL.map((name) => heddle([...name.split(' '), '--help'], { env })));
  for (const [i, { code, stdout, stderr }] of outcomes.entries()) {
    const name = IN_DETAIL[i] as string;
    t.is(code, 0, `${name}: ${stderr}`);
    t.true(stdout.startsWith(`heddle ${name}: `), stdout);
    t.regex(stdout, /\nExamples:\n {2}# /, name);
    const section = new RegExp(`^### heddle ${name}\\n(.*?)(?=^##|$(?![^]))`, 'ms').exec(docs)?.[1] ?? '';
    t.not(section, '', `docs/cli.md has no section on ${name}`);
    for (const [, option = ''] of stdout.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)) {
      const shared = option === '--help' || (section.includes('[options of every run]') && docs.includes(`\n| \`${option}`));
      t.true(shared || section.includes(`\`${option}`), `docs/cli.md: ${name} lacks ${option}`);
    }
  }
});

test.serial('wrong command lines: exit code 2, one line, the nearest name, no stack', async (t) => {
  const cases: [string[], RegExp][] = [
    [['pretrian'], /^heddle: unknown command pretrian; did you mean heddle pretrain\?\n {2}heddle --help/],
    [['tokenizer', 'trian'], /^heddle: unknown command trian; did you mean heddle tokenizer train\?/],
    [['pretrain', 'x.yaml', '--sed', '3'], /^heddle: pretrain: unknown option --sed; did you mean --seed\?/],
    [['pretrain'], /^heddle: pretrain: CONFIG.yaml is missing/],
    [['pretrain', 'x.yaml', '--resume', '--fresh'], /^heddle: pretrain: --resume and --fresh contradict/],
    [['data', 'moby'], /^heddle: data: there is no text "moby"/],
  ];
  for (const [args, expected] of cases) {
    const { code, stdout, stderr } = await heddle(args);
    t.is(code, 2, args.join(' '));
    t.regex(stderr, expected);
    t.false(stderr.includes('    at '), stderr);
    t.is(stdout, '');
  }
});

test.serial('errors of a configuration: exit code 1, a line each; the stack with HEDDLE_DEBUG=1 only', async (t) => {
  const cwd = tinyProject();
  const wrong = await heddle(['pretrain', 'tiny.yaml', '--set', 'train.stps=3', '--set', 'model.width=33'], { cwd });
  t.is(wrong.code, 1);
  t.is(wrong.stderr, 'heddle: --set: train.stps is not known; did you mean train.steps?\n');
  const two = await heddle(['config', 'tiny.yaml', '--set', 'train.stps=3', '--set', 'train.batchSize=0'], { cwd });
  t.deepEqual(two.stderr.trimEnd().split('\n').sort(), [
    'heddle: --set: train.batchSize must be a positive integer, got 0',
    'heddle: --set: train.stps is not known; did you mean train.steps?',
  ]);
  const missing = await heddle(['pretrain', 'none.yaml'], { cwd, env: { HEDDLE_DEBUG: '1' } });
  t.is(missing.code, 1);
  t.regex(missing.stderr, /\n {4}at /);
  t.regex(missing.stderr, /^heddle: none\.yaml: cannot be read/m);
});

test.serial('config: complete YAML that gives the same again; presets with their sizes', async (t) => {
  const cwd = tinyProject();
  const once = await heddle(['config', 'tiny.yaml', '--set', 'train.steps=77', '--seed', '5'], { cwd });
  t.is(once.code, 0, once.stderr);
  t.regex(once.stdout, /^ {2}steps: 77$/m);
  const { writeFileSync } = await import('node:fs');
  writeFileSync(join(cwd, 'again.yaml'), once.stdout);
  t.is((await heddle(['config', 'again.yaml'], { cwd })).stdout, once.stdout);
  const { presets } = lastLine(await heddle(['config', '--json'])) as { presets: { name: string; parameters: number }[] };
  t.is(presets.find((p) => p.name === 'gpt2')?.parameters, 124_439_808);
});

test.serial('what needs no native binary works without one; what does names the command that builds it', async (t) => {
  const cwd = tinyProject();
  const env = noBinary();
  for (const args of [
    ['--help'],
    ['config', 'tiny.yaml'],
    ['data'],
    ['tokenizer', 'train', 'text.txt', '--out', 'tok', '--vocab-size', '300'],
  ]) {
    const { code, stderr } = await heddle(args, { cwd, env });
    t.is(code, 0, `${args.join(' ')}: ${stderr}`);
  }
  const { code, stderr } = await heddle(['pretrain', 'tiny.yaml'], { cwd, env });
  t.is(code, 1);
  t.regex(stderr, /^heddle: heddle has no native binary for .*\n {2}Build it from source: npx heddle build$/m);
  t.is((await heddle(['doctor', '--json'], { env })).code, 1);
});

test.serial('tokenizer: train, encode, decode, info', async (t) => {
  const cwd = tinyProject();
  const trained = lastLine(await heddle(['tokenizer', 'train', 'text.txt', '--out', 'tok', '--vocab-size', '280', '--json'], { cwd }));
  t.is(trained.vocabSize, 280);
  const text = 'The whale, été 🐋\n';
  const ids = (await heddle(['tokenizer', 'encode', 'tok'], { cwd, input: text })).stdout;
  t.regex(ids, /^\d+( \d+)*\n$/);
  t.true(ids.split(' ').length < Buffer.byteLength(text));
  t.is((await heddle(['tokenizer', 'decode', 'tok'], { cwd, input: ids })).stdout, text);
  t.is((await heddle(['tokenizer', 'decode', 'tok', ...ids.trim().split(' ')], { cwd })).stdout, text);
  t.is(lastLine(await heddle(['tokenizer', 'info', 'tok', '--json'], { cwd })).hash, trained.hash);
  const outside = await heddle(['tokenizer', 'decode', 'tok', '99999'], { cwd });
  t.is(outside.code, 1);
  t.regex(outside.stderr, /^heddle: decode: ids\[0\] must be an integer from 0 to 279, got 99999/);
});
