import { readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type PrepareOptions, type PrepareProgress, prepare } from '../../../lib/data/prepare.ts';
import { openPrepared } from '../../../lib/data/prepared.ts';
import type { Shards } from '../../../lib/data/shards.ts';
import { openSource, textSource } from '../../../lib/data/source.ts';
import { splitBytes } from '../../../lib/data/split.ts';
import { ByteTokenizer, CharTokenizer } from '../../../lib/tokenizer/index.ts';
import { ArgumentError, FileError } from '../../../lib/util/errors.ts';
import { folderOf, sampleText, utf8 } from './support.ts';

const END = 256;
const tokenizer = new ByteTokenizer();
const bare = new ByteTokenizer([]);

function tokensOf(shards: Shards | undefined): number[] {
  if (shards === undefined) return [];
  const out = new Int32Array(shards.length);
  shards.read(0, shards.length, out, 0);
  return [...out];
}

function maskOf(shards: Shards): number[] {
  const out = new Uint8Array(shards.length);
  shards.readMask(0, shards.length, out, 0);
  return [...out];
}

/** Prepares, reads everything back and closes. */
async function prepared(
  t: ExecutionContext,
  options: Omit<PrepareOptions, 'out'> & { out?: string },
): Promise<{ out: string; train: number[]; validation: number[]; reused: boolean; meta: ReturnType<typeof openPrepared>['meta'] }> {
  const out = options.out ?? join(folderOf(t), 'out');
  const { reused, meta } = await prepare({ ...options, out });
  const open = openPrepared(out, { tokenizer: options.tokenizer });
  const result = { out, train: tokensOf(open.train), validation: tokensOf(open.validation), reused, meta };
  t.deepEqual(open.meta, meta);
  open.close();
  return result;
}

test('a text becomes its tokens, the last tenth apart, each part after an end-of-text token', async (t) => {
  const text = sampleText(400);
  const { train, validation } = splitBytes(utf8(text), 0.1);
  const got = await prepared(t, { source: textSource(text), tokenizer });
  t.deepEqual(got.train, [END, ...train]);
  t.deepEqual(got.validation, [END, ...validation]);
  t.deepEqual(got.meta.validation, {
    shards: ['validation-000.tokens'],
    tokens: validation.length + 1,
    documents: 1,
    targets: validation.length + 1,
    textBytes: validation.length,
    predictedBytes: validation.length,
  });
  const plain = await prepared(t, { source: textSource(text), tokenizer: bare });
  t.deepEqual(plain.train, [...train]);
  t.is(plain.meta.train.textBytes, train.length);
  t.is(plain.meta.train.predictedBytes, train.length - 1);
});

test('a character is never cut, and its bytes are counted', async (t) => {
  const text = `${'鯨'.repeat(99)}a`;
  const characters = new CharTokenizer(['鯨', 'a']);
  const { meta } = await prepared(t, { source: textSource(text), tokenizer: characters, valFraction: 0.5 });
  t.is(meta.train.textBytes + (meta.validation?.textBytes ?? 0), 298);
  t.is(meta.train.tokens + (meta.validation?.tokens ?? 0), 100 + (characters.endOfText === undefined ? 0 : 2));
  t.is(meta.train.textBytes % 3, 0);
});

test('documents begin with the end-of-text token; examples end with it and carry a mask', async (t) => {
  const folder = folderOf(t, {
    'a.jsonl': ['{"text":"ab"}', '{"prompt":"p","completion":"xy"}', '{"text":"c"}', '{"prompt":"","completion":"z"}'].join('\n'),
  });
  const out = join(folder, 'out');
  await prepare({ source: join(folder, 'a.jsonl'), tokenizer, out, valFraction: 0 });
  const open = openPrepared(out, { tokenizer });
  const [a, b, c, p, x, y, z] = [...utf8('abcpxyz')] as [number, number, number, number, number, number, number];
  t.deepEqual(tokensOf(open.train), [END, a, b, p, x, y, END, END, c, END, z, END]);
  t.deepEqual(maskOf(open.train), [1, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 1]);
  t.deepEqual(
    [0, 1, 2, 3, 4].map((i) => open.train.documentStart(i)),
    [0, 3, 7, 9, 12],
  );
  t.is(open.validation, undefined);
  t.is(open.meta.train.predictedBytes, 2 + 2 + 1 + 1);
  open.close();
  await t.throwsAsync(prepare({ source: join(folder, 'a.jsonl'), tokenizer: bare, out: join(folder, 'bare'), valFraction: 0 }), {
    instanceOf: FileError,
    message: /a\.jsonl: line 4: prompt must not be empty/,
  });
});

test('validation from a source of its own', async (t) => {
  const got = await prepared(t, { source: textSource('train'), valSource: textSource('other'), tokenizer: bare });
  t.deepEqual([got.train, got.validation], [[...utf8('train')], [...utf8('other')]]);
  t.is(got.meta.valFraction, null);
  await t.throwsAsync(prepare({ source: textSource('a'), valSource: textSource('b'), valFraction: 0.1, tokenizer, out: got.out }), {
    instanceOf: ArgumentError,
    message: /valFraction or valSource, not both/,
  });
});

test('small shards hold the same as one, and pieces do not show', async (t) => {
  const folder = folderOf(t, { 'a.txt': sampleText(3000), 'b.jsonl': '{"text":"one"}\n{"text":"two"}\n' });
  const one = await prepared(t, { source: folder, tokenizer });
  const many = await prepared(t, { source: folder, tokenizer, shardTokens: 1000 });
  t.true(many.meta.train.shards.length > 10);
  t.deepEqual(many.train, one.train);
  t.deepEqual(many.validation, one.validation);
  t.deepEqual({ ...many.meta.train, shards: [] }, { ...one.meta.train, shards: [] });
  const shard = readFileSync(join(many.out, 'train-001.tokens'));
  const again = await prepared(t, { source: folder, tokenizer, shardTokens: 1000 });
  t.deepEqual(readFileSync(join(again.out, 'train-001.tokens')), shard, 'equal input, equal bytes');
});

test('what is there is used again: by size and time, by content, not with another tokenizer or split', async (t) => {
  const folder = folderOf(t, { 'a.txt': sampleText(300) });
  const file = join(folder, 'a.txt');
  const out = join(folder, 'out');
  const run = async (options: Partial<PrepareOptions> = {}): Promise<{ reused: boolean; phases: string[] }> => {
    const phases = new Set<string>();
    const { reused } = await prepare({ source: file, tokenizer, out, onProgress: ({ phase }) => phases.add(phase), ...options });
    return { reused, phases: [...phases] };
  };
  const made = { reused: false, phases: ['reading', 'tokenizing'] };
  t.deepEqual(await run(), made);
  t.deepEqual(await run(), { reused: true, phases: [] });
  utimesSync(file, new Date(0), new Date(0));
  t.deepEqual(await run(), { reused: true, phases: ['reading'] }, 'another time, the same content');
  t.deepEqual(await run(), { reused: true, phases: [] }, 'the new time was noted');
  t.deepEqual(await run({ tokenizer: bare }), made);
  t.deepEqual(await run({ valFraction: 0.2 }), made);
  t.deepEqual(await run({ valFraction: 0 }), made);
  t.deepEqual(readdirSync(out).sort(), ['meta.json', 'train-000.tokens'], 'what meta.json does not name is removed');
  t.deepEqual(await run(), made);
  writeFileSync(file, sampleText(300, 2));
  t.deepEqual(await run(), made);
  writeFileSync(join(out, 'train-000.tokens'), 'damaged');
  t.deepEqual(await run(), made);
  writeFileSync(join(out, 'meta.json'), '{');
  t.deepEqual(await run(), made);
  rmSync(join(out, 'validation-000.tokens'));
  t.deepEqual(await run(), made);
  t.true((await prepare({ source: openSource(file), tokenizer, out })).reused);
});

test('a damaged folder is named by file and field', async (t) => {
  const { out } = await prepared(t, { source: textSource(sampleText(100)), tokenizer });
  const path = join(out, 'meta.json');
  const meta = JSON.parse(readFileSync(path, 'utf8')) as Record<string, Record<string, unknown>>;
  const damaged = (change: object, message: RegExp): void => {
    writeFileSync(path, JSON.stringify({ ...meta, ...change }));
    t.throws(() => openPrepared(out), { instanceOf: FileError, message }, String(message));
  };
  damaged({ format: 9 }, /meta\.json: format must be 1, got 9/);
  damaged({ train: { ...meta.train, shards: [] } }, /train\.shards must list shard files, got \[\]/);
  damaged({ train: { ...meta.train, shards: ['../../x.tokens'] } }, /train\.shards must list shard files/);
  damaged({ validation: { ...meta.validation, tokens: 'x' } }, /validation\.tokens must be an integer, got "x"/);
  damaged({ train: { ...meta.train, tokens: 5 } }, /train\.tokens must be \d+ as the shards say, got 5/);
  damaged({ train: { ...meta.train, shards: ['train-009.tokens'] } }, /train-009\.tokens: cannot be read/);
  damaged({ contentHash: 1 }, /contentHash must be a string/);
  damaged({ files: null }, /files must be a list/);
  writeFileSync(path, 'null');
  t.throws(() => openPrepared(out), { instanceOf: FileError, message: /format must be 1, got nothing/ });
  rmSync(path);
  t.throws(() => openPrepared(out), { instanceOf: FileError, message: /meta\.json: no such file\n.*heddle prepare/ });
});

test('a text too small to split, and a bad fraction', async (t) => {
  const out = join(folderOf(t), 'out');
  await t.throwsAsync(prepare({ source: textSource('a'), tokenizer, out }), {
    instanceOf: FileError,
    message: /the train part must hold at least one token/,
  });
  await t.throwsAsync(prepare({ source: textSource('a'), tokenizer, out, valFraction: 1 }), {
    instanceOf: ArgumentError,
    message: /valFraction/,
  });
  await t.throwsAsync(prepare({ source: textSource('a'), tokenizer, out, shardTokens: 0 }), {
    instanceOf: ArgumentError,
    message: /shardTokens/,
  });
  t.deepEqual(readdirSync(out), []);
});

test('an error and a signal stop it and leave no half shards; progress comes and the event loop lives', async (t) => {
  const folder = folderOf(t, { 'a.jsonl': `${'{"text":"some words of a document"}\n'.repeat(20_000)}` });
  const source = join(folder, 'a.jsonl');
  const out = join(folder, 'out');
  const controller = new AbortController();
  const seen: PrepareProgress[] = [];
  const stopped = prepare({
    source,
    tokenizer,
    out,
    signal: controller.signal,
    onProgress: (progress) => {
      seen.push(progress);
      if (progress.phase === 'tokenizing' && progress.bytes > 100_000) controller.abort(new Error('stop'));
    },
  });
  await t.throwsAsync(stopped, { message: 'stop' });
  t.deepEqual(readdirSync(out), []);
  t.true(seen.some(({ phase }) => phase === 'reading'));
  let turns = 0;
  const timer = setInterval(() => turns++, 5);
  await prepare({ source, tokenizer, out });
  clearInterval(timer);
  t.true(turns >= 1, `${turns} turns`);
  t.true(statSync(join(out, 'meta.json')).isFile());

  writeFileSync(source, '{"text":"fine"}\n{"text":');
  await t.throwsAsync(prepare({ source, tokenizer, out }), { instanceOf: FileError, message: /line 2/ });
});
