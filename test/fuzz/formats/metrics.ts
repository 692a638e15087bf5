import assert from 'node:assert/strict';
import { join } from 'node:path';
import { MetricsLog, readMetrics } from '../../../lib/train/metrics/log.ts';
import { type Format, filesOf } from '../format.ts';
import { mutateLines } from '../mutate_json.ts';

const rows = [1, 2, 3, 4].map((step) =>
  JSON.stringify({ step, event: 'step', loss: 4 / step, skipped: false, tokensPerSecond: 1e4 * step }),
);

export const metrics: Format = {
  name: 'metrics',
  writes: true,
  seeds: async () => [
    filesOf({ 'metrics.jsonl': `${rows.join('\n')}\n` }),
    filesOf({
      'metrics.jsonl': `${rows.slice(0, 2).join('\n')}\n{"step": 2, "event": "evaluation", "loss": "NaN", "best": true}\n{"step": 3`,
    }),
  ],
  mutators: { 'metrics.jsonl': { weight: 1, mutate: mutateLines } },
  async read(folder) {
    const file = join(folder, 'metrics.jsonl');
    // As a run does that is resumed at step 2.
    const log = new MetricsLog(file, { resumeAt: 2 });
    log.write({ step: 3, event: 'step', loss: 1 });
    log.close();
    const read = readMetrics(file);
    assert.deepEqual(read.at(-1), { step: 3, event: 'step', loss: 1 });
    for (const row of read.slice(0, -1)) assert(Number.isSafeInteger(row.step) && row.step >= 0 && row.step <= 2, `step ${row.step}`);
  },
};
