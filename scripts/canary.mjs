// A canary for the kernel tests: with a bug planted in a kernel they must fail on a device, or their passing there says nothing. A part of
// `npm run check:gpu`; `npm run mutants` plants many more on the simulated device.
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { plant } from './plant.mjs';
import { root } from './tools.mjs';

const BUG = {
  name: 'softmax divides by the sum of one lane instead of the warp',
  file: 'cuda/softmax/softmax.cu',
  find: '  sum = warp_reduce<Add>(sum);\n',
  replace: '',
};
const TESTS = ['--match', 'softmax: agrees with float64 loops*', 'test/unit/ops/forward.test.ts'];

// Whether the tests pass, and the first that does not.
function test(device, env) {
  const { status, stdout } = spawnSync(process.execPath, ['node_modules/ava/entrypoints/cli.mjs', ...TESTS], {
    ...{ cwd: root, encoding: 'utf8', timeout: 300_000, stdio: ['ignore', 'pipe', 'inherit'] },
    env: { ...process.env, ...env, HEDDLE_TEST_DEVICE: device },
  });
  return { passed: status === 0, failed: / \[fail\]: (.*)/.exec(stdout)?.[1] };
}

// `built`: the CMake folder of the addon in use. What became of it, in a line that begins with passed or failed.
export function canary(device, built) {
  const work = path.join(root, 'build/canary');
  try {
    if (!test(device, {}).passed) return { outcome: 'failed: its test fails without the bug, too', bug: BUG.name };
    plant(BUG, { built, work });
    const { passed, failed } = test(device, { HEDDLE_PREBUILD: work });
    if (passed) return { outcome: `failed: nothing noticed that ${BUG.name}`, bug: BUG.name };
    if (!failed) return { outcome: 'failed: the tests ended without a verdict', bug: BUG.name };
    return { outcome: 'passed', bug: BUG.name, noticedBy: failed };
  } catch (e) {
    return { outcome: `failed: ${e.message}`, bug: BUG.name };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
