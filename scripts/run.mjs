// Programs that the other scripts call, in the repository's root, their output passed through.
import { spawnSync } from 'node:child_process';
import { root } from './tools.mjs';

// True if the program ended with exit code 0.
export function passes(program, args, env = {}) {
  const { status, error } = spawnSync(program, args, { stdio: 'inherit', cwd: root, env: { ...process.env, ...env } });
  if (error) console.error(`${program}: ${error.message}`);
  return status === 0;
}

export const node = (args, env) => passes(process.execPath, args, env);
export const ava = (args, env) => node(['node_modules/ava/entrypoints/cli.mjs', ...args], env);
export const biome = (args) => node(['node_modules/@biomejs/biome/bin/biome', ...args]);
export const tsc = (args) => node(['node_modules/typescript/bin/tsc', ...args]);
export const ctest = (folder, args = []) => passes('cmake', ['-E', 'chdir', folder, 'ctest', '--output-on-failure', ...args]);

// Runs the named steps to the end, whatever fails, and says how long each took. Sets the exit code.
export function runSteps(steps) {
  const results = [];
  for (const [name, step] of steps) {
    console.log(`\n== ${name}`);
    const start = Date.now();
    const ok = step();
    results.push(`${ok ? 'ok    ' : 'FAILED'} ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
    if (!ok) process.exitCode = 1;
  }
  console.log(`\n${results.join('\n')}`);
}
