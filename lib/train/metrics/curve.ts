import { ArgumentError } from '../../util/errors.ts';

/** A loss at a step. */
export interface CurvePoint {
  readonly step: number;
  readonly loss: number;
}

export interface CurveOptions {
  /** Columns of the whole picture, labels too; at least 20. */
  readonly width?: number;
  /** Lines of the whole picture, the line of steps too; at least 3. */
  readonly height?: number;
  /** Only ASCII characters, for terminals without Unicode. */
  readonly ascii?: boolean;
}

/** A grid of dots shown as characters: Braille packs 2 × 4 dots into one, ASCII one. */
class Canvas {
  readonly dotsWide: number;
  readonly dotsHigh: number;
  readonly #columns: number;
  readonly #rows: number;
  readonly #ascii: boolean;
  readonly #dots: Uint8Array;

  constructor(columns: number, rows: number, ascii: boolean) {
    this.#columns = columns;
    this.#rows = rows;
    this.#ascii = ascii;
    this.dotsWide = ascii ? columns : columns * 2;
    this.dotsHigh = ascii ? rows : rows * 4;
    this.#dots = new Uint8Array(this.dotsWide * this.dotsHigh);
  }

  set(x: number, y: number): void {
    this.#dots[y * this.dotsWide + x] = 1;
  }

  row(r: number): string {
    let text = '';
    for (let c = 0; c < this.#columns; c++) text += this.#ascii ? (this.#dots[r * this.dotsWide + c] ? '*' : ' ') : this.#braille(r, c);
    return text;
  }

  #braille(r: number, c: number): string {
    // The bits of a Braille character go down the left column, then down the right one; the lowest row came later.
    const bits = [0x01, 0x08, 0x02, 0x10, 0x04, 0x20, 0x40, 0x80];
    let mask = 0;
    for (const [i, bit] of bits.entries()) {
      if (this.#dots[(r * 4 + (i >> 1)) * this.dotsWide + c * 2 + (i & 1)]) mask |= bit;
    }
    return mask === 0 ? ' ' : String.fromCharCode(0x2800 + mask);
  }

  lines(): string[] {
    return Array.from({ length: this.#rows }, (_, r) => this.row(r));
  }
}

/** Mean loss of the points that fall into each of `columns` columns; undefined where none does. */
function columnMeans(points: readonly CurvePoint[], columns: number, first: number, last: number): (number | undefined)[] {
  const sums = new Float64Array(columns);
  const counts = new Float64Array(columns);
  for (const { step, loss } of points) {
    const x = last === first ? 0 : Math.round(((step - first) / (last - first)) * (columns - 1));
    sums[x] = (sums[x] ?? 0) + loss;
    counts[x] = (counts[x] ?? 0) + 1;
  }
  return Array.from(sums, (sum, x) => ((counts[x] ?? 0) > 0 ? sum / (counts[x] ?? 1) : undefined));
}

/**
 * A loss curve as text: losses up, steps to the right, the mean of the points that share a column. Points that are not finite are
 * left out; their number is told below. Lines are joined by line breaks, without one at the end.
 */
export function lossCurve(points: readonly CurvePoint[], { width = 72, height = 12, ascii = false }: CurveOptions = {}): string {
  if (!(Number.isInteger(width) && width >= 20)) throw new ArgumentError(`lossCurve: width must be an integer from 20, got ${width}`);
  if (!(Number.isInteger(height) && height >= 3)) throw new ArgumentError(`lossCurve: height must be an integer from 3, got ${height}`);
  const sound = points.filter((p) => Number.isFinite(p.loss) && Number.isFinite(p.step));
  if (sound.length === 0) return '(no losses yet)';
  const steps = sound.map((p) => p.step);
  const first = steps.reduce((a, b) => Math.min(a, b));
  const last = steps.reduce((a, b) => Math.max(a, b));

  const rows = height - 1;
  const label = (value: number) => value.toPrecision(4);
  const draft = columnMeans(sound, 2 * width, first, last).filter((y) => y !== undefined);
  const labelWidth = Math.max(...[Math.min(...draft), Math.max(...draft)].map((y) => label(y).length));
  const canvas = new Canvas(width - labelWidth - 2, rows, ascii);
  const means = columnMeans(sound, canvas.dotsWide, first, last);
  const present = means.filter((y) => y !== undefined);
  // A flat curve lies in the middle of some range.
  const flat = Math.min(...present) === Math.max(...present) ? Math.abs(present[0] ?? 0) * 0.05 || 1 : 0;
  const low = Math.min(...present) - flat;
  const high = Math.max(...present) + flat;
  const toDot = (y: number) => Math.round(((high - y) / (high - low)) * (canvas.dotsHigh - 1));

  let previous: { x: number; y: number } | undefined;
  for (const [x, mean] of means.entries()) {
    if (mean === undefined) continue;
    const y = toDot(mean);
    const from = previous ?? { x, y };
    const length = Math.max(x - from.x, Math.abs(y - from.y), 1);
    for (let i = 0; i <= length; i++) {
      canvas.set(Math.round(from.x + ((x - from.x) * i) / length), Math.round(from.y + ((y - from.y) * i) / length));
    }
    previous = { x, y };
  }

  const bar = ascii ? '|' : '│';
  const lines = canvas.lines().map((row, r) => {
    const text = r === 0 ? label(high) : r === rows - 1 ? label(low) : '';
    return `${text.padStart(labelWidth)} ${bar}${row}`.trimEnd();
  });
  const left = `${' '.repeat(labelWidth + 2)}step ${first}`;
  const leftOut = points.length - sound.length;
  const right = `${leftOut > 0 ? `(${leftOut} not finite) ` : ''}${last}`;
  lines.push(left + right.padStart(Math.max(right.length + 1, width - left.length)));
  return lines.join('\n');
}
