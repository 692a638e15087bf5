// node scripts/cuda-calls.mjs [--check] [LIBRARY]: writes docs/cuda-calls.md, the functions of CUDA's runtime and driver that the simulator
// exports, by the source file that has them, and those of the toolkit's runtime header that it lacks.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { nvcc, root } from './tools.mjs';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { check: { type: 'boolean' } } });
const library = path.resolve(positionals[0] ?? path.join(root, 'build/sim/cmake/sim/libcuda_sim.so'));
const page = path.join(root, 'docs/cuda-calls.md');

const symbols = execFileSync('nm', ['--dynamic', '--defined-only', library], { encoding: 'utf8', maxBuffer: 1 << 26 })
  .split('\n')
  .map((line) => line.split(' ').at(-1))
  .filter((name) => /^(cuda|cu(?=[A-Z])|__cuda)/.test(name));
const perThread = symbols.filter((name) => /_pt[sd][zs]$/.test(name));
const exported = symbols.filter((name) => !/_pt[sd][zs]$/.test(name) && !name.startsWith('__'));

// A source file's part: its name, its first line, the exported functions that it defines.
const sources = path.join(root, 'sim/cuda');
const files = readdirSync(sources)
  .filter((name) => name.endsWith('.cc'))
  .sort()
  .map((name) => {
    const text = readFileSync(path.join(sources, name), 'utf8');
    const title = text
      .split('\n')[0]
      .replace(/^\/\/ /, '')
      .replace(/:.*|\.$/, '');
    return { name, title, defines: new Set([...text.matchAll(/\bcu[A-Za-z0-9_]+(?=\()/g)].map(([word]) => word)), text };
  });
const definer = (call) =>
  files.find(({ text }) => new RegExp(`SIM_API [^;={]*?\\b${call}\\(`).test(text)) ?? files.find((f) => f.defines.has(call));
const groups = new Map();
for (const call of exported) groups.set(definer(call), [...(groups.get(definer(call)) ?? []), call]);
const list = (names) =>
  [...names]
    .sort((a, b) => (a < b ? -1 : 1))
    .map((name) => `\`${name}\``)
    .join(', ');
const sections = files
  .filter((file) => groups.has(file))
  .map((file) => `**${file.title}** ([sim/cuda/${file.name}](../sim/cuda/${file.name})): ${list(groups.get(file))}.`);
const served = `${exported.filter((name) => name.startsWith('cuda')).length} functions of the runtime and ${
  exported.filter((name) => !name.startsWith('cuda')).length
} of the driver; ${perThread.length} more are the per-thread forms (\`_ptsz\`, \`_ptds\`) that
\`nvcc --default-stream per-thread\` calls. What stands in \`cuGetProcAddress\` and \`cudaGetDriverEntryPoint\` is in
[sim/cuda/entry_point.cc](../sim/cuda/entry_point.cc).

${sections.join('\n\n')}`;

function header() {
  const home = path.resolve(path.dirname(execFileSync('sh', ['-c', `readlink -f "$(command -v ${nvcc()})"`], { encoding: 'utf8' })), '..');
  const file = [path.join(home, 'include'), '/usr/local/cuda/include', '/usr/include']
    .map((folder) => path.join(folder, 'cuda_runtime_api.h'))
    .find(existsSync);
  if (!file) throw new Error('no cuda_runtime_api.h');
  return readFileSync(file, 'utf8');
}

if (values.check) {
  if (readFileSync(page, 'utf8').includes(served)) process.exit(0);
  console.error('docs/cuda-calls.md is stale: run node scripts/cuda-calls.mjs');
  process.exit(1);
}
const text = header();
const version = Number(/#define CUDART_VERSION\s+(\d+)/.exec(text)[1]);
const lacking = new Set(
  [...text.matchAll(/CUDARTAPI(?:_CDECL)? (cuda\w+)\(/g)].map(([, name]) => name).filter((name) => !exported.includes(name)),
);
writeFileSync(
  page,
  `# CUDA calls of the simulator

Written by \`node scripts/cuda-calls.mjs\`; \`npm run check\` fails when the library exports others.

## Served

${served}

## Not served

Of the runtime of CUDA ${Math.floor(version / 1000)}.${(version % 1000) / 10}, these ${lacking.size} functions are not there; a program that calls one does not link. They are textures, surfaces and
arrays, memory of other processes and of other APIs, and logs.

${list(lacking)}.
`,
);
console.log(`${exported.length} functions, ${lacking.size} not served`);
