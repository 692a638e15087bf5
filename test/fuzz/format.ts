import type { Draw } from './draw.ts';
import type { Mutator } from './mutate_bytes.ts';

/** The files of a small folder, by name. A folder in the place of a file is `'folder'`. */
export type Files = ReadonlyMap<string, Uint8Array | 'folder'>;

/** One kind of file that heddle reads, and what a hostile one may not do. */
export interface Format {
  readonly name: string;
  /** Small valid folders, made anew in every process. */
  seeds(): Promise<Files[]>;
  /** How each file is damaged, by its name; those left out stay as they are. */
  readonly mutators: Readonly<Record<string, { readonly weight: number; readonly mutate: Mutator }>>;
  /** Makes checksums right again, mostly, so that a reader comes past them to what they protect. */
  seal?(files: Map<string, Uint8Array | 'folder'>, draw: Draw): void;
  /**
   * Reads the folder as a user would and looks at all that comes back: it must be usable. What it throws must be an error of
   * heddle that names a file of the folder; anything else is a failure.
   */
  read(folder: string): Promise<void>;
  /** The reader writes into the folder, which is made anew for each case. */
  readonly writes?: true;
  /** Bytes of buffers and tensors that a case may take beyond twice its files: what readers hold however small a file is. */
  readonly allowance?: number;
}

/** A folder of texts and bytes. */
export function filesOf(record: Readonly<Record<string, string | Uint8Array>>): Files {
  const encoder = new TextEncoder();
  return new Map(Object.entries(record).map(([name, content]) => [name, typeof content === 'string' ? encoder.encode(content) : content]));
}
