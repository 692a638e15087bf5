import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { openSafetensors, type SafetensorsEntry, writeSafetensors } from '../../../lib/checkpoint/safetensors.ts';
import { ArgumentError, FileError } from '../../../lib/util/errors.ts';
import { faultyFileSystem, randomIntegers, temporaryFolder } from './support.ts';

const bytesOf = (n: number, start = 0) => Uint8Array.from({ length: n }, (_, i) => (start + i * 7) & 255);

const entries: SafetensorsEntry[] = [
  { name: 'flags', dtype: 'BOOL', shape: [3], bytes: Uint8Array.of(1, 0, 1) },
  { name: 'wte.weight', dtype: 'F32', shape: [3, 5], bytes: bytesOf(60) },
  { name: 'half', dtype: 'F16', shape: [2, 1, 2], bytes: bytesOf(8, 1) },
  { name: 'brain', dtype: 'BF16', shape: [5], bytes: () => bytesOf(10, 2) },
  { name: 'ids', dtype: 'I32', shape: [2], bytes: async () => bytesOf(8, 3) },
  { name: 'u8', dtype: 'U8', shape: [1, 7], bytes: bytesOf(7, 4) },
  { name: 'i64', dtype: 'I64', shape: [1], bytes: bytesOf(8, 5) },
  { name: 'f64', dtype: 'F64', shape: [], bytes: bytesOf(8, 6) },
  { name: 'u16', dtype: 'U16', shape: [3], bytes: bytesOf(6, 7) },
  { name: 'u32', dtype: 'U32', shape: [1, 1], bytes: bytesOf(4, 8) },
  { name: 'empty', dtype: 'F32', shape: [0, 9], bytes: new Uint8Array(0) },
  { name: '权重 "x"\n', dtype: 'U8', shape: [1], bytes: Uint8Array.of(9) },
  { name: '__proto__', dtype: 'U8', shape: [1], bytes: Uint8Array.of(8) },
  { name: '0', dtype: 'U8', shape: [1], bytes: Uint8Array.of(7) },
];

test('what is written is read back, aligned, and the header comes first', async (t) => {
  const file = join(temporaryFolder(t), 'model.safetensors');
  await writeSafetensors(file, entries, { format: 'pt', 'a "b"': 'ü' });
  const opened = await openSafetensors(file);
  t.is(opened.tensors.size, entries.length);
  t.deepEqual(Object.fromEntries(opened.metadata), { format: 'pt', 'a "b"': 'ü' });
  const sizes: Record<string, number> = { F64: 8, I64: 8, F32: 4, I32: 4, U32: 4, F16: 2, BF16: 2, U16: 2, U8: 1, BOOL: 1 };
  for (const { name, dtype, shape, bytes } of entries) {
    const info = opened.tensors.get(name);
    t.deepEqual([info?.dtype, info?.shape], [dtype, shape], name);
    t.is((info?.offset ?? 1) % (sizes[dtype] ?? 0), 0, `${name} is aligned`);
    t.deepEqual(await opened.read(name), typeof bytes === 'function' ? await bytes() : bytes, name);
  }
  const error = await t.throwsAsync(async () => opened.read('wte.wieght'), { instanceOf: ArgumentError });
  t.regex(error.message, /name must be a tensor of .*got "wte.wieght"\n {2}Did you mean wte.weight\?/);
  await opened.close();
});

test('a file without tensors, and one that replaces another', async (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, 'x.safetensors');
  await writeSafetensors(file, []);
  const empty = await openSafetensors(file);
  t.is(empty.tensors.size, 0);
  await empty.close();
  await writeSafetensors(file, [{ name: 'a', dtype: 'U8', shape: [2], bytes: bytesOf(2) }]);
  const opened = await openSafetensors(file);
  t.deepEqual([...opened.tensors.keys()], ['a']);
  await opened.close();
  t.deepEqual(readdirSync(folder), ['x.safetensors']);
});

test('a write that fails leaves the old file and nothing else', async (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, 'x.safetensors');
  await writeSafetensors(file, entries);
  const before = readFileSync(file);
  for (const failing of ['create', 'write', 'sync', 'rename']) {
    const fs = faultyFileSystem({
      before: (operation) => {
        if (operation === failing) throw new Error('ENOSPC: no space left on device');
      },
    });
    const message = /x\.safetensors.*: cannot .*: ENOSPC/;
    await t.throwsAsync(writeSafetensors(file, entries, {}, fs), { instanceOf: FileError, message }, failing);
    t.deepEqual(readFileSync(file), before);
    t.deepEqual(readdirSync(folder), ['x.safetensors']);
  }
  const stuck = faultyFileSystem({ before: () => undefined, shorten: () => 0 });
  await t.throwsAsync(writeSafetensors(file, entries, {}, stuck), { instanceOf: FileError, message: /none of \d+ bytes were taken/ });
  const slow = faultyFileSystem({ before: () => undefined, shorten: (n) => Math.min(n, 5) });
  await writeSafetensors(file, entries, {}, slow); // short writes are gone on with
  t.deepEqual(readFileSync(file), before);
});

test('wrong entries are refused before anything is written', async (t) => {
  const folder = temporaryFolder(t);
  const write = (entry: unknown, more: SafetensorsEntry[] = []) =>
    writeSafetensors(join(folder, 'x.safetensors'), [...more, entry as SafetensorsEntry]);
  const a: SafetensorsEntry = { name: 'a', dtype: 'F32', shape: [2], bytes: bytesOf(8) };
  const refuses = async (entry: unknown, message: RegExp, more?: SafetensorsEntry[]) =>
    t.throwsAsync(write(entry, more), { instanceOf: ArgumentError, message });
  await refuses({ ...a, dtype: 'F8' }, /dtype of a must be one of F64, .*, got F8/);
  await refuses({ ...a, shape: [-1] }, /shape of a must be a list of sizes, got \[-1\]/);
  await refuses({ ...a, shape: [2 ** 40, 2 ** 40] }, /shape of a must be/);
  await refuses({ ...a, bytes: bytesOf(7) }, /bytes of a must be 8 bytes for F32 \[2\], got 7/);
  await refuses(a, /name must be unique, got "a" twice/, [a]);
  await refuses({ ...a, name: '__metadata__' }, /name must not be __metadata__/);
  t.deepEqual(readdirSync(folder), []);
});

/** A file from a header (a text as it is) and data. */
function rawFile(header: unknown, data: Uint8Array, headerLength?: bigint): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.length + data.length);
  new DataView(file.buffer).setBigUint64(0, headerLength ?? BigInt(json.length), true);
  file.set(json, 8);
  file.set(data, 8 + json.length);
  return file;
}

const f32 = (begin: number, end: number, shape = [(end - begin) / 4]) => ({ dtype: 'F32', shape, data_offsets: [begin, end] });
const eight = bytesOf(8);
const hostile: Record<string, [Uint8Array, RegExp]> = {
  'an empty file': [new Uint8Array(0), /header length must be 8 bytes, the file holds 0/],
  'seven bytes': [new Uint8Array(7), /header length must be 8 bytes/],
  'a header longer than the file': [rawFile({}, eight, 1000n), /header length must be from 2 to 10, got 1000/],
  'a header of 2^64 - 1 bytes': [rawFile({}, eight, 2n ** 64n - 1n), /header length must be from 2 to 10, got 18446744073709551615/],
  'an empty header': [rawFile('', eight, 0n), /header length must be from 2/],
  'no JSON': [rawFile('{"a":', eight), /header must be JSON in UTF-8/],
  'no UTF-8': [rawFile('{"a":1}', eight).map((b, i) => (i === 10 ? 0xff : b)), /header must be JSON in UTF-8/],
  'a list': [rawFile('[]', eight), /header must be a JSON object, got \[\]/],
  'a key twice': [rawFile(`{"a":${JSON.stringify(f32(0, 8))},"\\u0061":${JSON.stringify(f32(0, 8))}}`, eight), /key "a" stands twice/],
  'a dtype twice': [rawFile('{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', eight), /key "dtype" stands twice/],
  'an unknown dtype': [rawFile({ a: { ...f32(0, 8), dtype: 'F31' } }, eight), /tensor "a": dtype must be one of .*, got "F31"/],
  'a dtype from the prototype': [rawFile({ a: { ...f32(0, 8), dtype: 'toString' } }, eight), /tensor "a": dtype must be one of/],
  'a shape of a text': [rawFile({ a: { ...f32(0, 8), shape: '2' } }, eight), /tensor "a": shape must be a list of sizes, got "2"/],
  'a negative size': [rawFile({ a: f32(0, 8, [-2]) }, eight), /tensor "a": shape must be a list of sizes/],
  'a fractional size': [rawFile({ a: f32(0, 8, [2.5]) }, eight), /tensor "a": shape must be/],
  'a shape whose product overflows': [rawFile({ a: f32(0, 8, [2 ** 52, 2 ** 52]) }, eight), /impossibly many bytes apart/],
  'too few bytes for the shape': [rawFile({ a: f32(0, 8, [3]) }, eight), /data_offsets must be 12 bytes apart for F32 \[3\], got \[0,8\]/],
  'offsets beyond the file': [rawFile({ a: f32(0, 16) }, eight), /data_offsets must be in order and at most 8/],
  'offsets backwards': [rawFile({ a: f32(8, 0, [0]) }, eight), /data_offsets must be in order/],
  'three offsets': [rawFile({ a: { ...f32(0, 8), data_offsets: [0, 8, 8] } }, eight), /data_offsets must be \[begin, end\]/],
  'an overlap': [rawFile({ a: f32(0, 8), b: f32(4, 8) }, eight), /tensor "b": data_offsets must begin at 8, got 4: it overlaps/],
  'a gap': [rawFile({ a: f32(0, 4), b: f32(8, 12) }, bytesOf(12)), /tensor "b": data_offsets must begin at 4, got 8: it leaves a gap/],
  'bytes after the last tensor': [rawFile({ a: f32(0, 4) }, eight), /the header tells of 4 bytes, the file holds 8/],
  'an entry that is null': [rawFile({ a: null }, new Uint8Array(0)), /tensor "a": its entry must be an object, got null/],
  'a field that is not known': [rawFile({ a: { ...f32(0, 8), strides: [1] } }, eight), /tensor "a": field "strides" is not known/],
  'metadata of numbers': [rawFile({ __metadata__: { a: 1 }, b: f32(0, 8) }, eight), /__metadata__: "a" must be a text, got 1/],
  'metadata as a list': [rawFile({ __metadata__: [], b: f32(0, 8) }, eight), /__metadata__ must be an object/],
};
for (const [name, [bytes, message]] of Object.entries(hostile)) {
  test(`refuses ${name}`, async (t) => {
    const file = join(temporaryFolder(t), 'hostile.safetensors');
    writeFileSync(file, bytes);
    const error = await t.throwsAsync(openSafetensors(file), { instanceOf: FileError, message });
    t.true(error.message.startsWith(`${file}: `));
  });
}

test('a missing file, and one cut while it is read', async (t) => {
  const file = join(temporaryFolder(t), 'cut.safetensors');
  await t.throwsAsync(openSafetensors(file), { instanceOf: FileError, message: /cannot open: ENOENT/ });
  await writeSafetensors(file, entries);
  const opened = await openSafetensors(file);
  const whole = readFileSync(file);
  writeFileSync(file, whole.subarray(0, whole.length - 4));
  await t.throwsAsync(opened.read('0'), {
    instanceOf: FileError,
    message: /tensor "0" must be 1 bytes long, got 0: the file is cut short/,
  });
  await opened.close();
});

test('2,000 mutated files give an error with file and field, or tensors that tile the file', async (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, 'mutant.safetensors');
  await writeSafetensors(file, entries, { format: 'pt' });
  const sound = readFileSync(file);
  const headerEnd = 8 + Number(sound.readBigUInt64LE(0));
  const random = randomIntegers(1);
  let refused = 0;
  for (let round = 0; round < 2000; round++) {
    let bytes = Buffer.from(sound);
    for (let n = 1 + random(3); n > 0; n--) {
      const at = random(4) === 0 ? random(bytes.length) : random(Math.min(headerEnd, bytes.length)); // mostly in the header
      const kind = random(6);
      if (kind === 0) bytes[at] = random(256);
      else if (kind === 1) bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
      else if (kind === 2) bytes = bytes.subarray(0, Math.max(1, at));
      else if (kind === 3)
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from('{}[]",:0-9e'.charAt(random(11))), bytes.subarray(at)]);
      else if (kind === 4) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 1 + random(9)))]);
      else bytes[at] = '0123456789'.charCodeAt(random(10));
      if (bytes.length === 0) bytes = Buffer.from([0]);
    }
    writeFileSync(file, bytes);
    try {
      const opened = await openSafetensors(file);
      const data = [];
      for (const name of opened.tensors.keys()) data.push(await opened.read(name));
      await opened.close();
      const start = 8 + Number(bytes.readBigUInt64LE(0));
      if (!Buffer.concat(data).equals(bytes.subarray(start))) t.fail(`round ${round}: what was read is not what the file holds`);
    } catch (error) {
      refused++;
      if (!(error instanceof FileError) || !/: (header|tensor|data_offsets|__metadata__)/.test(error.message)) {
        t.fail(`round ${round}: ${error}`);
      }
    }
  }
  t.true(refused > 1000 && refused < 2000, `${refused} refused`);
});
