// `npm run bench -- load`: GPT-2 124M from a safetensors file in the page cache, beside copying as many bytes within memory, in turns.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadPretrained, savePretrained } from '../lib/checkpoint/pretrained.ts';
import { GPT, type PresetName } from '../lib/models/index.ts';
import { native } from '../lib/native/addon.ts';
import { setThreads } from '../lib/tensor/index.ts';
import { median } from './machine.ts';

export interface LoadRow {
  preset: string;
  bytes: number;
  loadMs: number;
  copyMs: number;
  /** Of the speed of copying: the median of the rounds' ratios. */
  share: number;
}

export async function benchLoad(o: { threads: number; rounds: number; preset?: PresetName }): Promise<LoadRow> {
  const { preset = 'gpt2' } = o;
  setThreads(o.threads);
  const folder = mkdtempSync(path.join(tmpdir(), 'heddle-load-'));
  try {
    const made = GPT.fromPreset(preset, {}, { seed: 1, device: 'cpu' });
    await savePretrained(made, folder);
    made.dispose();
    const { size } = statSync(path.join(folder, 'model.safetensors'));
    const [from, to] = [Buffer.alloc(size, 1), Buffer.alloc(size, 2)]; // written, so that their pages exist
    const rounds: { load: number; copy: number }[] = [];
    for (let round = -1; round < o.rounds; round++) {
      const copying = performance.now();
      from.copy(to);
      const started = performance.now();
      const model = await loadPretrained(folder, { device: 'cpu' });
      native.synchronizeSync('cpu');
      const done = performance.now();
      model.dispose();
      if (round >= 0) rounds.push({ load: done - started, copy: started - copying });
    }
    return {
      ...{ preset, bytes: size, loadMs: median(rounds.map((r) => r.load)), copyMs: median(rounds.map((r) => r.copy)) },
      share: median(rounds.map((r) => r.copy / r.load)),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
