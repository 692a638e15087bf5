// Every file of examples/ runs as a user would run it, against the built package, and does what it claims.
import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { BPETokenizer } from '../../lib/index.ts';

const run = promisify(execFile);

/** The numbers that stand behind a word in the output. */
function numbersAfter(word: string, output: string): number[] {
  return [...output.matchAll(new RegExp(`${word}:? (-?[\\d.]+)`, 'g'))].map(([, digits]) => Number(digits));
}

/** Fails unless the last of the numbers is at most `share` of the first; NaN fails too. */
function falls(t: ExecutionContext, numbers: readonly number[], share: number): void {
  const [first = Number.NaN, last = Number.NaN] = [numbers[0], numbers.at(-1)];
  t.true(numbers.length > 1 && last <= share * first, `from ${first} to ${last}`);
}

const CHECKS: Record<string, (t: ExecutionContext, output: string) => void> = {
  'quick.ts': (t, output) => falls(t, numbersAfter('loss', output), 0.85),
  'loop.ts': (t, output) => falls(t, numbersAfter('loss', output), 0.3),
  'module.ts': (t, output) => falls(t, numbersAfter('mean squared error', output), 0.2),
  'function.ts'(t, output) {
    const row = (name: string): number[] => (/^.*$/m.exec(output.split(`${name} `)[1] ?? '')?.[0] ?? '').split(' ').map(Number);
    const [gradient, differences] = [row('gradient'), row('differences')];
    t.deepEqual([gradient.length, differences.length], [4, 4]);
    for (const [i, g] of gradient.entries()) t.true(Math.abs(g - (differences[i] as number)) <= 1e-3, `element ${i}`);
  },
  'finetune.ts'(t, output) {
    const [before = Number.NaN, after = Number.NaN] = [...output.matchAll(/(\d+) of 15/g)].map(([, right]) => Number(right));
    t.true(before <= 3 && after >= 12, `${before} right answers before, ${after} after`);
  },
  'translate.ts'(t, output) {
    falls(t, numbersAfter('loss', output), 0.5);
    const [, right] = /^(\d+) of 100 sentences/m.exec(output) ?? [];
    t.true(Number(right) >= 90, `${right} right`);
  },
  'generate.ts': (t, output) => t.regex(output, /^Row, row, row your boat, gently down the stream\.\n(".*" (length|stop|endOfText)\n){3}$/),
  'article.ts'(t, output) {
    t.regex(output, /^人工智能科学家: 7 characters are 21 tokens\n/);
    falls(t, numbersAfter('loss', output), 0.99);
  },
  'chinese.ts': (t, output) => t.regex(output, /^7 characters are 15 tokens: .*\n(epoch .*\n){4}人工 -> 人工智能科学家\n$/),
};

test('every example is checked', (t) => {
  t.deepEqual(readdirSync('examples').sort(), Object.keys(CHECKS).sort());
});

test("the README's script is examples/quick.ts, word for word, and at most 25 lines long", (t) => {
  const [, block = ''] = /```ts\n([\s\S]*?)```/.exec(readFileSync('README.md', 'utf8')) ?? [];
  const script = readFileSync('examples/quick.ts', 'utf8');
  t.is(block, script);
  t.true(script.trimEnd().split('\n').length <= 25);
});

/** The fixture's GPT-2 with a tokenizer of its vocabulary: the bytes and an end of text. */
function gpt2Folder(t: ExecutionContext): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-example-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  for (const file of ['config.json', 'model.safetensors']) copyFileSync(`test/fixtures/gpt2-tiny/${file}`, path.join(folder, file));
  const tokenizer = BPETokenizer.train(['a'], { vocabSize: 257, specialTokens: ['<|endoftext|>'] });
  writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify(tokenizer.toJSON()));
  return folder;
}

const ARGUMENTS: Record<string, (t: ExecutionContext) => string[]> = { 'article.ts': (t) => [gpt2Folder(t)] };

for (const [name, check] of Object.entries(CHECKS)) {
  test.serial(`examples/${name}`, async (t) => {
    if (!existsSync('dist/index.js')) t.fail('dist/ is not built: run node scripts/setup.mjs');
    const env = { ...process.env, HEDDLE_THREADS: '1' };
    const { stdout, stderr } = await run(process.execPath, ['--import=tsx', `examples/${name}`, ...(ARGUMENTS[name]?.(t) ?? [])], {
      env,
      timeout: 60_000,
    });
    t.is(stderr, '');
    check(t, stdout);
  });
}
