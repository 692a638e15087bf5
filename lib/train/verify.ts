import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openCheckpoint } from '../checkpoint/index.ts';
import type { RunConfig } from './config.ts';
import { prepareRun } from './prepare.ts';
import { pretrainer, type RunHooks } from './pretrain.ts';
import type { Trainer } from './trainer.ts';

export interface ResumeVerdict {
  equal: boolean;
  /** Steps of each run; the second was stopped and resumed in the middle. */
  steps: number;
  /** `loss of step 7`, a parameter, or what the optimizer keeps of one (`m of ...`): the first that differs. */
  firstDifference: string | null;
}

async function bits(trainer: Trainer): Promise<Map<string, Uint8Array>> {
  const all = new Map<string, Uint8Array>();
  const set = trainer.optimizer.parameters;
  for (const [buffer, t] of [['', set.values] as const, ...trainer.optimizer.buffers]) {
    const data = (await t.data()) as Float32Array;
    for (const { name, start, end } of set.placements)
      all.set(buffer ? `${buffer} of ${name}` : name, new Uint8Array(data.buffer, data.byteOffset + start * 4, (end - start) * 4));
  }
  return all;
}

/** Proves on the user's own configuration that a stopped and resumed run has the same bits as one that was never stopped. */
export async function verifyResume(run: RunConfig, options: RunHooks & { steps?: number } = {}): Promise<ResumeVerdict> {
  const steps = Math.max(2, options.steps ?? 10);
  const half = Math.floor(steps / 2);
  const short: RunConfig = { ...run, train: { ...run.train, steps, logEvery: 1, evalEvery: 0, saveEvery: 0, earlyStop: 0 } };
  const folder = await mkdtemp(join(tmpdir(), 'heddle-verify-'));
  const data = await prepareRun(run, options);
  const withoutValidation = { ...data, prepared: { ...data.prepared, validation: undefined } };
  const losses: number[][] = [[], []];
  const start = (signal?: AbortSignal): Trainer =>
    pretrainer(short, withoutValidation, { ...options, checkpoints: folder, ...(signal && { signal }) });
  const end = (trainer: Trainer): void => {
    trainer.dispose();
    trainer.model.dispose();
  };
  const stop = new AbortController();
  let stopped: Trainer | null = null;
  const go = async (trainer: Trainer, list: number[]): Promise<string> => {
    let saved = '';
    for await (const event of trainer) {
      if (event.type === 'step') list.push(event.loss);
      else if (event.type === 'checkpoint') saved = event.folder;
      if (trainer === stopped && event.step === half) stop.abort();
      await options.onEvent?.(event, trainer);
    }
    return saved;
  };
  try {
    const straight = start();
    await go(straight, losses[0] as number[]);
    const expected = await bits(straight);
    end(straight);
    await rm(folder, { recursive: true, force: true });

    const first = start(stop.signal);
    stopped = first;
    const checkpoint = await go(first, losses[1] as number[]);
    end(first);
    const second = start();
    await second.resume(await openCheckpoint(checkpoint));
    await go(second, losses[1] as number[]);
    const got = await bits(second);
    end(second);

    const at = (losses[0] as number[]).findIndex((loss, i) => !Object.is(loss, losses[1]?.[i]));
    const differs = [...expected].find(([name, want]) => Buffer.compare(want, got.get(name) ?? new Uint8Array()) !== 0);
    const firstDifference = at >= 0 ? `loss of step ${at + 1}` : (differs?.[0] ?? null);
    return { equal: firstDifference === null, steps, firstDifference };
  } finally {
    data.close();
    await rm(folder, { recursive: true, force: true });
  }
}
