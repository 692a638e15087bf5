import { HeddleError } from '../util/errors.ts';
import { printable, show } from '../util/show.ts';

/** What an error tells at most: so many lines, of so many characters. */
const [LINES, CHARACTERS] = [20, 300];

/** Something wrong in a run's configuration. */
export interface ConfigIssue {
  /** `configs/x.yaml:12:5`, `--set`, or the name of what was read. */
  readonly place: string;
  /** Dotted path of the key: `train.steps`; empty where the file as a whole is meant. */
  readonly key: string;
  /** What is wrong, the key included. */
  readonly message: string;
}

/** A wrong configuration: one line for each thing wrong, `place: what`. */
export class ConfigError extends HeddleError {
  readonly issues: readonly ConfigIssue[];

  constructor(issues: readonly ConfigIssue[], options: { cause?: unknown } = {}) {
    const lines = issues.slice(0, LINES).map((i) => printable(`${i.place}: ${i.message}`, CHARACTERS).replaceAll('\n', ' '));
    const more = issues.length - lines.length;
    if (more > 0) lines.push(`${issues[LINES]?.place}: and ${more} more`);
    super('ERR_HEDDLE_CONFIG', lines.join('\n'), options);
    this.issues = issues;
  }
}

/** A value as it may stand in an error: short, on one line. */
export function showValue(value: unknown): string {
  return show(value, 60);
}
