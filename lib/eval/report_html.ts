import { type Bar, barPlot, escapeHTML, histogramPlot, reliabilityPlot } from './plot.ts';
import type { Report } from './report.ts';
import { figureText, settingsOf, Z95 } from './report_text.ts';
import type { Figure } from './tally.ts';

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { text-align: left; padding: 0.2rem 1rem 0.2rem 0; border-bottom: 1px solid #8884; }
svg { width: 100%; height: auto; margin: 0.5rem 0; }
svg text { font-size: 12px; fill: currentColor; }
.bar { fill: #4a7ebb; } .axis { stroke: currentColor; } .guide { stroke: #888; stroke-dasharray: 4; }
.mark { stroke: #c0504d; stroke-width: 2; fill: #c0504d; }
`;

function table(rows: readonly (readonly string[])[], head?: readonly string[]): string {
  const line = (cells: readonly string[], tag: 'td' | 'th'): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHTML(cell)}</${tag}>`).join('')}</tr>`;
  return `<table>${head ? line(head, 'th') : ''}${rows.map((row) => line(row, 'td')).join('')}</table>`;
}

/** Shares of examples, from 0 to 1, can stand beside each other. */
const isShare = ({ as, over, better }: Figure): boolean => as === undefined && over === undefined && better === 'higher';

function bar(name: string, figure: Figure): Bar {
  const { value, standardError } = figure;
  const interval = standardError === null ? null : ([value - Z95 * standardError, value + Z95 * standardError] as const);
  return { name, value, interval, text: figureText(figure) };
}

/** A report as one page of HTML: tables and plots in it, nothing fetched, no script. */
export function reportHTML(report: Report): string {
  const { task, model, figures, groups, calibration, histogram } = report;
  const shares = figures.filter(isShare);
  const title = `${task}: ${model}`;
  const parts = [
    `<h1>${escapeHTML(title)}</h1>`,
    table(
      figures.map((figure) => [figure.name, figureText(figure), figure.better, figure.says]),
      ['figure', 'value ± standard error', 'better', 'what it says'],
    ),
    ...(shares.length > 0
      ? [
          '<p>With 95 % intervals:</p>',
          barPlot(
            'Figures',
            shares.map((figure) => bar(figure.name, figure)),
            1,
          ),
        ]
      : []),
    ...shares.slice(0, groups.length > 0 ? 1 : 0).map(({ name }) => {
      const bars = groups.flatMap((group) => {
        const own = group.figures.find((figure) => figure.name === name);
        return own ? [bar(`${group.name} (${group.examples})`, own)] : [];
      });
      return `<h2>${escapeHTML(name)} by group</h2>${barPlot(`${name} by group`, bars, 1)}`;
    }),
    ...(calibration
      ? [`<h2>Calibration</h2><p>Expected calibration error ${calibration.error.toFixed(4)}.</p>${reliabilityPlot(calibration.bins)}`]
      : []),
    ...(histogram ? [`<h2>Examples by ${escapeHTML(histogram.name)}</h2>${histogramPlot(histogram)}`] : []),
    `<h2>What was measured</h2>${table(settingsOf(report))}`,
  ];
  const head = `<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHTML(title)}</title>`;
  return `<!doctype html>\n<html lang="en"><head>${head}<style>${STYLE}</style></head><body>\n${parts.join('\n')}\n</body></html>\n`;
}
