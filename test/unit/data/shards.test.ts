import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { HEADER_BYTES } from '../../../lib/data/shard_format.ts';
import { type ShardKind, ShardWriter } from '../../../lib/data/shard_writer.ts';
import { type OpenShardsOptions, Shards } from '../../../lib/data/shards.ts';
import { documentAt, MemoryTokens } from '../../../lib/data/tokens.ts';
import { ArgumentError, FileError } from '../../../lib/util/errors.ts';
import { folderOf } from './support.ts';

const KIND: ShardKind = { vocabSize: 300, endOfText: 299, tokenizerHash: 'a'.repeat(64), masked: false };

/** Writes documents, given as lists of tokens; with a mask every second token carries loss. */
function write(path: string, documents: number[][], kind: ShardKind = KIND): void {
  const writer = new ShardWriter(path, kind);
  for (const document of documents) {
    writer.beginDocument();
    for (const [i, token] of document.entries()) writer.append([token], !kind.masked || i % 2 === 1, 1);
  }
  writer.finish();
}

function withShards<R>(paths: string[], options: OpenShardsOptions, use: (shards: Shards) => R): R {
  const shards = new Shards(paths, options);
  try {
    return use(shards);
  } finally {
    shards.close();
  }
}

const readAll = (shards: Shards): number[] => {
  const out = new Int32Array(shards.length);
  shards.read(0, shards.length, out, 0);
  return [...out];
};

const openAndRead = (path: string, options: OpenShardsOptions = {}): number[] => withShards([path], options, readAll);

/** Opens by both ways of reading: all in memory, and by position. */
const WAYS: OpenShardsOptions[] = [{}, { residentBytes: 0 }];

test('what was written is read, in two and four bytes, with and without a mask, in one shard and several', (t) => {
  const folder = folderOf(t);
  const property = fc.property(
    fc.constantFrom(300, 65_536, 65_537, 200_000),
    fc.boolean(),
    fc.array(fc.array(fc.array(fc.nat(), { minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 3 }),
    fc.constantFrom(...WAYS),
    (vocabSize, masked, raw, way) => {
      const shardDocuments = raw.map((documents) => documents.map((tokens) => tokens.map((token) => token % vocabSize)));
      const paths = shardDocuments.map((documents, i) => {
        const path = join(folder, `${i}.tokens`);
        write(path, documents, { ...KIND, vocabSize, masked });
        return path;
      });
      const documents = shardDocuments.flat();
      const tokens = documents.flat();
      withShards(paths, way, (shards) => {
        t.deepEqual(readAll(shards), tokens);
        t.is(shards.textBytes, tokens.length);
        t.is(shards.documents, documents.length);
        let at = 0;
        for (const [i, document] of documents.entries()) {
          t.is(shards.documentStart(i), at);
          t.is(documentAt(shards, at), i);
          at += document.length;
          t.is(documentAt(shards, at - 1), i);
        }
        t.is(shards.documentStart(documents.length), tokens.length);
        const mask = new Uint8Array(tokens.length);
        shards.readMask(0, tokens.length, mask, 0);
        t.deepEqual(
          [...mask],
          documents.flatMap((document) => document.map((_, i) => (masked ? i % 2 : 1))),
        );
        t.is(
          shards.targets,
          mask.reduce((sum, value) => sum + value, 0),
        );
        // Any range, across the shards' borders, to any place.
        const start = Math.floor(tokens.length / 3);
        const count = Math.ceil(tokens.length / 2);
        const out = new Int32Array(count + 2).fill(-7);
        shards.read(start, Math.min(count, tokens.length - start), out, 1);
        t.deepEqual(
          [...out],
          [-7, ...tokens.slice(start, start + count), ...new Array<number>(count + 1 - Math.min(count, tokens.length - start)).fill(-7)],
        );
        shards.verify();
      });
    },
  );
  t.notThrows(() => fc.assert(property, { numRuns: 25 }));
});

function good(t: ExecutionContext): { path: string; bytes: Uint8Array } {
  const path = join(folderOf(t), 'train-000.tokens');
  write(
    path,
    [
      [1, 2, 3, 4, 299],
      [7, 8, 299],
    ],
    { ...KIND, masked: true },
  );
  return { path, bytes: new Uint8Array(readFileSync(path)) };
}

test('a file that is cut short while it is open is an error of the read', (t) => {
  const { path, bytes } = good(t);
  withShards([path], { residentBytes: 0 }, (shards) => {
    writeFileSync(path, bytes.subarray(0, HEADER_BYTES + 4));
    t.throws(() => readAll(shards), { instanceOf: FileError, message: /train-000\.tokens: tokens end at byte \d+, .*cut short/ });
  });
});

test('a file cut short at any byte, or with a byte too many, is noticed', (t) => {
  const { path, bytes } = good(t);
  for (let end = 0; end < bytes.length; end++) {
    writeFileSync(path, bytes.subarray(0, end));
    for (const way of WAYS)
      t.throws(
        () => openAndRead(path, way),
        { instanceOf: FileError, message: /train-000\.tokens: (header|file size) must be/ },
        `${end} bytes`,
      );
  }
  writeFileSync(path, Uint8Array.of(...bytes, 0));
  t.throws(() => openAndRead(path), { instanceOf: FileError, message: /file size must be 2\d\d bytes for count 8, got/ });
});

test('a changed bit anywhere is noticed and named', (t) => {
  const { path, bytes } = good(t);
  for (let at = 0; at < bytes.length; at++) {
    for (const bit of [1, 0x80]) {
      const bad = bytes.slice();
      bad[at] = (bad[at] as number) ^ bit;
      writeFileSync(path, bad);
      const field =
        at < 8
          ? /magic must be "heddleTK", got/
          : at < 12
            ? /version must be 1, got/
            : at < HEADER_BYTES
              ? /header checksum must be/
              : /checksum of the tokens|document starts/;
      t.throws(() => openAndRead(path), { instanceOf: FileError, message: field }, `byte ${at}`);
    }
  }
});

test('a file that is only read by position is checked by verify, and token by token', (t) => {
  const { path, bytes } = good(t);
  const bad = bytes.slice();
  bad[HEADER_BYTES + 1] = 0x40; // token 0 becomes 16,385
  writeFileSync(path, bad);
  t.throws(() => openAndRead(path, { residentBytes: 0 }), { instanceOf: FileError, message: /token 0 must be an id below 300, got 16385/ });
  t.throws(() => withShards([path], { residentBytes: 0 }, (shards) => shards.verify()), {
    instanceOf: FileError,
    message: /checksum of the tokens must be/,
  });
});

/** Changes a header field and makes the checksum fit again: what a faulty writer would leave. */
function forge(bytes: Uint8Array, change: (view: DataView) => void): Uint8Array {
  const forged = bytes.slice();
  const view = new DataView(forged.buffer);
  change(view);
  view.setUint32(252, crc32(forged.subarray(0, 252)), true);
  return forged;
}

test('a header with a valid checksum and senseless fields is refused by field', (t) => {
  const { path, bytes } = good(t);
  const cases: [(view: DataView) => void, RegExp][] = [
    [(view) => view.setUint32(8, 2, true), /version must be 1, got 2/],
    [(view) => view.setUint32(12, 3, true), /token bytes must be 2 or 4, got 3/],
    [(view) => view.setUint32(16, 6, true), /flags must be/],
    [(view) => view.setUint32(20, 8, true), /end of text must be below 8, got 299/],
    [(view) => view.setUint32(20, 300 - 1, true), /end of text must be below 299/],
    [(view) => view.setUint32(28, 9, true), /documents must be at most 8, got 9/],
    [(view) => view.setFloat64(32, 9, true), /file size must be|header/],
    [(view) => view.setFloat64(32, 1e9, true), /file size must be .* bytes for count 1000000000, got .*cut short/],
    [(view) => view.setFloat64(32, Number.NaN, true), /count must be an integer of at least 0, got NaN/],
    [(view) => view.setFloat64(32, -1, true), /count must be/],
    [(view) => view.setFloat64(40, 9, true), /targets must be from 0 to 8, got 9/],
    [(view) => view.setUint32(60, 129, true), /tokenizer hash length must be at most 128, got 129/],
  ];
  for (const [change, message] of cases) {
    writeFileSync(path, forge(bytes, change));
    t.throws(() => openAndRead(path), { instanceOf: FileError, message }, String(message));
  }
});

test('another tokenizer is refused', (t) => {
  const { path } = good(t);
  const tokenizer = { vocabSize: 300, hash: () => 'b'.repeat(64) };
  t.throws(() => openAndRead(path, { tokenizer }), {
    instanceOf: FileError,
    message: /tokenizer hash must be b+, got a+\n.*prepare the data again/,
  });
  t.throws(() => openAndRead(path, { tokenizer: { vocabSize: 301, hash: () => 'a'.repeat(64) } }), {
    instanceOf: FileError,
    message: /vocabulary must be 301, got 300/,
  });
  t.deepEqual(openAndRead(path, { tokenizer: { vocabSize: 300, hash: () => 'a'.repeat(64) } }), [1, 2, 3, 4, 299, 7, 8, 299]);
});

test('the name appears when the shard is complete; giving up leaves nothing', (t) => {
  const folder = folderOf(t);
  const path = join(folder, 'x.tokens');
  const writer = new ShardWriter(path, KIND);
  writer.append([1, 2], true, 2);
  t.false(existsSync(path));
  t.throws(() => writer.append([300], true, 1), { instanceOf: ArgumentError, message: /token id must be from 0 to 299, got 300/ });
  writer.abandon();
  t.deepEqual(readdirSync(folder), []);
  write(path, [[1]]);
  t.deepEqual(readdirSync(folder), ['x.tokens']);
});

test('wrong calls are named', (t) => {
  const { path } = good(t);
  t.throws(() => new Shards([]), { instanceOf: ArgumentError });
  t.throws(() => new Shards([join(path, '..', 'none.tokens')]), { instanceOf: FileError, message: /none\.tokens: cannot be read: ENOENT/ });
  const shards = new Shards([path]);
  for (const [start, count] of [
    [-1, 1],
    [0, 9],
    [8, 1],
    [0.5, 1],
  ] as const) {
    t.throws(() => shards.read(start, count, new Int32Array(9), 0), { instanceOf: ArgumentError, message: /must stay within 8 tokens/ });
  }
  shards.close();
  shards.close();
  t.throws(() => shards.read(0, 1, new Int32Array(1), 0), { instanceOf: ArgumentError, message: /read after close/ });
});

test('tokens in memory are checked', (t) => {
  t.throws(() => new MemoryTokens({ tokens: [1, 5], vocabSize: 5 }), {
    instanceOf: ArgumentError,
    message: /tokens\[1\] must be an id below 5, got 5/,
  });
  t.throws(() => new MemoryTokens({ tokens: [1], vocabSize: 5, mask: new Uint8Array(2) }), {
    instanceOf: ArgumentError,
    message: /mask must have 1 elements/,
  });
  for (const starts of [[1], [0, 0], [0, 2], [0, -1]]) {
    t.throws(
      () => new MemoryTokens({ tokens: [1, 2], vocabSize: 5, starts }),
      { instanceOf: ArgumentError, message: /starts must ascend/ },
      String(starts),
    );
  }
});
