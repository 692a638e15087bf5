import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import { savePretrained } from '../../../lib/checkpoint/pretrained.ts';
import { saveWeights } from '../../../lib/checkpoint/weights.ts';
import { GPT, gptConfig } from '../../../lib/models/index.ts';
import { FileError } from '../../../lib/util/errors.ts';
import { randomOf, type State, statesOf } from '../../disk/disk.ts';
import { faultsAt, type Way, worthFailing } from '../../disk/faults.ts';
import { describe, type Operation, Recorder, withoutSync } from '../../disk/recorder.ts';
import { type Files, filesOf } from '../../disk/run.ts';
import { temporaryFolder } from './support.ts';

/** Two models whose weights have the same shapes and mean different things. */
const modelOf = (heads: number): GPT =>
  new GPT(gptConfig({ vocabSize: 31, contextLength: 8, layers: 1, heads, width: 8 }), { seed: heads });

/** What stands in a folder: the first export, the second, one of them without what makes it complete, or something else. */
function whatIs(files: Files, first: Files, second: Files): 'first' | 'second' | 'incomplete' | 'wrong' {
  const finished = Object.entries(files).filter(([name]) => !name.includes('.tmp'));
  const named: Files = Object.fromEntries(finished.map(([name, bytes]) => [name, Buffer.from(bytes)]));
  if (isDeepStrictEqual(named, first)) return 'first';
  if (isDeepStrictEqual(named, second)) return 'second';
  const { 'config.json': config, ...weights } = named;
  const isWhole = [first, second].some((one) => isDeepStrictEqual(weights['model.safetensors'], one['model.safetensors']));
  return config === undefined && (Object.keys(weights).length === 0 || isWhole) ? 'incomplete' : 'wrong';
}

const exporters = {
  savePretrained: (folder: string, model: GPT) => savePretrained(model, folder),
  saveWeights: (folder: string, model: GPT) => saveWeights(join(folder, 'model.safetensors'), model),
};

for (const [name, save] of Object.entries(exporters)) {
  test.serial(`${name} over an older export: the old one, the new one, or none that can be loaded`, async (t) => {
    const base = temporaryFolder(t);
    const models = [modelOf(2), modelOf(4)] as const;
    t.teardown(() => {
      for (const model of models) model.dispose();
    });
    const exported: Files[] = [];
    for (const i of [0, 1] as const) {
      const folder = join(base, `whole-${i}`);
      mkdirSync(folder);
      await withoutSync(folder, () => save(folder, models[i]));
      exported.push(filesOf(folder));
    }
    const [first, second] = exported as [Files, Files];
    t.notDeepEqual(first, second);

    // The power is cut after each operation of both.
    const recorder = new Recorder(join(base, 'recorded'));
    mkdirSync(recorder.root);
    const folder = join(recorder.root, 'export');
    mkdirSync(folder);
    const log: Operation[] = [{ kind: 'mkdir', path: folder }];
    const ends: number[] = [];
    for (const model of models) {
      await recorder.during(() => save(folder, model));
      ends.push(recorder.log.length + 1);
    }
    log.push(...recorder.log);
    for (const { done, cut, state } of statesOf(recorder.root, log, randomOf(3), 4)) {
      const got = whatIs((state.export ?? {}) as State as Files, first, second);
      const allowed = done <= (ends[0] as number) ? ['incomplete', 'first', 'second'] : ['first', 'incomplete', 'second'];
      const what = `${done}: ${describe(log[done - 1], recorder.root)}, ${cut}`;
      if (!allowed.includes(got)) t.fail(`${what}: ${got}`);
      if (done === log.length && state.export) t.is(got, 'second', what);
    }

    // Each operation of the second fails.
    const part = recorder.log.slice((ends[0] as number) - 1);
    for (const way of ['fails', 'fills', 'shortens'] as readonly Way[]) {
      for (const at of worthFailing(part, way)) {
        const failing = new Recorder(join(base, `${way}-${at}`));
        mkdirSync(failing.root);
        await withoutSync(failing.root, () => save(failing.root, models[0]));
        const error = await failing
          .during(() => save(failing.root, models[1]), faultsAt(at, way))
          .then(
            () => undefined,
            (e: unknown) => e,
          );
        const what = `${way} at ${describe(part[at], recorder.root)}`;
        if (way === 'shortens') t.is(error, undefined, what);
        else if (error !== undefined) t.true(error instanceof FileError && error.file.startsWith(failing.root), `${what}: ${error}`);
        t.not(whatIs(filesOf(failing.root), first, second), 'wrong', what);
        await withoutSync(failing.root, () => save(failing.root, models[1])); // the next try succeeds and tidies up
        t.deepEqual(filesOf(failing.root), second, what);
      }
    }
  });
}
