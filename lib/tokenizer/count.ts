import { grown, PieceTable } from './pieces.ts';
import { pieceEnd } from './split.ts';

/** Counts the pieces of a text that comes in documents. No piece reaches from one document into the next. */
export class PieceCounter {
  readonly table = new PieceTable();
  /** How often each piece of the table came. */
  counts = new Float64Array(1 << 10);

  add(document: string | Uint8Array): void {
    const bytes = typeof document === 'string' ? Buffer.from(document) : document;
    const table = this.table;
    for (let start = 0; start < bytes.length; ) {
      const end = pieceEnd(bytes, start, bytes.length);
      // A piece of one byte has no pair to merge.
      if (end - start > 1) {
        const piece = table.intern(bytes, start, end);
        if (piece >= this.counts.length) this.counts = grown(this.counts, piece + 1);
        this.counts[piece] = (this.counts[piece] as number) + 1;
      }
      start = end;
    }
  }

  /** Numbers of the pieces, the most frequent first; of equals, the one that came first. */
  byCount(): Uint32Array {
    const perCount = new Map<number, number>();
    for (let k = 0; k < this.table.size; k++) {
      const count = this.counts[k] as number;
      perCount.set(count, (perCount.get(count) ?? 0) + 1);
    }
    const place = new Map<number, number>();
    let start = 0;
    for (const count of [...perCount.keys()].sort((a, b) => b - a)) {
      place.set(count, start);
      start += perCount.get(count) as number;
    }
    const order = new Uint32Array(this.table.size);
    for (let k = 0; k < this.table.size; k++) {
      const count = this.counts[k] as number;
      const at = place.get(count) as number;
      order[at] = k;
      place.set(count, at + 1);
    }
    return order;
  }
}
