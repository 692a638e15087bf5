// Programs that the other scripts call, in the repository's root, their output passed through.
import { spawn, spawnSync } from 'node:child_process';
import { root } from './tools.mjs';

const given = (env) => ({ cwd: root, env: { ...process.env, ...env } });

// True if the program ended with exit code 0.
export function passes(program, args, env = {}) {
  const { status, error } = spawnSync(program, args, { stdio: 'inherit', ...given(env) });
  if (error) console.error(`${program}: ${error.message}`);
  return status === 0;
}

export const node = (args, env) => passes(process.execPath, args, env);
export const biome = (args) => node(['node_modules/@biomejs/biome/bin/biome', ...args]);
export const tsc = (args) => node(['node_modules/typescript/bin/tsc', ...args]);
export const ctest = (folder, args = []) => passes('cmake', ['-E', 'chdir', folder, 'ctest', '--output-on-failure', ...args]);

// What the last run of ava that failed printed from its summary on.
let failure = '';

// As `passes`, in a promise.
export async function ava(args, env = {}) {
  const colour = process.stdout.isTTY ? { FORCE_COLOR: '1' } : {};
  const child = spawn(process.execPath, ['node_modules/ava/entrypoints/cli.mjs', ...args], {
    stdio: ['inherit', 'pipe', 'pipe'],
    ...given({ ...colour, ...env }),
  });
  let said = '';
  const pass = (from, to) =>
    from.setEncoding('utf8').on('data', (piece) => {
      said += piece;
      to.write(piece);
    });
  pass(child.stdout, process.stdout);
  pass(child.stderr, process.stderr);
  const status = await new Promise((resolve) => child.on('close', resolve));
  if (status !== 0) failure = said.slice(said.indexOf('\n  ─') + 1).trimEnd();
  return status === 0;
}

// Runs the named steps to the end, whatever fails, and says how long each took. Sets the exit code. What failed in ava is printed once
// more at the very end, where the end of a long log still has it.
export async function runSteps(steps) {
  const results = [];
  const failures = [];
  for (const [name, step] of steps) {
    console.log(`\n== ${name}`);
    const start = Date.now();
    failure = '';
    const ok = await step();
    results.push(`${ok ? 'ok    ' : 'FAILED'} ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
    if (!ok) process.exitCode = 1;
    if (failure) failures.push(`\n== ${name}, again:\n${failure}`);
  }
  if (failures.length) console.log(failures.join('\n'));
  console.log(`\n${results.join('\n')}`);
}
