import type { Report } from './report.ts';
import type { Figure } from './tally.ts';

/** Two-sided 95 % of a normal distribution. */
export const Z95 = 1.959964;

/** A number with as many digits as say something. */
export function numberText(value: number): string {
  return Math.abs(value) >= 1000 ? value.toFixed(0) : value.toFixed(Math.abs(value) >= 10 ? 2 : 4);
}

/** `0.2543 ± 0.0043`, the second the standard error. */
export function figureText({ value, standardError }: Figure): string {
  return standardError === null ? numberText(value) : `${numberText(value)} ± ${numberText(standardError)}`;
}

/** What was measured, as names and values for people. */
export function settingsOf(report: Report): [string, string][] {
  return [
    ['model', report.model],
    ['data', report.data],
    ['examples', String(report.examples)],
    ['solved examples before each', String(report.shots)],
    ...(report.stride === null ? [] : ([['stride', `${report.stride} tokens`]] as [string, string][])),
    ['computed on', `${report.device} in ${report.compute}`],
    ['time', `${report.seconds.toFixed(1)} s`],
    ['heddle', report.heddle],
  ];
}
