import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import {
  bestCheckpoint,
  type CheckpointContents,
  clearCheckpoints,
  discardLaterCheckpoints,
  latestCheckpoint,
  pruneCheckpoints,
  saveCheckpoint,
  setBestCheckpoint,
} from '../../../lib/checkpoint/folder.ts';
import { encodeManifest } from '../../../lib/checkpoint/manifest.ts';
import { openCheckpoint } from '../../../lib/checkpoint/read.ts';
import { openSafetensors } from '../../../lib/checkpoint/safetensors.ts';
import { ArgumentError, FileError } from '../../../lib/util/errors.ts';
import { faultyFileSystem, randomIntegers, temporaryFolder } from './support.ts';

const contents = (step: number, mark = 0): CheckpointContents => ({
  step,
  config: { model: { width: 128 }, train: { learningRate: 0.1 + 0.2 } },
  loader: { epoch: 1, position: step * 12 },
  rng: { seed: '18446744073709551615', offset: step },
  state: { best: null, mark },
  files: {
    'model.safetensors': { tensors: [{ name: 'wte', dtype: 'U8', shape: [4], bytes: Uint8Array.of(step, mark, 3, 4) }] },
    'tokenizer.json': '{"type":"bytes"}\n',
    'notes.bin': Uint8Array.of(1, 2, 3),
  },
});

const stepDirs = (dir: string) => readdirSync(dir).sort();
const latestStep = async (dir: string) => (await latestCheckpoint(dir)).checkpoint?.manifest.step;

test('what is saved is read back', async (t) => {
  const dir = join(temporaryFolder(t), 'runs', 'a', 'checkpoints');
  t.deepEqual(await latestCheckpoint(dir), { checkpoint: undefined, skipped: [] });
  const folder = await saveCheckpoint(dir, contents(20));
  t.is(basename(folder), 'step-00000020');
  const { checkpoint, skipped } = await latestCheckpoint(dir);
  t.deepEqual(skipped, []);
  t.is(checkpoint?.folder, folder);
  const { config, loader, rng, state } = contents(20);
  const { files, heddle, ...rest } = checkpoint?.manifest ?? t.fail();
  t.like(rest, { step: 20, version: 1, config, loader, rng, state } as object);
  t.regex(heddle, /^\d+\.\d+\.\d+/);
  t.deepEqual(Object.keys(files), ['model.safetensors', 'tokenizer.json', 'notes.bin']);
  t.is(await checkpoint?.readText('tokenizer.json'), '{"type":"bytes"}\n');
  const model = await openSafetensors(checkpoint?.path('model.safetensors') ?? '');
  t.deepEqual(await model.read('wte'), Uint8Array.of(20, 0, 3, 4));
  await model.close();
  t.throws(() => checkpoint?.path('optimizer.safetensors'), {
    instanceOf: FileError,
    message: /files must hold optimizer.safetensors, got model/,
  });
});

test('the newest complete one is found; damaged and unfinished ones are told with the reason', async (t) => {
  const dir = temporaryFolder(t);
  for (const step of [9, 100, 200, 300, 400]) await saveCheckpoint(dir, contents(step));
  const at = (step: number, file: string) => join(dir, `step-00000${step}`, file);
  rmSync(at(400, 'checkpoint.json'));
  writeFileSync(at(300, 'tokenizer.json'), '{"type":"bytez"}\n');
  writeFileSync(at(200, 'notes.bin'), Uint8Array.of(1, 2));
  mkdirSync(join(dir, '.tmp-1-abcd'));
  mkdirSync(join(dir, 'step-x'));
  const { checkpoint, skipped } = await latestCheckpoint(dir);
  t.is(checkpoint?.manifest.step, 100);
  t.deepEqual(
    skipped.map((s) => s.name),
    ['.tmp-1-abcd', 'step-00000400', 'step-00000300', 'step-00000200'],
  );
  t.regex(skipped[0]?.why ?? '', /^unfinished/);
  t.regex(skipped[1]?.why ?? '', /^damaged: .*step-00000400.checkpoint\.json: cannot open: ENOENT/);
  t.regex(skipped[2]?.why ?? '', /^damaged: .*step-00000300.tokenizer\.json: sha256 must be [0-9a-f]{64}, got [0-9a-f]{64}/);
  t.regex(skipped[3]?.why ?? '', /^damaged: .*step-00000200.notes\.bin: must be 3 bytes long, got 2/);
});

test('a second save of a step replaces the first; leftovers of ended processes go', async (t) => {
  const dir = temporaryFolder(t);
  await saveCheckpoint(dir, contents(5, 1));
  mkdirSync(join(dir, '.tmp-4194304999-dead')); // no such process: ids end below
  mkdirSync(join(dir, `.tmp-${process.ppid}-live`));
  await saveCheckpoint(dir, contents(5, 2));
  t.deepEqual(stepDirs(dir), [`.tmp-${process.ppid}-live`, 'step-00000005-2']);
  await saveCheckpoint(dir, contents(5, 3));
  t.like((await latestCheckpoint(dir)).checkpoint?.manifest, { state: { mark: 3 } });
  t.deepEqual(stepDirs(dir), [`.tmp-${process.ppid}-live`, 'step-00000005-3']);
});

test('the newest N and the best stay', async (t) => {
  const dir = temporaryFolder(t);
  t.is(await bestCheckpoint(dir), undefined);
  for (const step of [1, 2, 3, 4, 5]) await saveCheckpoint(dir, contents(step));
  await setBestCheckpoint(dir, { step: 2, value: 1.5 });
  t.deepEqual(await pruneCheckpoints(dir, { keep: 2, step: 5 }), ['step-00000003', 'step-00000001']);
  t.deepEqual(stepDirs(dir), ['best.json', 'step-00000002', 'step-00000004', 'step-00000005']);
  await saveCheckpoint(dir, contents(2, 7)); // the same step again: still the best
  const best = await bestCheckpoint(dir);
  t.is(best?.value, 1.5);
  t.like(best?.checkpoint.manifest, { step: 2, state: { mark: 7 } });
  await setBestCheckpoint(dir, { step: 5, value: 1.25 });
  t.is((await bestCheckpoint(dir))?.checkpoint.manifest.step, 5);
  await t.throwsAsync(setBestCheckpoint(dir, { step: 3, value: 1 }), {
    instanceOf: ArgumentError,
    message: /step must be that of a checkpoint/,
  });
  await t.throwsAsync(setBestCheckpoint(dir, { step: 5, value: Number.NaN }), { instanceOf: ArgumentError });
  await t.throwsAsync(pruneCheckpoints(dir, { keep: 0, step: 5 }), { instanceOf: ArgumentError });
  writeFileSync(join(dir, 'best.json'), '{"step":');
  await t.throwsAsync(bestCheckpoint(dir), { instanceOf: FileError, message: /best\.json: must be JSON/ });
  writeFileSync(join(dir, 'best.json'), '{"step":77,"value":1}');
  await t.throwsAsync(bestCheckpoint(dir), {
    instanceOf: FileError,
    message: /best\.json: step must be that of a checkpoint beside it, got 77/,
  });
});

test('a run that went back past a damaged checkpoint keeps its own', async (t) => {
  const dir = temporaryFolder(t);
  for (const step of [100, 200]) await saveCheckpoint(dir, contents(step));
  writeFileSync(join(dir, 'step-00000200', 'notes.bin'), 'x');
  t.is(await latestStep(dir), 100);
  await saveCheckpoint(dir, contents(150));
  t.deepEqual(await pruneCheckpoints(dir, { keep: 1, step: 150 }), ['step-00000100']);
  t.is(await latestStep(dir), 150);
  t.deepEqual(await discardLaterCheckpoints(dir, 150), ['step-00000200']);
  t.deepEqual(stepDirs(dir), ['step-00000150']);
});

test('wrong contents are refused with the place named', async (t) => {
  const dir = temporaryFolder(t);
  const refuses = (more: object, message: RegExp) =>
    t.throwsAsync(saveCheckpoint(dir, { ...contents(1), ...more }), { instanceOf: ArgumentError, message });
  await refuses({ step: -1 }, /step must be an integer from 0, got -1/);
  await refuses({ state: { loss: Number.NaN } }, /state.loss must be plain JSON data, got NaN \(number\)/);
  await refuses({ rng: { counter: 1n } }, /rng.counter must be plain JSON data, got 1 \(bigint\)/);
  await refuses({ loader: { order: new Uint8Array(3) } }, /loader.order must be plain JSON data, got a Uint8Array/);
  await refuses({ config: { a: [undefined] } }, /config.a.0 must be plain JSON data/);
  await refuses({ files: { '../evil': 'x' } }, /files must have plain names, got \.\.\/evil/);
  await refuses({ files: { 'checkpoint.json': 'x' } }, /files must have plain names/);
  t.deepEqual(stepDirs(dir), []);
});

test('the description proves itself and tells its version', async (t) => {
  const dir = temporaryFolder(t);
  const folder = await saveCheckpoint(dir, contents(3));
  const file = join(folder, 'checkpoint.json');
  const text = readFileSync(file, 'utf8');
  const refuses = async (changed: string, message: RegExp) => {
    writeFileSync(file, changed);
    const error = await t.throwsAsync(openCheckpoint(folder), { instanceOf: FileError, message });
    t.true(error.message.startsWith(file));
  };
  await refuses(text.replace('"step": 3', '"step": 4'), /sha256 must be the digest of the other fields/);
  await refuses(text.replace('"version": 1', '"version": 2'), /version must be at most 1, got 2: written by heddle .*\n {2}Update heddle/);
  await refuses(text.replace('heddle-checkpoint', 'other'), /format must be "heddle-checkpoint", got "other"/);
  await refuses(text.slice(0, 100), /must be JSON/);
  await refuses('[]', /format must be/);
  const stamped = (files: object) => encodeManifest({ ...contents(3), files: files as Record<string, never> });
  await refuses(stamped({ '../../x': { size: 1, sha256: 'a'.repeat(64) } }), /files must be plain file names, got "\.\.\/\.\.\/x"/);
  await refuses(stamped({ x: { size: 1 } }), /files.x must be { size, sha256 }/);
});

test('300 mutated checkpoints: one error that names a file, or nothing changed', async (t) => {
  const dir = temporaryFolder(t);
  const folder = await saveCheckpoint(dir, contents(3));
  const { manifest } = await openCheckpoint(folder);
  const names = readdirSync(folder);
  const random = randomIntegers(2);
  for (let round = 0; round < 300; round++) {
    const file = join(folder, names[random(names.length)] ?? '');
    const sound = readFileSync(file);
    const bytes = Buffer.from(sound);
    const at = random(bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
    writeFileSync(file, random(5) === 0 ? bytes.subarray(0, at) : bytes);
    const outcome = await openCheckpoint(folder).catch((e: unknown) => e);
    const refused = outcome instanceof FileError && outcome.message.startsWith(file);
    // Without its last line break the description is the same.
    const same = typeof outcome === 'object' && outcome !== null && 'manifest' in outcome && isDeepStrictEqual(outcome.manifest, manifest);
    if (!refused && !same) t.fail(`round ${round}, byte ${at} of ${file}: ${outcome}`);
    writeFileSync(file, sound);
  }
  t.is(await latestStep(dir), 3);
});

// A crash is a file system that from some operation on does nothing more, not even the tidying up.
for (const mode of ['fails once', 'crashes'] as const) {
  test(`a save that ${mode} at any operation loses nothing`, async (t) => {
    for (let failing = 1; ; failing++) {
      const dir = temporaryFolder(t);
      const calm = { fs: faultyFileSystem({ before: () => undefined }) };
      await saveCheckpoint(dir, contents(1, 1), calm);
      await saveCheckpoint(dir, contents(2, 1), calm);
      await setBestCheckpoint(dir, { step: 1, value: 2 }, calm);
      let count = 0;
      let last = '';
      const fs = faultyFileSystem({
        before: (operation, path) => {
          count++;
          if (count === failing) last = `${operation} ${path}`;
          if (mode === 'crashes' ? count >= failing : count === failing) throw new Error('EIO: i/o error');
        },
        shorten: (n) => (n > 64 ? n - 32 : n), // each long write comes in two
      });
      const save = async () => {
        await saveCheckpoint(dir, contents(3, 1), { fs });
        await setBestCheckpoint(dir, { step: 3, value: 1 }, { fs });
        await saveCheckpoint(dir, contents(3, 2), { fs });
        await pruneCheckpoints(dir, { keep: 1, step: 3 }, { fs });
      };
      const error = await save().then(
        () => undefined,
        (e: unknown) => e,
      );
      if (count < failing) {
        t.is(error, undefined);
        t.true(failing > 40, `${failing} operations were failed in turn`);
        return;
      }
      // Only the tidying up after another error may fail unheard; here it is the first error.
      t.true(error instanceof FileError, `${last}: ${error}`);
      const { checkpoint, skipped } = await latestCheckpoint(dir);
      t.true((checkpoint?.manifest.step ?? 0) >= 2, `${last}: step ${checkpoint?.manifest.step}`);
      t.false(
        skipped.some((s) => s.why.startsWith('damaged')),
        `${last}: ${JSON.stringify(skipped)}`,
      );
      const best = await bestCheckpoint(dir);
      t.true(best?.checkpoint.manifest.step === (best?.value === 2 ? 1 : 3), last);
      await saveCheckpoint(dir, contents(4), calm); // and the next save works and tidies up
      t.deepEqual(
        readdirSync(dir).filter((name) => name.includes('tmp')),
        [],
        last,
      );
      t.is(await latestStep(dir), 4, last);
    }
  });
}

test('every file is synced before the rename that publishes it, the folder too, and the parent after', async (t) => {
  const dir = temporaryFolder(t);
  await saveCheckpoint(dir, contents(1, 1));
  const log: string[] = [];
  const short = (path: string) =>
    path
      .split(' ')
      .map((p) => p.slice(dir.length + 1).replace(/\.tmp-[\w-]+/, 'TMP') || '.')
      .join(' -> ');
  const before = (operation: string, path: string) =>
    void (/sync|rename|remove/.test(operation) && log.push(`${operation} ${short(path)}`));
  await saveCheckpoint(dir, contents(1, 2), { fs: faultyFileSystem({ before }) });
  t.deepEqual(log, [
    'sync TMP/model.safetensors',
    'sync TMP/tokenizer.json',
    'sync TMP/notes.bin',
    'sync TMP/checkpoint.json',
    'syncFolder TMP',
    'rename TMP -> step-00000001-2',
    'syncFolder .',
    'rename step-00000001 -> TMP',
    'syncFolder .',
    'remove TMP',
  ]);
});

test('a checkpoint may be moved to another folder', async (t) => {
  const dir = temporaryFolder(t);
  const folder = await saveCheckpoint(dir, contents(3));
  renameSync(folder, join(dir, 'mine'));
  t.is((await openCheckpoint(join(dir, 'mine'))).manifest.step, 3);
});

test('a folder of checkpoints is cleared by taking its name away first', async (t) => {
  const run = temporaryFolder(t);
  const dir = join(run, 'checkpoints');
  await clearCheckpoints(dir); // nothing there
  for (const step of [1, 2]) await saveCheckpoint(dir, contents(step));
  const log: string[] = [];
  const note = (operation: string) => void (/sync|rename|remove/.test(operation) && log.push(operation));
  await clearCheckpoints(dir, { fs: faultyFileSystem({ before: note }) });
  t.deepEqual(log, ['rename', 'syncFolder', 'remove']);
  t.deepEqual(stepDirs(run), []);
});

test('a checkpoint is passed over for damage, not because the system refuses to read it', async (t) => {
  const dir = temporaryFolder(t);
  for (const step of [1, 2]) await saveCheckpoint(dir, contents(step));
  const failing = (code: string) =>
    faultyFileSystem({
      before(operation, path) {
        if (operation === 'open' && path.includes('step-00000002')) throw Object.assign(new Error(`${code}: no`), { code });
      },
    });
  await t.throwsAsync(latestCheckpoint(dir, { fs: failing('EMFILE') }), {
    instanceOf: FileError,
    message: /checkpoint\.json: cannot open: EMFILE/,
  });
  await t.throwsAsync(latestCheckpoint(dir, { fs: failing('EACCES') }), { instanceOf: FileError, message: /cannot open: EACCES/ });
  t.is((await latestCheckpoint(dir, { fs: failing('EIO') })).checkpoint?.manifest.step, 1); // a bad sector
});
