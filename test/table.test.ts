// What must hold for every op, checked from the addon's own list.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { native } from '../lib/native/addon.ts';
import { CASES } from './cases/index.ts';

const names = [...native.signatures().matchAll(/^ {2}(\w+)\(/gm)].map(([, name]) => name as string);

test('every op has a case', (t) => {
  t.true(names.length > 40);
  t.deepEqual(Object.keys(CASES).sort(), [...names].sort());
});

test('lib/native/ops.ts is what the C++ signatures say', async (t) => {
  const { opsFile } = (await import(pathToFileURL('scripts/ops-types.mjs').href)) as { opsFile(signatures: string): string };
  t.is(readFileSync('lib/native/ops.ts', 'utf8'), opsFile(native.signatures()));
});

test('the CPU has a kernel for every slot of the table', (t) => {
  const slots = [...readFileSync('native/ops/backend.h', 'utf8').matchAll(/Kernel<\w+> (\w+);/g)].map(([, name]) => name as string);
  const table = readFileSync('native/cpu/backend.cc', 'utf8');
  t.true(slots.length > 25);
  t.deepEqual(
    slots.filter((slot) => !new RegExp(`\\.${slot} = \\{\\w+`).test(table)),
    [],
  );
});
