// Who may import whom (docs/architecture.md), as code: a folder of lib/ imports only itself and what stands to its left.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';

const LAYERS = [
  ...['util', 'hub', 'native', 'tensor', 'autograd', 'ops', 'nn', 'models', 'optim'],
  ...['tokenizer', 'data', 'dist', 'checkpoint', 'generate', 'serve', 'train', 'eval', 'cli'],
];

// Denied although it stands to the left. `from` and `to` are a folder, or a folder and the file's name.
const DENIED: Record<string, string[]> = {
  ...Object.fromEntries(['native', 'tensor', 'autograd', 'ops', 'nn', 'models', 'optim'].map((name) => [name, ['hub']])), // no network
  tokenizer: ['native', 'tensor', 'autograd', 'ops', 'nn', 'models', 'optim'], // typed arrays only
  data: ['hub', 'native', 'tensor', 'autograd', 'ops', 'nn', 'models', 'optim'],
};
const MAY_IMPORT_NATIVE = [
  ...['tensor', 'autograd', 'ops', 'cli/doctor.ts', 'cli/doctor-devices.ts', 'cli/doctor-report.ts'],
  ...['cli/bench-machine.ts', 'cli/bench-view.ts', 'cli/build.ts'],
];

// Every module that a source names: import, export from, import() and type imports alike.
function imports(source: string): string[] {
  return [...source.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']+)'/g)].map(([, name]) => name ?? '');
}

/** What is wrong with `file` (relative to lib/) importing `target` (relative to lib/); undefined when it may. */
function violation(file: string, target: string): string | undefined {
  const [from = '', to = ''] = [file, target].map((name) => name.split('/')[0]);
  if (!file.includes('/')) return undefined; // lib/index.ts, the public surface, imports everything
  if (!LAYERS.includes(from)) return `${file}: folder ${from} has no place in the list of layers`;
  if (from === to) return undefined;
  const left = LAYERS.indexOf(from) - LAYERS.indexOf(to);
  if (!LAYERS.includes(to) || left < 0) return `${file} imports ${target}: ${from} stands to the left of ${to}`;
  if (DENIED[from]?.includes(to)) return `${file} imports ${target}: ${from} may not`;
  if (to === 'native' && !MAY_IMPORT_NATIVE.some((name) => name === from || name === file))
    return `${file} imports ${target}: only ${MAY_IMPORT_NATIVE.join(', ')} may`;
  return undefined;
}

test('every import of lib/ goes to the left', (t) => {
  const files = readdirSync('lib', { recursive: true, encoding: 'utf8' })
    .map((name) => name.replaceAll(path.sep, '/'))
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'));
  t.true(files.length > 0);
  const found = files.flatMap((file) =>
    imports(readFileSync(`lib/${file}`, 'utf8')).flatMap((name) => violation(file, path.posix.join(path.posix.dirname(file), name)) ?? []),
  );
  t.deepEqual(found, []);
});

test('the check finds what it is for', (t) => {
  t.deepEqual(
    imports(
      "import a from './a.ts';\nexport { b } from '../b/b.ts';\nconst c = await import('./c.ts');\nimport type { D } from './d.ts';\nimport './e.ts';",
    ),
    ['./a.ts', '../b/b.ts', './c.ts', './d.ts', './e.ts'],
  );
  const cases: [string, string, boolean][] = [
    ['ops/matmul.ts', 'tensor/tensor.ts', true],
    ['tensor/tensor.ts', 'ops/matmul.ts', false],
    ['ops/matmul.ts', 'ops/define.ts', true],
    ['models/gpt.ts', 'optim/adamw.ts', false],
    ['nn/linear.ts', 'optim/adamw.ts', false],
    ['data/shards.ts', 'tensor/dtype.ts', false],
    ['tokenizer/bpe.ts', 'util/errors.ts', true],
    ['hub/cache.ts', 'util/files.ts', true],
    ['hub/model.ts', 'checkpoint/json.ts', false],
    ['tokenizer/from_pretrained.ts', 'hub/index.ts', true],
    ['models/gpt.ts', 'hub/index.ts', false],
    ['nn/linear.ts', 'native/addon.ts', false],
    ['cli/doctor.ts', 'native/load.ts', true],
    ['cli/main.ts', 'native/load.ts', false],
    ['stray/x.ts', 'util/errors.ts', false],
    ['train/loop.ts', 'index.ts', false],
    ['index.ts', 'cli/main.ts', true],
  ];
  for (const [file, target, allowed] of cases) t.is(violation(file, target) === undefined, allowed, `${file} -> ${target}`);
});
