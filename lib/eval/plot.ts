// Plots as SVG text: no script, no font of their own, readable in light and dark.
import type { CalibrationBin } from './calibration.ts';
import type { Histogram } from './tally.ts';

/** A text as it may stand in HTML and SVG, in content and in attributes. */
export function escapeHTML(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

const [WIDTH, LINE] = [640, 26];

function svg(height: number, title: string, body: string): string {
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeHTML(title)}"><title>${escapeHTML(title)}</title>${body}</svg>`;
}

const label = (x: number, y: number, text: string, anchor: 'start' | 'middle' | 'end'): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escapeHTML(text)}</text>`;

const rect = (x: number, y: number, width: number, height: number, kind: string): string =>
  `<rect class="${kind}" x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${Math.max(0, width).toFixed(1)}" height="${Math.max(0, height).toFixed(1)}"/>`;

const line = (x1: number, y1: number, x2: number, y2: number, kind: string): string =>
  `<line class="${kind}" x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}"/>`;

/** A value from 0 to `most` with its interval, if there is one. */
export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly interval: readonly [low: number, high: number] | null;
  readonly text: string;
}

/** Bars with intervals, one below the other. */
export function barPlot(title: string, bars: readonly Bar[], most: number): string {
  const [left, right] = [200, 130];
  const x = (value: number): number => left + (Math.min(most, Math.max(0, value)) / most) * (WIDTH - left - right);
  const rows = bars.map(({ name, value, interval, text }, i) => {
    const y = 6 + i * LINE;
    const middle = y + LINE / 2 - 2;
    const shortened = name.length > 28 ? `${name.slice(0, 27)}…` : name;
    const whisker = interval ? line(x(interval[0]), middle, x(interval[1]), middle, 'mark') : '';
    return (
      label(left - 8, middle + 4, shortened, 'end') +
      rect(left, y, x(value) - left, LINE - 8, 'bar') +
      whisker +
      label(WIDTH - right + 8, middle + 4, text, 'start')
    );
  });
  return svg(bars.length * LINE + 8, title, rows.join('') + line(left, 2, left, bars.length * LINE + 4, 'axis'));
}

/** A frame of 400 by 240 with numbers at its sides. */
function frame(from: string, to: string, bottom: string, top: string, below: string, beside: string): string {
  return [
    line(60, 250, 460, 250, 'axis'),
    line(60, 10, 60, 250, 'axis'),
    label(60, 268, from, 'middle'),
    label(460, 268, to, 'middle'),
    label(52, 254, bottom, 'end'),
    label(52, 18, top, 'end'),
    label(260, 286, below, 'middle'),
    label(470, 30, beside, 'start'),
  ].join('');
}

/** Accuracy over confidence, bin by bin: on the diagonal a model is as often right as it says. */
export function reliabilityPlot(bins: readonly CalibrationBin[]): string {
  const x = (value: number): number => 60 + 400 * value;
  const y = (value: number): number => 250 - 240 * value;
  const columns = bins.map(({ from, to, accuracy }) =>
    accuracy === null ? '' : rect(x(from) + 1, y(accuracy), x(to) - x(from) - 2, 250 - y(accuracy), 'bar'),
  );
  const points = bins.map(({ confidence, accuracy }) =>
    confidence === null || accuracy === null
      ? ''
      : `<circle class="mark" cx="${x(confidence).toFixed(1)}" cy="${y(accuracy).toFixed(1)}" r="3"/>`,
  );
  const axes = frame('0', '1', '0', '1', 'confidence', 'bars: share of right ones');
  return svg(292, 'Reliability', columns.join('') + line(x(0), y(0), x(1), y(1), 'guide') + points.join('') + axes);
}

/** How many examples lie in each bin. */
export function histogramPlot({ name, width, counts }: Histogram): string {
  const most = Math.max(1, ...counts);
  const last = counts.findLastIndex((count) => count > 0) + 1;
  const shown = counts.slice(0, Math.max(1, last));
  const step = 400 / shown.length;
  const columns = shown.map((count, i) => rect(60 + i * step + 0.5, 250 - (240 * count) / most, step - 1, (240 * count) / most, 'bar'));
  const end = `${shown.length * width}${shown.length === counts.length ? ' and more' : ''}`;
  return svg(292, `Examples by ${name}`, columns.join('') + frame('0', end, '0', String(most), name, 'examples'));
}
