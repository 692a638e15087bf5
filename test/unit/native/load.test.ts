import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { NativeLoadError } from '../../../lib/native/errors.ts';
import { binaryPath, loadAddon, type NativeInfo, packageRoot } from '../../../lib/native/load.ts';

// HEDDLE_PREBUILD is where node-gyp-build looks instead of the package's folder.
function withBinaryIn<T>(folder: string | undefined, work: () => T): T {
  if (folder) process.env.HEDDLE_PREBUILD = folder;
  try {
    return work();
  } finally {
    delete process.env.HEDDLE_PREBUILD;
  }
}

const emptyFolder = () => mkdtempSync(path.join(os.tmpdir(), 'heddle-load-'));

test.serial('the binary of this folder loads and knows itself', (t) => {
  t.true(binaryPath().startsWith(packageRoot()));
  const { info } = loadAddon() as { info(): NativeInfo };
  const { version, isa, isas, compiledIsas, threads } = info();
  t.regex(version, /^\d+\.\d+\.\d+/);
  t.true(isas.includes(isa), `${isa} is one of ${isas}`);
  t.true(isas.every((name) => compiledIsas.includes(name)));
  t.true(isas.includes('baseline'));
  t.true(threads >= 1);
});

test.serial('the simulated device is for machines without a GPU', (t) => {
  const simulated = path.join(packageRoot(), 'build/sim/Release/heddle.node');
  const chosen = process.env.HEDDLE_PREBUILD;
  delete process.env.HEDDLE_PREBUILD;
  t.teardown(() => {
    if (chosen !== undefined) process.env.HEDDLE_PREBUILD = chosen;
  });
  t.not(binaryPath(true), simulated);
  t.is(binaryPath(false) === simulated, existsSync(simulated));
});

test.serial('no binary for this platform: the error names platform, folder and the command that builds', (t) => {
  const error = withBinaryIn(emptyFolder(), () => t.throws(binaryPath, { instanceOf: NativeLoadError }));
  t.is(error?.code, 'ERR_HEDDLE_NATIVE_LOAD');
  t.is(error?.path, undefined);
  t.true(error?.message.includes(`${process.platform}-${process.arch}`), error?.message);
  t.true(error?.message.includes('npx heddle build'), error?.message);
});

test.serial('a binary that the loader refuses: the error has its path and what the loader said', (t) => {
  const folder = emptyFolder();
  const file = path.join(folder, 'build/Release/heddle.node');
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, 'not a shared library, but long enough to have a header of sixty-four bytes or more');
  const error = withBinaryIn(folder, () => t.throws(loadAddon, { instanceOf: NativeLoadError }));
  t.is(error?.path, file);
  t.true(error?.message.includes(file), error?.message);
  t.true(error?.message.includes(String((error.cause as Error).message)), error?.message);
  t.true(error?.message.includes('npx heddle build'), error?.message);
});
