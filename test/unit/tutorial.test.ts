// The tutorials do what they say. Every block of code is executed, in the order of the page, in a folder of its own: a fence that names a
// file (```yaml rhymes.yaml) writes it, `sh` runs commands, and the `ts` blocks make up one program.
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';

const run = promisify(execFile);
const ROOT = path.resolve('.');
const TUTORIALS = readdirSync('docs').filter((name) => name.startsWith('tutorial'));

interface Block {
  kind: string;
  /** The file that the fence names. */
  file: string | undefined;
  text: string;
}

function blocks(page: string): Block[] {
  return [...page.matchAll(/^```(\w+)(?: ([\w./-]+))?\n([\s\S]*?)^```$/gm)].map(([, kind = '', file, text = '']) => ({ kind, file, text }));
}

/** A project in which `heddle` is this one, as a command and as a package. */
function project(t: ExecutionContext): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-tutorial-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(path.join(folder, 'node_modules/.bin'), { recursive: true });
  symlinkSync(ROOT, path.join(folder, 'node_modules/heddle'));
  const command = `#!/bin/sh\nexec "${process.execPath}" "${ROOT}/dist/cli/main.js" "$@"\n`;
  writeFileSync(path.join(folder, 'node_modules/.bin/heddle'), command, { mode: 0o755 });
  writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }');
  return folder;
}

test('blocks are found, with their files', (t) => {
  t.deepEqual(blocks('a\n```sh\nheddle x\n```\n\n```yaml a/b.yaml\nk: v\n```\n'), [
    { kind: 'sh', file: undefined, text: 'heddle x\n' },
    { kind: 'yaml', file: 'a/b.yaml', text: 'k: v\n' },
  ]);
  t.deepEqual(TUTORIALS, ['tutorial.en.md', 'tutorial.zh.md']);
});

for (const name of TUTORIALS)
  test.serial(`every block of docs/${name}`, async (t) => {
    if (!existsSync('dist/index.js')) return t.fail('dist/ is not built: run node scripts/setup.mjs');
    t.timeout(240_000);
    const cwd = project(t);
    const env = { ...process.env, HEDDLE_THREADS: '1', PATH: `${cwd}/node_modules/.bin:${process.env.PATH}` };
    const program: string[] = [];
    for (const { kind, file, text } of blocks(readFileSync(`docs/${name}`, 'utf8'))) {
      if (file !== undefined) writeFileSync(path.join(cwd, file), text);
      else if (kind === 'sh') await t.notThrowsAsync(run('sh', ['-e', '-c', text], { cwd, env }), text);
      else if (kind === 'ts') program.push(text);
      else t.fail(`a block of ${kind} that nobody executes: ${text}`);
    }
    writeFileSync(path.join(cwd, 'program.ts'), program.join('\n'));
    const { stdout } = await run(process.execPath, [`--import=${import.meta.resolve('tsx')}`, 'program.ts'], { cwd, env });
    t.log(stdout);
    const [, first, last] = /(\d+\.\d+) (?:to|→) (\d+\.\d+)/.exec(stdout) ?? []; // the loss that the article's program prints
    t.true(Number(last) < Number(first) / 2, stdout);
  });
