// node scripts/format.mjs [--write]: TypeScript and JSON with Biome (which lints too), C++ with clang-format (as WebAssembly,
// from npm, so that everyone has the same version). Without --write it only checks.
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { biome, node } from './run.mjs';
import { root } from './tools.mjs';

const CPP_FOLDERS = ['native', 'cuda', 'sim', 'bench/static', 'test/native', 'test/sim', 'test/known-good', 'test/card'];

function cppFiles() {
  return CPP_FOLDERS.filter((folder) => existsSync(path.join(root, folder))).flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true })
      .filter((name) => /\.(h|cc|cu|cuh)$/.test(name))
      .map((name) => `${folder}/${name}`),
  );
}

export const formatTypeScript = (write) => biome(['check', '--error-on-warnings', ...(write ? ['--write'] : [])]);

export function formatCpp(write) {
  return node(['node_modules/@wasm-fmt/clang-format/clang-format-cli.cjs', ...(write ? ['-i'] : ['--dry-run', '-Werror']), ...cppFiles()]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const write = process.argv.includes('--write');
  const ok = [formatTypeScript(write), formatCpp(write)];
  process.exitCode = ok.every(Boolean) ? 0 : 1;
}
