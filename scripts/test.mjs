// npm test: native tests (at every instruction-set level of this machine), then the suite, then what touches kernels again at each
// other level. --all: with test/long/, and the whole suite at each level.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { ava, ctest, runSteps } from './run.mjs';
import { root } from './tools.mjs';

const all = process.argv.includes('--all');
// The folders whose tests depend on what a kernel computes.
const kernelFolders = ['test/cases', ...['tensor', 'autograd', 'ops', 'nn', 'optim'].map((name) => `test/unit/${name}`)];
const kernelTests = all
  ? []
  : kernelFolders.filter((folder) => existsSync(path.join(root, folder))).map((folder) => `${folder}/**/*.test.ts`);
const env = all ? { HEDDLE_TEST: 'all' } : {};

const { isa, isas, compiledIsas } = createRequire(import.meta.url)(path.join(root, 'build/Release/heddle.node')).info();
const others = isas.filter((name) => name !== isa);
const absent = compiledIsas.filter((name) => !isas.includes(name));

runSteps([
  ['native tests', () => ctest('build/cmake')],
  [`suite at ${isa}`, () => ava([], env)],
  ...others.map((name) => [`${all ? 'suite' : 'kernel tests'} at ${name}`, () => ava(kernelTests, { ...env, HEDDLE_CPU: name })]),
]);
if (absent.length) console.log(`not run: ${absent.join(', ')} (this CPU does not have it)`);
