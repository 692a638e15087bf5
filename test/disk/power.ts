// A run, a resumed one and one that starts over, recorded; then the power is cut after every operation, in every way that test/disk/disk.ts
// knows, and what is found on the disk is held against what was promised by then.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { MetricsLog } from '../../lib/train/metrics/log.ts';
import { prepareRun } from '../../lib/train/prepare.ts';
import { fingerprint, materialize, type Random, randomOf, type State, statesOf } from './disk.ts';
import { type Found, type Known, type Promised, preparedOf, promises, readCheckpoints, weights } from './promise.ts';
import { describe, type Operation, Recorder, withoutSync } from './recorder.ts';
import { configOf, type Files, filesOf, rowsOf, train, writeProject } from './run.ts';

const OUT = 'runs/a';
const STEPS = 8;

interface Recorded extends Known {
  readonly log: readonly Operation[];
  /** The folder below which all was recorded, and the project's. */
  readonly root: string;
  readonly project: string;
}

async function record(project: string): Promise<Recorded> {
  writeProject(project);
  const root = join(project, 'recorded');
  const out = join(root, OUT);
  mkdirSync(root);
  const known: Known = { checkpoints: new Map(), rows: new Map(), last: new Map(), prepared: {} };
  for (const seed of [1, 2]) {
    const whole = join(project, `whole-${seed}`);
    await withoutSync(project, () => train(project, { out: whole, seed }));
    known.rows.set(seed, rowsOf(join(whole, 'metrics.jsonl')));
    known.last.set(seed, weights(filesOf(join(whole, 'checkpoints', 'step-00000008'))));
  }
  const recorder = new Recorder(root);
  const go = (seed: number, more: object) =>
    recorder.during(() =>
      train(project, {
        ...{ out, seed, ...more },
        onCheckpoint: (step, folder) => known.checkpoints.set(`${seed}:${step}`, filesOf(folder)),
      }),
    );
  await go(1, { stopAt: 5 });
  await go(1, { resume: true });
  await go(2, { fresh: true, stopAt: 4 });
  return { ...known, prepared: preparedOf(out), log: recorder.log, root, project };
}

/** The log that a run would go on with. */
function readLog(bytes: Uint8Array | undefined, step: number, folder: string): unknown[] {
  const file = join(folder, 'metrics.jsonl');
  rmSync(file, { force: true });
  if (bytes) writeFileSync(file, bytes);
  new MetricsLog(file, step > 0 ? { resumeAt: step } : {}).close(); // syncs only the folder of a new file
  return rowsOf(file);
}

/** Folders that were being written or removed, empty: no reader opens them. */
function withoutUnfinished(state: State): State {
  return Object.fromEntries(Object.entries(state).map(([name, child]) => [name, name.startsWith('.tmp-') ? {} : child]));
}

const folderIn = (state: State, path: string): State | undefined => {
  let at: State | Uint8Array | undefined = state;
  for (const name of path.split('/')) at = at instanceof Uint8Array ? undefined : at?.[name];
  return at as State | undefined;
};

export interface PowerCutOptions {
  readonly seed: number;
  /** Power cuts at random after each operation, beside those that are always tried. */
  readonly drawn: number;
  /** States from which a run goes on to its end. */
  readonly resumes: number;
}

export interface PowerCutResult {
  readonly operations: number;
  readonly states: number;
  readonly distinct: number;
  readonly resumed: number;
  /** What went wrong, with the operation after which the power was cut. */
  readonly failures: string[];
}

/** Goes on from a state and compares what it comes to with a run that nobody stopped. */
async function resumeFrom(state: State, found: Found, givenUp: number, at: string, recorded: Recorded): Promise<string[]> {
  const folder = join(recorded.project, 'resumed');
  rmSync(folder, { recursive: true, force: true });
  materialize(state, folder);
  const out = join(folder, OUT);
  const seed = found.seed ?? givenUp;
  const wrong: string[] = [];
  const { from } = await withoutSync(folder, () => train(recorded.project, { out, seed, resume: true }));
  if (from !== found.step) wrong.push(`went on from step ${from}, not ${found.step}`);
  const files = weights(filesOf(join(out, 'checkpoints', 'step-00000008')));
  if (!isDeepStrictEqual(files, recorded.last.get(seed))) wrong.push('the bits at the end differ');
  if (!isDeepStrictEqual(rowsOf(join(out, 'metrics.jsonl')), recorded.rows.get(seed))) wrong.push('the rows at the end differ');
  if (!isDeepStrictEqual(preparedOf(out), recorded.prepared)) wrong.push('tokenizer or shards differ');
  const rest = Object.keys(filesOf(join(out, 'checkpoints'))).filter((name) => name.includes('tmp'));
  if (rest.length > 0) wrong.push(`left over: ${rest.join(', ')}`);
  return wrong.map((text) => `${at}: going on: ${text}`);
}

/** Prepares a run's data, then again in another way, and cuts the power after every operation: going on in either way must be right. */
export async function cutPowerWhilePreparing(project: string, seed: number): Promise<{ states: number; failures: string[] }> {
  writeProject(project);
  const ways = [[], ['tokenizer.vocabSize=270', 'data.valFraction=0.2']];
  const prepareIn = async (out: string, set: readonly string[]) => (await prepareRun(configOf(project, { out, set }))).close();
  const recorder = new Recorder(join(project, 'recorded'));
  mkdirSync(recorder.root);
  const expected: Files[] = [];
  for (const set of ways) {
    await recorder.during(() => prepareIn(join(recorder.root, 'run'), set));
    expected.push(preparedOf(join(recorder.root, 'run')));
  }
  const failures: string[] = [];
  const seen = new Set<string>();
  const scratch = join(project, 'scratch');
  for (const { done, cut, state } of statesOf(recorder.root, recorder.log, randomOf(seed), 2)) {
    const key = fingerprint(state);
    if (seen.has(key)) continue;
    const way = seen.add(key).size % 2;
    rmSync(scratch, { recursive: true, force: true });
    materialize(state, scratch);
    const at = `power cut after ${done} operations (${describe(recorder.log[done - 1], recorder.root)}), ${cut}, then way ${way}`;
    try {
      await withoutSync(scratch, () => prepareIn(join(scratch, 'run'), ways[way] as string[]));
      if (!isDeepStrictEqual(preparedOf(join(scratch, 'run')), expected[way])) failures.push(`${at}: tokenizer or shards differ`);
    } catch (error) {
      failures.push(`${at}: ${error}`);
    }
  }
  return { states: seen.size, failures };
}

/** Cuts the power after every operation of three runs. Needs an empty folder. */
export async function cutPowerEverywhere(project: string, { seed, drawn, resumes }: PowerCutOptions): Promise<PowerCutResult> {
  const recorded = await record(project);
  const { log, root } = recorded;
  const random: Random = randomOf(seed);
  const promised = promises(log, join(root, OUT, 'checkpoints'));
  const failures: string[] = [];
  const found = new Map<string, Found>();
  const logs = new Map<string, string | undefined>();
  const prepared = new Set<string>();
  const scratch = join(project, 'scratch');
  const candidates: { state: State; found: Found; at: string; givenUp: number }[] = [];
  let states = 0;

  const check = async (state: State, done: number, cut: string): Promise<void> => {
    const at = `power cut after ${done} operations (${describe(log[done - 1], root)}), ${cut}`;
    const fail = (text: string): void => void failures.push(`${at}: ${text}`);
    const promise = promised[done] as Promised;
    const run = folderIn(state, OUT) ?? {};

    const checkpoints = withoutUnfinished((run.checkpoints as State | undefined) ?? {});
    const key = fingerprint(checkpoints);
    const isNew = !found.has(key);
    if (isNew) {
      rmSync(scratch, { recursive: true, force: true });
      materialize(checkpoints, scratch);
      found.set(key, await readCheckpoints(scratch, recorded));
    }
    const got = found.get(key) as Found;
    for (const text of got.wrong) fail(text);
    const isOld = promise.givenUp && (got.seed === undefined || (got.seed === 1 && got.step === STEPS));
    if (!isOld) {
      if (got.step > 0 && got.seed !== promise.seed) fail(`a checkpoint of the run with seed ${got.seed} was found`);
      if (got.step < promise.step) fail(`step ${promise.step} was saved, step ${got.step} is found`);
      if (got.best < promise.best) fail(`step ${promise.best} was noted as the best, step ${got.best} is found`);
    }

    const bytes = run['metrics.jsonl'] as Uint8Array | undefined;
    const logKey = `${fingerprint(bytes ? { bytes } : {})} ${got.seed} ${got.step}`;
    if (!logs.has(logKey)) {
      const rows = (recorded.rows.get(got.seed ?? 0) ?? []).filter((row) => (row as { step: number }).step <= got.step);
      mkdirSync(scratch, { recursive: true });
      logs.set(logKey, isDeepStrictEqual(readLog(bytes, got.step, scratch), rows) ? undefined : `rows up to step ${got.step} differ`);
    }
    const rowsWrong = logs.get(logKey);
    if (rowsWrong !== undefined) fail(rowsWrong);

    const data = { ...(run.data && { data: run.data }), ...(run.tokenizer && { tokenizer: run.tokenizer }) };
    const dataKey = fingerprint(data);
    if (!prepared.has(dataKey)) {
      prepared.add(dataKey);
      rmSync(scratch, { recursive: true, force: true });
      materialize(data, scratch);
      (await withoutSync(scratch, () => prepareRun(configOf(project, { out: scratch })))).close();
      if (!isDeepStrictEqual(preparedOf(scratch), recorded.prepared)) fail('tokenizer or shards were taken for whole');
    }
    if (isNew || random() < 0.05) candidates.push({ state, found: got, at, givenUp: promise.seed });
  };

  for (const { done, cut, state } of statesOf(root, log, random, drawn)) {
    states++;
    try {
      await check(state, done, cut);
    } catch (error) {
      failures.push(`power cut after ${done} operations (${describe(log[done - 1], root)}), ${cut}: ${error}`);
    }
  }
  let resumed = 0;
  for (; resumed < resumes && candidates.length > 0; resumed++) {
    const [one] = candidates.splice(Math.floor(random() * candidates.length), 1);
    if (!one) break;
    try {
      failures.push(...(await resumeFrom(one.state, one.found, one.givenUp, one.at, recorded)));
    } catch (error) {
      failures.push(`${one.at}: going on: ${error}`);
    }
  }
  return { operations: log.length, states, distinct: found.size + logs.size + prepared.size, resumed, failures };
}
