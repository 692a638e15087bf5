// npm run sanitize              address, leaks and undefined behaviour: native tests at every level, then the kernel tests with the addon in Node
// npm run sanitize -- thread    data races: native tests only
import { execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { kernelTests } from './kernel-tests.mjs';
import { ava, ctest, passes, runSteps } from './run.mjs';
import { root } from './tools.mjs';

const kind = process.argv[2] ?? 'address,undefined';
const ofAddress = kind.startsWith('address');
const top = path.join(root, 'build', kind.split(',')[0]);
const out = path.join(top, 'build/cmake'); // the addon lands in TOP/build/Release

// Node is not built with the sanitizer, so its run-time comes first by LD_PRELOAD; libstdc++ too, or throwing fails.
function suiteWithAddon() {
  const library = (name) => execFileSync(process.env.CXX ?? 'c++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
  return ava(kernelTests, {
    HEDDLE_PREBUILD: top, // node-gyp-build looks here
    LD_PRELOAD: `${library('libasan.so')}:${library('libstdc++.so')}`,
    ASAN_OPTIONS: 'detect_leaks=0', // V8 leaves by exiting
  });
}

await runSteps([
  ['configure', () => passes('cmake', ['-S', '.', '-B', out, `-DHEDDLE_SANITIZE=${kind}`, '-DHEDDLE_CUDA=OFF'])],
  ['build', () => passes('cmake', ['--build', out, '--parallel', String(availableParallelism())])],
  ['native tests', () => ctest(out)], // those whose level this CPU lacks say so: Skipped
  ...(ofAddress ? [['addon in Node', suiteWithAddon]] : []),
]);
if (ofAddress) console.log('not run: leaks with the addon in Node (V8 leaves by exiting); the native tests look for them');
else console.log('not run: the addon in Node (V8 itself reports races)');
