// npm run check: what to run before every commit. Kernels are tested on the CPU; npm test runs them on the cards, too.
// --no-tests: after npm test, which has the suite.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { formatCpp, formatTypeScript } from './format.mjs';
import { ava, node, runSteps, tsc } from './run.mjs';
import { root } from './tools.mjs';

const tables = ['scripts/ptx-instructions.mjs', 'scripts/cuda-calls.mjs'];
const simulator = existsSync(path.join(root, 'build/sim/Release/heddle.node'));

await runSteps([
  ['format and lint: TypeScript', () => formatTypeScript(false)],
  ['format: C++', () => formatCpp(false)],
  ['types', () => tsc(['-p', 'tsconfig.test.json'])],
  ...(simulator ? [["simulator's tables", () => tables.every((script) => node([script, '--check']))]] : []),
  ...(process.argv.includes('--no-tests')
    ? []
    : [['layers and unit tests', () => ava(['test/*.test.ts', 'test/unit/**/*.test.ts'], { HEDDLE_TEST_CARDS: 'apart' })]]),
]);
