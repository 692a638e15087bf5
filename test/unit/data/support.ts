import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { SourceItem } from '../../../lib/data/source.ts';

/** A folder that is removed after the test, with the files given by name. */
export function folderOf(t: ExecutionContext, files: Record<string, string | Uint8Array> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-test-data-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Documents of a source with their pieces put together; an example as "prompt -> completion". */
export function documentsOf(items: Iterable<SourceItem>): string[] {
  const documents: string[] = [];
  let pieces: Uint8Array[] = [];
  const close = (): void => {
    if (pieces.length > 0) documents.push(new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.concat(pieces)));
    pieces = [];
  };
  for (const item of items) {
    if (item.kind === 'example') {
      close();
      documents.push(`${item.prompt} -> ${item.completion}`);
    } else {
      if (item.first) close();
      pieces.push(item.bytes);
    }
  }
  close();
  return documents;
}

/** A text of words that looks random and is always the same. */
export function sampleText(words: number, seed = 1): string {
  const vocabulary = [
    'the',
    'sea',
    'ship',
    'whale',
    'old',
    'man',
    'boat',
    'white',
    'deck',
    'wind',
    'and',
    'of',
    'was',
    'in',
    'harpoon',
    'night',
  ];
  const out: string[] = [];
  let state = seed;
  for (let i = 0; i < words; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    // Squared, so that words differ in how often they come.
    const u = state / 2 ** 32;
    out.push(vocabulary[Math.floor(u * u * vocabulary.length)] as string, i % 11 === 10 ? '.\n' : ' ');
  }
  return out.join('');
}
