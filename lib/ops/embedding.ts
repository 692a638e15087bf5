import { record1 } from '../autograd/index.ts';
import { type Handle, native } from '../native/addon.ts';
import { elements } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

export interface EmbeddingOptions {
  /** Position rows (at least first + T, C), added to the token rows. */
  positions?: Tensor | null;
  /** Position of the first id of each row. */
  first?: number;
}

/** Rows of a table (V, C) by i32 ids (..., T), plus position rows: (..., T, C). An id outside [0, V) is an error at the next wait. */
export function embedding(table: Tensor, ids: Tensor, options: EmbeddingOptions = {}): Tensor {
  const { positions = null, first = 0 } = options;
  const y = native.embedding(table.handle, ids.handle, positions?.handle ?? null, first);
  return record1('embedding', y, [table, positions], [ids], (dy, [dtable, dpositions], [saved]) => {
    dtable?.into((out, accumulate) => native.embeddingBackward(dy.handle, saved as Handle, out, accumulate));
    dpositions?.into((out, accumulate) => {
      const T = native.shape(dy.handle).at(-2) as number;
      const C = native.shape(dy.handle).at(-1) as number;
      if (!accumulate && T !== dpositions.shape[0]) native.fill(out, 0);
      const used = native.slice(out, 0, first, first + T, 1);
      const rows = native.reshape(dy.handle, [elements(native.shape(dy.handle).slice(0, -2)), T, C]);
      native.sumInto(rows, used, accumulate);
      native.dispose(rows);
      native.dispose(used);
    });
  });
}
