// dist/index.js as one file, in place of the one that tsc wrote: to find, open and compile 140 small modules takes Node longer than all else
// that happens between `import 'heddle'` and the first result. What is imported in functions only becomes a chunk beside it. The
// commands (dist/cli) and the types stay as tsc made them.
import { createRequire } from 'node:module';
import { root } from './tools.mjs';

/** Returns what esbuild says of its outputs; `write: false` leaves the files alone. */
export function bundle({ write = true } = {}) {
  const { buildSync } = createRequire(import.meta.url)('esbuild'); // only now: the set-up may just have installed it
  const { metafile } = buildSync({
    absWorkingDir: root,
    entryPoints: ['lib/index.ts'],
    outdir: 'dist',
    chunkNames: 'index-[hash]',
    bundle: true,
    splitting: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'node20',
    keepNames: true, // esbuild renames classes that name themselves, and what two modules call alike
    sourcemap: true,
    metafile: true,
    allowOverwrite: true,
    logLevel: 'silent', // what is wrong is thrown
    write,
  });
  return metafile.outputs;
}
