// node scripts/ptx-instructions.mjs [--check] [FOLDER]: writes docs/ptx-instructions.md, the simulator's instruction families and every
// instruction form that its test programs run, with the programs. FOLDER has the programs; by default those of the simulated build.
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { nvcc, root } from './tools.mjs';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { check: { type: 'boolean' } } });
const folder = path.resolve(positionals[0] ?? path.join(root, 'build/sim/cmake/test/sim'));
const page = path.join(root, 'docs/ptx-instructions.md');

// Programs are NAME.ARCH (functions.80). Those that plant bugs check no results.
const programs = readdirSync(folder)
  .filter((name) => /^(?!detect_)\w+\.\d+$/.test(name))
  .sort();
if (!programs.length) throw new Error(`${folder} has no test programs (named NAME.ARCH)`);

const work = mkdtempSync(path.join(tmpdir(), 'forms-'));
const shown = new Map(); // form -> names of programs
function run(program) {
  const forms = path.join(work, program);
  const [name, arch] = program.split('.');
  const env = { ...process.env, SIM_FORMS: forms, SIM_CARDS: arch };
  return new Promise((done) => {
    execFile(path.join(folder, program), { env, maxBuffer: 1 << 28 }, (error) => {
      if (error) {
        console.error(`${program} fails`);
        process.exitCode = 1;
      }
      for (const form of existsSync(forms) ? readFileSync(forms, 'utf8').trim().split('\n') : [])
        shown.set(form, (shown.get(form) ?? new Set()).add(name));
      done();
    });
  });
}
const queue = [...programs].reverse();
async function runAll() {
  for (let program = queue.pop(); program; program = queue.pop()) await run(program);
}
await Promise.all(Array.from({ length: availableParallelism() }, runAll));
rmSync(work, { recursive: true });

const compiler = /release (\S+),/.exec(execFileSync(nvcc(), ['--version'], { encoding: 'utf8' }))[1];
const families = execFileSync(path.join(folder, 'instructions'), { encoding: 'utf8' }).trim();
const named = (names) => `${names.slice(0, 4).join(', ')}${names.length > 4 ? ` and ${names.length - 4} more` : ''}`;
const rows = [...shown].sort(([a], [b]) => (a < b ? -1 : 1)).map(([form, names]) => `| \`${form}\` | ${named([...names].sort())} |`);
const text = `# PTX instructions of the simulator

Written by \`node scripts/ptx-instructions.mjs\`; \`npm run check\` fails when the page is not what the simulator serves and its tests run.
Anything else is an error that names the instruction, its text and its source line. Chapters are those of the PTX ISA manual 9.0.

## Families

${families}

## Forms that the tests run

${rows.length} forms; each program checks its results against a computation on the host. Forms depend on the compiler: these are of nvcc ${compiler}.

| Form | Programs of \`test/sim\` |
|---|---|
${rows.join('\n')}
`;
// With another compiler than the page's, only the families can be compared.
const isFresh = (was) => was === text || (!was.includes(`of nvcc ${compiler}.`) && was.includes(families));
if (!values.check) {
  writeFileSync(page, text);
  console.log(`${rows.length} forms from ${programs.length} programs`);
} else if (!isFresh(readFileSync(page, 'utf8'))) {
  const before = readFileSync(page, 'utf8').split('\n');
  const now = text.split('\n');
  for (const line of now.filter((l) => !before.includes(l)).slice(0, 10)) console.error(`+ ${line}`);
  for (const line of before.filter((l) => !now.includes(l)).slice(0, 10)) console.error(`- ${line}`);
  console.error('docs/ptx-instructions.md is stale: run node scripts/ptx-instructions.mjs');
  process.exitCode = 1;
}
