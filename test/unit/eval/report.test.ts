import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Tally } from '../../../lib/eval/tally.ts';
import { compareReports, type Report, ReportWriter, type Sample, TASKS, type TaskName } from '../../../lib/index.ts';

function folderOf(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-report-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes a report of samples that were made up. */
function reported(folder: string, task: TaskName, samples: readonly Omit<Sample, 'index'>[], fields: Partial<Report> = {}): Report {
  const tally = new Tally(TASKS[task].metrics);
  const writer = new ReportWriter(folder);
  for (const [index, sample] of samples.entries()) {
    tally.add({ index, ...sample });
    writer.add({ index, ...sample });
  }
  const report: Report = {
    ...{ format: 'heddle-report', version: 1, task, model: 'a <b>&"|\n', data: 'x.jsonl', shots: 0, stride: null },
    ...{ device: 'cpu', compute: 'f32', seconds: 1.25, heddle: '0.0.0', ...tally.result(), ...fields },
  };
  writer.finish(report);
  return report;
}

const choices = (right: readonly number[]): Omit<Sample, 'index'>[] =>
  right.map((acc, i) => ({
    id: `q${i}`,
    group: i % 2 ? 'odd' : 'even',
    scores: { acc, acc_norm: 1 },
    ...{ answer: 0, chosen: acc ? 0 : 1, logProbs: [-1, -2], confidence: 0.7 },
  }));

test('a report is JSON, Markdown, one page of HTML, and a line for every example', (t) => {
  const folder = join(folderOf(t), 'deep/er');
  const report = reported(folder, 'mmlu', choices([1, 0, 1, 1]));
  t.deepEqual(readdirSync(folder).sort(), ['report.html', 'report.json', 'report.md', 'samples.jsonl']);
  t.deepEqual(JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8')), JSON.parse(JSON.stringify(report)));
  t.is(readFileSync(join(folder, 'samples.jsonl'), 'utf8').trimEnd().split('\n').length, 4);
  const markdown = readFileSync(join(folder, 'report.md'), 'utf8');
  t.regex(markdown, /^# mmlu: a <b>&"\\\| \n/);
  t.regex(markdown, /^\| acc \| 0\.7500 ± 0\.2500 \| higher \|/m);
  t.regex(markdown, /^\| even \| 2 \| 1\.0000 ± 0\.0000 \|$/m);
  t.regex(markdown, /Expected calibration error, 10 bins: 0\.0500\./);
  const html = readFileSync(join(folder, 'report.html'), 'utf8');
  t.true(html.includes('a &#60;b&#62;&#38;&#34;|') && !html.includes('<b>'), 'what comes from outside is text');
  t.is(html.match(/<svg /g)?.length, 3, 'figures, groups, reliability');
  t.notRegex(html, /<script|https?:|src=|NaN|undefined/);
  const opened = html.match(/<(svg|table|tr|td|th|text|title|h1|h2)[ >]/g)?.length;
  t.is(html.match(/<\/(svg|table|tr|td|th|text|title|h1|h2)>/g)?.length, opened);
});

test('a report of documents shows how they are spread', (t) => {
  const folder = folderOf(t);
  const documents = [1, 2, 3, 80].map((nats) => ({ scores: { nats, tokens: 4, bytes: 4 } }));
  const { histogram, calibration } = reported(folder, 'text', documents);
  t.is(calibration, null);
  t.is(
    histogram?.counts.reduce((a, b) => a + b),
    4,
  );
  t.is(histogram?.counts.at(-1), 1, 'what lies beyond is in the last bin');
  t.is(histogram?.counts[1], 1, '1 nat over 4 bytes is 0.36 bits');
  t.is(readFileSync(join(folder, 'report.html'), 'utf8').match(/<svg /g)?.length, 1);
});

test('what is given up leaves the report before it', (t) => {
  const folder = folderOf(t);
  reported(folder, 'mmlu', choices([1]));
  const before = readFileSync(join(folder, 'samples.jsonl'), 'utf8');
  const writer = new ReportWriter(folder);
  writer.add({ index: 0, scores: { acc: 0 } });
  writer.abandon();
  t.is(readFileSync(join(folder, 'samples.jsonl'), 'utf8'), before);
  t.is(readdirSync(folder).length, 4);
});

/** A thousand questions; the second model is right where the first is, and on `more` of the rest. */
function twoModels(t: ExecutionContext, more: number, less: number): [string, string] {
  const folder = folderOf(t);
  const first = Array.from({ length: 1000 }, (_, i) => (i % 2 === 0 ? 1 : 0));
  const second = first.map((right, i) => (i % 2 === 1 && i < 2 * more ? 1 : i % 2 === 0 && i < 2 * less ? 0 : right));
  reported(join(folder, 'a'), 'mmlu', choices(first), { model: 'first' });
  reported(join(folder, 'b'), 'mmlu', choices(second), { model: 'second' });
  return [join(folder, 'a'), join(folder, 'b')];
}

test('a paired bootstrap: the interval is that of the differences', (t) => {
  const [a, b] = twoModels(t, 60, 20);
  const result = compareReports(a, join(b, 'report.json'), { seed: 3 });
  t.like(result, { task: 'mmlu', a: 'first', b: 'second', examples: 1000, resamples: 1000 });
  const [figure] = result.figures;
  t.like(figure, { name: 'acc', a: 0.5, b: 0.54, better: 'higher' });
  t.true(Math.abs((figure?.difference ?? 0) - 0.04) < 1e-12);
  // Of 1000 differences 60 are 1, 20 are -1: the mean's standard error is √(0.08 - 0.04²) / √1000 = 0.00885.
  const [low = Number.NaN, high = Number.NaN] = figure?.interval ?? [];
  t.true(Math.abs(low - (0.04 - 1.96 * 0.00885)) < 0.002 && Math.abs(high - (0.04 + 1.96 * 0.00885)) < 0.002, `${low} ${high}`);
  t.true((figure?.pValue ?? 1) < 0.01);
  t.deepEqual(compareReports(a, b, { seed: 3 }), result, 'the same seed, the same interval');
  t.notDeepEqual(compareReports(a, b, { seed: 4 }).figures, result.figures);
});

test('a paired bootstrap: no difference, and the same model twice', (t) => {
  const [a, b] = twoModels(t, 30, 30);
  const [figure] = compareReports(a, b).figures;
  t.is(figure?.difference, 0);
  t.true((figure?.interval[0] ?? 1) < 0 && (figure?.interval[1] ?? -1) > 0);
  t.true((figure?.pValue ?? 0) > 0.5);
  const [same] = compareReports(a, a).figures;
  t.deepEqual([same?.difference, same?.interval, same?.pValue], [0, [0, 0], 1]);
});

test('figures over tokens and bytes are compared as what they are', (t) => {
  const folder = folderOf(t);
  const documents = (scale: number) =>
    Array.from({ length: 50 }, (_, i) => ({ scores: { nats: scale * (20 + (i % 7)), tokens: 10 + (i % 3), bytes: 30 + (i % 5) } }));
  for (const [name, scale] of [
    ['a', 1],
    ['b', 0.9],
  ] as const)
    reported(join(folder, name), 'text', documents(scale));
  const { figures } = compareReports(join(folder, 'a'), join(folder, 'b'));
  const sum = (key: 'nats' | 'tokens' | 'bytes'): number => documents(1).reduce((total, { scores }) => total + scores[key], 0);
  for (const { name, a, interval } of figures) {
    const want = {
      bits_per_byte: sum('nats') / Math.LN2 / sum('bytes'),
      perplexity: Math.exp(sum('nats') / sum('tokens')),
      loss: sum('nats') / sum('tokens'),
    };
    t.true(Math.abs(a - want[name as keyof typeof want]) < 1e-9, name);
    t.true(interval[0] < interval[1] && interval[1] < 0, name);
  }
});

test('what cannot be compared is told', (t) => {
  const folder = folderOf(t);
  const write = (name: string, samples: Omit<Sample, 'index'>[], fields: Partial<Report> = {}, task: TaskName = 'mmlu'): string => {
    reported(join(folder, name), task, samples, fields);
    return join(folder, name);
  };
  const a = write('a', choices([1, 0]));
  const fails = (other: string, message: RegExp) => t.throws(() => compareReports(a, other), { code: 'ERR_HEDDLE_FILE', message });
  fails(write('b', [{ scores: { nats: 1, tokens: 1, bytes: 1 } }], {}, 'text'), /b: its task must be mmlu as in .*a, got text/);
  fails(write('c', choices([1])), /c: its examples must be 2 as in .*a, got 1/);
  fails(write('d', choices([1, 0]), { shots: 5 }), /d: its shots must be 0/);
  const [one, two] = choices([1, 0]);
  fails(
    write(
      'e',
      [two, one].map((s) => s as Omit<Sample, 'index'>),
    ),
    /samples\.jsonl: line 1: id must be "q0" as in .*, got "q1"/,
  );
  const cut = write('f', choices([1, 0]));
  writeFileSync(join(cut, 'samples.jsonl'), readFileSync(join(cut, 'samples.jsonl'), 'utf8').split('\n')[0] ?? '');
  fails(cut, /f: its samples must be those of .*a, but end before line 2 of it/);
  writeFileSync(join(cut, 'samples.jsonl'), '{"index": 0, "id": "q0", "scores": {"acc": "1"}}');
  fails(cut, /samples\.jsonl: line 1: scores\.acc must be a number, got "1"/);
  writeFileSync(join(cut, 'samples.jsonl'), '{"index": 5, "scores": {"acc": 1}}');
  fails(cut, /samples\.jsonl: line 1: index must be 0, got 5/);
  writeFileSync(join(cut, 'report.json'), '{"format": "x"}');
  fails(cut, /report\.json: report: format must be heddle-report, got "x"/);
  const json = JSON.parse(readFileSync(join(a, 'report.json'), 'utf8')) as { figures: object[] };
  writeFileSync(join(cut, 'report.json'), JSON.stringify({ ...json, figures: [{ ...json.figures[0], better: 'both' }] }));
  fails(cut, /report\.json: report: figures\[0\]\.better must be higher or lower, got "both"/);
  rmSync(join(cut, 'report.json'));
  fails(cut, /report\.json: cannot read: /);
  t.false(existsSync(join(cut, 'report.json')));
  t.throws(() => compareReports(a, a, { resamples: 0 }), { message: /^compareReports: resamples must be a positive integer, got 0/ });
  t.throws(() => compareReports(a, a, { confidence: 1 }), { message: /^compareReports: confidence/ });
});
