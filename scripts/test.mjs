// npm test: native tests (at every instruction-set level of this machine), then the suite, then what touches kernels again at each
// lower level. --all: with test/long/, and the whole suite at each level.
import { createRequire } from 'node:module';
import path from 'node:path';
import { ava, ctest, runSteps } from './run.mjs';
import { root } from './tools.mjs';

const all = process.argv.includes('--all');
const kernelTests = all ? [] : ['test/unit/ops/**/*.test.ts', 'test/cases/**/*.test.ts'];
const env = all ? { HEDDLE_TEST: 'all' } : {};

const { isa, isas, compiledIsas } = createRequire(import.meta.url)(path.join(root, 'build/Release/heddle.node')).info();
const lower = isas.filter((name) => name !== isa);
const absent = compiledIsas.filter((name) => !isas.includes(name));

runSteps([
  ['native tests', () => ctest('build/cmake')],
  [`suite at ${isa}`, () => ava([], env)],
  ...lower.map((name) => [`${all ? 'suite' : 'kernel tests'} at ${name}`, () => ava(kernelTests, { ...env, HEDDLE_CPU: name })]),
]);
if (absent.length) console.log(`not run: ${absent.join(', ')} (this CPU does not have it)`);
