import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonValues } from '../data/jsonl.ts';
import { naming } from '../util/files.ts';
import { parseJSON } from '../util/json_text.ts';
import { Fields } from './dataset.ts';
import { REPORT_FILE, SAMPLES_FILE } from './report.ts';
import type { Figure } from './tally.ts';

/** The folder that a path means: itself, or that of its report.json. */
export function reportFolder(path: string): string {
  return existsSync(path) && statSync(path).isFile() ? join(path, '..') : path;
}

const SHOWN_AS = ['mean', 'exp', 'bits', undefined] as const;

function figureOf(fields: Fields): Figure {
  const number = (name: string): number => {
    const value = fields.raw(name);
    if (typeof value !== 'number') throw fields.wrong(name, 'a number');
    return value;
  };
  const as = SHOWN_AS.find((one) => one === fields.raw('as'));
  if (as === undefined && fields.raw('as') !== undefined) throw fields.wrong('as', 'mean, exp or bits');
  const better = fields.text('better');
  if (better !== 'higher' && better !== 'lower') throw fields.wrong('better', 'higher or lower');
  return {
    ...{ name: fields.text('name'), sum: fields.text('sum'), better, says: fields.text('says'), value: number('value') },
    ...(fields.raw('over') !== undefined && { over: fields.text('over') }),
    ...(as !== undefined && { as }),
    standardError: fields.raw('standardError') === null ? null : number('standardError'),
  };
}

/** What a comparison needs of a report. */
export interface ReportHead {
  readonly folder: string;
  readonly task: string;
  readonly model: string;
  readonly examples: number;
  readonly shots: number;
  readonly figures: readonly Figure[];
}

/** Reads report.json of a folder. @throws FileError that names file and field for what is no report */
export function readReport(path: string): ReportHead {
  const folder = reportFolder(path);
  const file = join(folder, REPORT_FILE);
  const fields = new Fields(
    file,
    'report',
    parseJSON(
      file,
      naming(file, 'read', () => readFileSync(file)),
    ),
  );
  if (fields.raw('format') !== 'heddle-report') throw fields.wrong('format', 'heddle-report');
  if (fields.raw('version') !== 1) throw fields.wrong('version', '1');
  return {
    folder,
    task: fields.text('task'),
    model: fields.text('model'),
    examples: fields.index('examples', Number.MAX_SAFE_INTEGER),
    shots: fields.index('shots', Number.MAX_SAFE_INTEGER),
    figures: fields.objects('figures').map(figureOf),
  };
}

/** An example as a report's samples.jsonl has it: which one, and its scores. */
export interface SampleLine {
  readonly file: string;
  readonly where: string;
  readonly id: string;
  readonly scores: Readonly<Record<string, number>>;
}

/** The examples of a report, one at a time. @throws FileError that names file, line and field */
export function* readSamples({ folder, figures }: ReportHead): Generator<SampleLine> {
  const file = join(folder, SAMPLES_FILE);
  let index = 0;
  for (const { value, line } of readJsonValues(file)) {
    const fields = new Fields(file, `line ${line}`, value);
    if (fields.raw('index') !== index) throw fields.wrong('index', `${index}`);
    index++;
    const own = fields.object('scores');
    const scores: Record<string, number> = {};
    for (const name of figures.flatMap(({ sum, over }) => (over === undefined ? [sum] : [sum, over]))) {
      const score = own.raw(name);
      if (typeof score !== 'number') throw own.wrong(name, 'a number');
      scores[name] = score;
    }
    yield { file, where: fields.where, id: fields.raw('id') === undefined ? '' : fields.text('id'), scores };
  }
}
