import { join } from 'node:path';
import { makeFolder, NewFile, writeFileAtomic } from '../util/files.ts';
import type { Measured, Sample } from './measure.ts';
import { reportHTML } from './report_html.ts';
import { reportMarkdown } from './report_markdown.ts';

/** What was measured, on what, with which result: the content of report.json. */
export interface Report extends Measured {
  readonly format: 'heddle-report';
  readonly version: 1;
  readonly task: string;
  readonly model: string;
  readonly data: string;
  /** Solved examples before each question. */
  readonly shots: number;
  /** Of documents longer than the context; null: half a context. */
  readonly stride: number | null;
  readonly device: string;
  readonly compute: string;
  readonly seconds: number;
  /** The version of heddle. */
  readonly heddle: string;
}

export const REPORT_FILE = 'report.json';
export const SAMPLES_FILE = 'samples.jsonl';

/**
 * A folder with a report: report.json, report.md, report.html (one file, with its plots), and samples.jsonl with a line for each
 * example, which `compareReports` reads. Nothing of it is there under its name before it is whole.
 */
export class ReportWriter {
  readonly #folder: string;
  readonly #samples: NewFile;

  /** @throws FileError where the folder cannot be made or written */
  constructor(folder: string) {
    makeFolder(folder);
    this.#folder = folder;
    this.#samples = new NewFile(join(folder, SAMPLES_FILE));
  }

  add(sample: Sample): void {
    this.#samples.write(Buffer.from(`${JSON.stringify(sample)}\n`));
  }

  finish(report: Report): void {
    this.#samples.finish();
    const file = (name: string): string => join(this.#folder, name);
    writeFileAtomic(file('report.md'), reportMarkdown(report));
    writeFileAtomic(file('report.html'), reportHTML(report));
    writeFileAtomic(file(REPORT_FILE), `${JSON.stringify(report, null, 2)}\n`);
  }

  /** Gives up: leaves what stood in the folder before. */
  abandon(): void {
    this.#samples.abandon();
  }
}
