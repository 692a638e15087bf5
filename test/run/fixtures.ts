// npm run fixtures -- FOLDER [--device D] [--compute bf16] [--json]: compares this library with a folder of golden fixtures.
import { parseArgs } from 'node:util';
import { COMPUTES, computeType } from '../../lib/nn/index.ts';
import { describeDevice } from '../../lib/tensor/device.ts';
import { type FixtureResult, runCases } from './fixture_suite.ts';
import { runModels } from './fixtures_models.ts';

function line(r: FixtureResult): string {
  const name = `${r.op} ${r.case} ${r.tensor}`.trimEnd();
  if (r.message !== undefined) return `${r.outcome.padEnd(7)} ${name}: ${r.message}`;
  return `${r.outcome.padEnd(7)} ${name}: error ${r.error.toExponential(2)}, at most ${r.tol.toExponential(2)}`;
}

/** How often, and the largest part of its tolerance that a comparison used, for each op. */
function summary(results: readonly FixtureResult[]): string[] {
  const ops = [...new Set(results.map((r) => r.op))];
  return ops.map((op) => {
    const rows = results.filter((r) => r.op === op);
    const count = (outcome: FixtureResult['outcome']): number => rows.filter((r) => r.outcome === outcome).length;
    const used = Math.max(...rows.filter((r) => r.outcome === 'pass').map((r) => r.error / r.tol), 0);
    return `${op.padEnd(14)} ${count('pass')} passed, ${count('fail')} failed, ${count('skipped')} skipped; at worst ${(100 * used).toFixed(0)} % of the tolerance`;
  });
}

const { values, positionals } = parseArgs({
  options: {
    device: { type: 'string', default: 'cpu' },
    compute: { type: 'string', default: 'f32' },
    json: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});
const [folder] = positionals;
const compute = COMPUTES.find((name) => name === values.compute);
if (folder === undefined || positionals.length > 1 || compute === undefined) {
  console.error(`usage: npm run fixtures -- FOLDER [--device D] [--compute ${COMPUTES.join('|')}] [--json]`);
  process.exitCode = 2;
} else {
  const { device } = values;
  if (!values.json) console.log(`on ${describeDevice(device)} in ${compute}`);
  const results = await runCases(folder, { device, dtype: computeType(compute, device) });
  results.push(...(await runModels(folder, { device, compute })));
  const failed = results.filter((r) => r.outcome === 'fail');
  if (values.json) console.log(JSON.stringify(results));
  else {
    for (const r of failed) console.log(line(r));
    for (const text of summary(results)) console.log(text);
  }
  if (results.length === 0) console.error(`${folder}: index.json lists no cases`);
  process.exitCode = failed.length > 0 || results.length === 0 ? 1 : 0;
}
