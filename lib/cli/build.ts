import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { packageRoot } from '../native/load.ts';

/**
 * `heddle build`: compiles the native binary from the sources in the package, for platforms without a prebuilt one. Works
 * where the binary does not load. Returns the exit code.
 */
export function runBuild(): number {
  const script = path.join(packageRoot(), 'scripts/build.mjs');
  return spawnSync(process.execPath, [script], { stdio: 'inherit' }).status ?? 1;
}
