import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compareReports, type Report, ReportWriter, readDataset, TASKS, type TaskName } from '../../../lib/eval/index.ts';
import { Tally } from '../../../lib/eval/tally.ts';
import { type Format, filesOf } from '../format.ts';
import { mutateJSON, mutateLines } from '../mutate_json.ts';
import { filesMade } from './support.ts';

/** Reads every row as an item of its task, and looks at what a prompt is made of. */
async function readItems(file: string, task: TaskName): Promise<void> {
  for await (const fields of readDataset(file)) {
    const item = TASKS[task].item(fields);
    if (item.kind === 'document') assert(item.text !== '');
    else assert(typeof item.context === 'string');
    if (item.kind !== 'choice') continue;
    assert(item.choices.length >= 2 && item.choices.every((choice) => typeof choice === 'string'));
    assert(item.choices[item.answer] !== undefined);
  }
}

const benchmark = (task: TaskName): Format => ({
  name: `benchmark-${task}`,
  seeds: async () => [filesOf({ 'a.jsonl': readFileSync(`test/fixtures/tasks/${task}.jsonl`) })],
  mutators: { 'a.jsonl': { weight: 1, mutate: mutateLines } },
  read: (folder) => readItems(join(folder, 'a.jsonl'), task),
});

export const benchmarks: readonly Format[] = (['hellaswag', 'arc', 'mmlu'] as const).map(benchmark);

function writeReport(folder: string): void {
  const tally = new Tally(TASKS.text.metrics);
  const writer = new ReportWriter(folder);
  for (let index = 0; index < 4; index++) {
    const sample = { index, id: `d${index}`, scores: { nats: 3 + index, tokens: 4, bytes: 9 } };
    tally.add(sample);
    writer.add(sample);
  }
  const report: Report = {
    ...{ format: 'heddle-report', version: 1, task: 'text', model: 'm', data: 'd', shots: 0, stride: null, device: 'cpu', compute: 'f32' },
    ...{ seconds: 1, heddle: '0', ...tally.result() },
  };
  writer.finish(report);
}

export const report: Format = {
  name: 'report',
  seeds: async () => [await filesMade(writeReport)],
  mutators: { 'report.json': { weight: 1, mutate: mutateJSON }, 'samples.jsonl': { weight: 2, mutate: mutateLines } },
  async read(folder) {
    const { figures, examples } = compareReports(folder, folder, { resamples: 20 });
    assert(Number.isSafeInteger(examples) && examples > 0);
    for (const { difference, pValue } of figures)
      assert(Object.is(Math.abs(difference), 0) || Number.isNaN(difference), `${difference} ${pValue}`);
  },
};
