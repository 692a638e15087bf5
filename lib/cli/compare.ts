import { command } from './command.ts';
import { grid, print, printJSON } from './output.ts';

export const run = command(
  {
    name: 'compare',
    summary: 'compare two models by their reports',
    positionals: [
      { name: 'A', help: 'a folder that heddle measure --report wrote' },
      { name: 'B', help: 'another one, of the same task and data' },
    ],
    options: {
      resamples: { kind: 'integer', value: 'N', min: 1, help: 'of the paired bootstrap; default 1000' },
      confidence: { kind: 'number', value: 'X', above: 0, max: 0.9999, help: 'share of resamples within the interval; default 0.95' },
      seed: { kind: 'integer', value: 'N', min: 0, help: 'the same seed gives the same intervals; default 0' },
      json: { kind: 'flag', help: 'the comparison as one JSON object' },
    },
    details: 'Differences are B - A. An interval that leaves out 0 says that the difference is more than chance.',
    examples: [['heddle compare reports/base reports/finetuned', 'what finetuning changed']],
  },
  async ({ values, positionals: [a = '', b = ''] }) => {
    const { compareReports } = await import('../eval/compare.ts');
    const { numberText } = await import('../eval/report_text.ts');
    const { resamples, confidence, seed } = values;
    const result = compareReports(a, b, {
      ...(resamples !== undefined && { resamples }),
      ...(confidence !== undefined && { confidence }),
      ...(seed !== undefined && { seed }),
    });
    if (values.json) {
      printJSON({ command: 'compare', ...result });
      return 0;
    }
    const signed = (value: number): string => (value > 0 ? '+' : '') + numberText(value);
    const rows = result.figures.map(({ name, a: first, b: second, difference, interval, pValue, better }) => [
      `${name} (${better} is better)`,
      ...[numberText(first), numberText(second), signed(difference), `${signed(interval[0])} to ${signed(interval[1])}`, pValue.toFixed(4)],
    ]);
    const share = `${Number((result.confidence * 100).toFixed(2))} % interval`;
    print(`${result.task}, ${result.examples} examples\n  A ${result.a}\n  B ${result.b}\n`);
    print(grid([['', 'A', 'B', 'B - A', share, 'p'], ...rows]));
    return 0;
  },
);
