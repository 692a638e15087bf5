import { HeddleError } from '../util/errors.ts';

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
    super('ERR_HEDDLE_CONFIG', issues.map((i) => `${i.place}: ${i.message}`).join('\n'), options);
    this.issues = issues;
  }
}

/** A value as it may stand in an error: short, on one line. */
export function showValue(value: unknown): string {
  const text = value === undefined ? 'nothing' : (JSON.stringify(value) ?? String(value));
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
