import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { ExecutionContext } from 'ava';
import { prepareRun } from '../../../lib/train/prepare.ts';
import { FileError } from '../../../lib/util/errors.ts';
import { faultsAt, type Way, worthFailing } from '../../disk/faults.ts';
import { type Known, preparedOf, promises, readCheckpoints, weights } from '../../disk/promise.ts';
import { describe, type Operation, Recorder, withoutSync } from '../../disk/recorder.ts';
import { configOf, filesOf, rowsOf, type Started, train, writeProject } from '../../disk/run.ts';
import { temporaryFolder } from './run_support.ts';

/** Runs `task` and gives what it throws. */
const errorOf = (task: () => Promise<unknown>): Promise<unknown> =>
  task().then(
    () => undefined,
    (error: unknown) => error ?? new Error('nothing was thrown'),
  );

/** One clear error: of one line, that names a file below `root` and says what the system said. */
function isClear(error: unknown, root: string, way: Way): boolean {
  if (!(error instanceof FileError) || error.message.includes('\n')) return false;
  return error.file.startsWith(root) && error.message.startsWith(error.file) && error.message.includes(way === 'fills' ? 'ENOSPC' : 'EIO');
}

const WAYS: readonly Way[] = ['fails', 'fills', 'shortens'];

/** Which operations fail: `each` in every way; or `kinds`: each kind of operation on each kind of file once, the ways in turn. */
export type Extent = 'each' | 'kinds';

/** An operation without the numbers of process, step and time. */
const kindOf = (operation: Operation, root: string): string =>
  describe(operation, root)
    .replace(/\.tmp-[\w-]+/g, '.tmp')
    .replace(/\d+/g, '0');

function plan(log: readonly Operation[], root: string, extent: Extent): { at: number; way: Way }[] {
  const worth = WAYS.map((way) => new Set(worthFailing(log, way)));
  const each = log.flatMap((_, at) => WAYS.filter((_, i) => worth[i]?.has(at)).map((way) => ({ at, way })));
  if (extent === 'each') return each;
  const waysOf = new Map<string, { at: number; way: Way }[]>();
  for (const one of each) {
    const kind = kindOf(log[one.at] as Operation, root);
    waysOf.set(kind, [...(waysOf.get(kind) ?? []), one]);
  }
  // Later ones of a kind have more before them to lose.
  return [...waysOf.values()].flatMap((same, i) => same.findLast(({ way }) => way === WAYS[i % 3]) ?? same.slice(-1));
}

/** Whatever operation of preparing fails: the error names the file, nothing half is taken for whole, and the next try succeeds. */
export async function preparingSurvives(t: ExecutionContext, extent: Extent): Promise<void> {
  const project = temporaryFolder(t);
  writeProject(project);
  // Prepared in one way before, then in another: what is there of the first must not pass for the second.
  const other = ['tokenizer.vocabSize=270', 'data.valFraction=0.2'];
  const wanted = { A: [] as string[], B: other };
  const prepareIn = async (out: string, set: readonly string[]) => (await prepareRun(configOf(project, { out, set }))).close();
  const expected = { A: {}, B: {} };
  for (const name of ['A', 'B'] as const) {
    await withoutSync(project, () => prepareIn(join(project, name), wanted[name]));
    expected[name] = preparedOf(join(project, name));
  }
  t.notDeepEqual(expected.A, expected.B);
  const root = (name: string): string => {
    const folder = join(project, name);
    cpSync(join(project, 'A'), join(folder, 'run'), { recursive: true });
    return folder;
  };
  const calm = new Recorder(root('calm'));
  await calm.during(() => prepareIn(join(calm.root, 'run'), other));
  let tried = 0;
  for (const { at, way } of plan(calm.log, calm.root, extent)) {
    const recorder = new Recorder(root(`${at}-${way}`));
    const out = join(recorder.root, 'run');
    const what = `${way} at ${at}: ${describe(calm.log[at], calm.root)}`;
    const error = await errorOf(() => recorder.during(() => prepareIn(out, other), faultsAt(at, way)));
    if (way === 'shortens') t.is(error, undefined, what);
    else if (error !== undefined) t.true(isClear(error, recorder.root, way), `${what}: ${error}`);
    // Going back to what it was before is where a stamp of old would be believed.
    const names = at % 2 ? (['A', 'B'] as const) : (['B', 'A'] as const);
    for (const name of names) {
      await withoutSync(recorder.root, () => prepareIn(out, wanted[name]));
      if (!isDeepStrictEqual(preparedOf(out), expected[name])) t.fail(`${what}: ${name} is not what it should be`);
    }
    tried++;
  }
  t.log(`${tried} faults in ${calm.log.length} operations`);
  t.true(tried > 20);
}

/** Whatever operation of training fails: the last checkpoint loads, and going on comes to the same bits and rows. */
export async function trainingSurvives(t: ExecutionContext, extent: Extent): Promise<void> {
  const project = temporaryFolder(t);
  writeProject(project);
  const set = ['train.steps=4', 'train.saveEvery=2', 'train.evalEvery=2', 'train.keep=1'];
  const known: Known = { checkpoints: new Map(), rows: new Map(), last: new Map(), prepared: {} };
  const onCheckpoint = (step: number, folder: string): void => void known.checkpoints.set(`1:${step}`, weights(filesOf(folder)));
  const whole = join(project, 'whole');
  await withoutSync(project, () => train(project, { out: whole, seed: 1, set }));
  const rows = rowsOf(join(whole, 'metrics.jsonl'));
  mkdirSync(join(project, 'calm'));
  const calm = new Recorder(join(project, 'calm'));
  // Stopped after step 3 and resumed: both parts of it are failed.
  const parts = async (out: string, more: Partial<Started> = {}): Promise<void> => {
    await train(project, { out, seed: 1, set, stopAt: 3, resume: true, ...more });
    await train(project, { out, seed: 1, set, resume: true, ...more });
  };
  await calm.during(() => parts(join(calm.root, 'run'), { onCheckpoint }));
  let tried = 0;
  const skip = extent === 'each' ? 0 : calm.log.findIndex((operation) => operation.path.endsWith('metrics.jsonl')); // preparing has its own test
  for (const { at, way } of plan(calm.log, calm.root, extent)) {
    if (at < skip) continue;
    const root = join(project, `${at}-${way}`);
    mkdirSync(root);
    if (skip > 0)
      for (const part of ['data', 'tokenizer']) cpSync(join(calm.root, 'run', part), join(root, 'run', part), { recursive: true });
    const recorder = new Recorder(root);
    const out = join(root, 'run');
    const what = `${way} at ${at}: ${describe(calm.log[at], calm.root)}`;
    const error = await errorOf(() => recorder.during(() => parts(out), faultsAt(at - skip, way)));
    if (way === 'shortens') t.is(error, undefined, what);
    else if (error !== undefined) t.true(isClear(error, root, way), `${what}: ${error}`);

    const folder = join(out, 'checkpoints');
    const found = await readCheckpoints(folder, known, weights);
    const promised = promises(recorder.log, folder).at(-1);
    t.deepEqual(found.wrong, [], what);
    t.true(found.step >= (promised?.step ?? 0) && found.best >= (promised?.best ?? 0), `${what}: found ${JSON.stringify(found)}`);

    await withoutSync(root, () => train(project, { out, seed: 1, set, resume: true }));
    t.deepEqual((await readCheckpoints(folder, known, weights)).step, 4, what);
    if (!isDeepStrictEqual(rowsOf(join(out, 'metrics.jsonl')), rows)) t.fail(`${what}: the rows differ`);
    const left = Object.keys(filesOf(out)).filter((name) => name.includes('tmp'));
    if (way !== 'fails') t.deepEqual(left, [], what); // a removal that failed once is made up for by the next save
    tried++;
  }
  t.log(`${tried} faults in ${calm.log.length} operations`);
  t.true(tried > 50);
}
