// npm run check: what to run before every commit.
import { formatCpp, formatTypeScript } from './format.mjs';
import { ava, runSteps, tsc } from './run.mjs';

runSteps([
  ['format and lint: TypeScript', () => formatTypeScript(false)],
  ['format: C++', () => formatCpp(false)],
  ['types', () => tsc(['-p', 'tsconfig.test.json'])],
  ['layers and unit tests', () => ava(['test/*.test.ts', 'test/unit/**/*.test.ts'])],
]);
