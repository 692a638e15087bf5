// Writes docs/ptx-instructions.md: the simulator's instruction families, and every instruction form that its test
// programs run, with the programs.  usage: node scripts/ptx-instructions.mjs [--check] FOLDER-OF-TEST-PROGRAMS
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

const check = process.argv.includes('--check');
const folder = process.argv.slice(2).find((a) => !a.startsWith('--'));
const page = new URL('../docs/ptx-instructions.md', import.meta.url);
if (!folder) throw new Error('usage: node scripts/ptx-instructions.mjs [--check] FOLDER-OF-TEST-PROGRAMS');

// A test program is NAME.ARCH (functions.80); `--table` of any prints the families.
const programs = readdirSync(folder)
  .filter((f) => /^[\w]+\.\d+$/.test(f))
  .sort();
if (!programs.length) throw new Error(`${folder} has no test programs (named NAME.ARCH)`);
const families = execFileSync(join(folder, 'instructions'), { encoding: 'utf8' });

if (check) {
  const fresh = readFileSync(page, 'utf8').includes(families.trim());
  if (!fresh) console.error('docs/ptx-instructions.md is stale: run node scripts/ptx-instructions.mjs FOLDER');
  process.exit(fresh ? 0 : 1);
}

const shown = new Map();
const work = mkdtempSync(join(tmpdir(), 'forms-'));
for (const program of programs) {
  const file = join(work, program);
  const arch = program.split('.')[1];
  spawnSync(join(folder, program), { env: { ...process.env, SIM_FORMS: file, SIM_ARCH: arch }, stdio: 'ignore' });
  if (!existsSync(file)) continue;
  for (const form of new Set(readFileSync(file, 'utf8').trim().split('\n'))) {
    const names = shown.get(form) ?? new Set();
    names.add(basename(program).split('.')[0]);
    shown.set(form, names);
  }
}
rmSync(work, { recursive: true });

const rows = [...shown].sort(([a], [b]) => (a < b ? -1 : 1)).map(([form, names]) => `| \`${form}\` | ${[...names].sort().join(', ')} |`);
writeFileSync(
  page,
  `# PTX instructions of the simulator

Written by \`node scripts/ptx-instructions.mjs FOLDER\`; \`--check\` fails when the first table is not what the simulator serves.
Anything else is an error that names the instruction, its text and its source line. Chapters are those of the PTX ISA manual 9.0.

## Families

${families.trim()}

## Forms that the tests run

${rows.length} forms; each program checks its results against a computation on the host.

| Form | Programs of \`test/sim\` |
|---|---|
${rows.join('\n')}
`,
);
console.log(`${rows.length} forms from ${programs.length} programs`);
