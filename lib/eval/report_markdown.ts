import type { Report } from './report.ts';
import { figureText, settingsOf } from './report_text.ts';

/** A text in a cell of a table: bars would end it. */
const cell = (text: string): string => text.replace(/[|\\]/g, '\\$&').replace(/\s+/g, ' ');

const row = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`;

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');
}

/** A report as Markdown. */
export function reportMarkdown(report: Report): string {
  const { figures, groups, calibration } = report;
  const sections = [
    `# ${cell(report.task)}: ${cell(report.model)}`,
    table(
      ['figure', 'value ± standard error', 'better', 'what it says'],
      figures.map((figure) => [figure.name, figureText(figure), figure.better, figure.says]),
    ),
    ...(calibration ? [`Expected calibration error, ${calibration.bins.length} bins: ${calibration.error.toFixed(4)}.`] : []),
    ...(groups.length > 0
      ? [
          table(
            ['group', 'examples', ...figures.map(({ name }) => name)],
            groups.map(({ name, examples, figures: own }) => [name, String(examples), ...own.map(figureText)]),
          ),
        ]
      : []),
    table(['', ''], settingsOf(report)),
  ];
  return `${sections.join('\n\n')}\n`;
}
