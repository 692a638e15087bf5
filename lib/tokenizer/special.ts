import { ArgumentError } from '../util/errors.ts';
import type { EncodeOptions } from './tokenizer.ts';

/** The special tokens that `allowedSpecial` names, with their ids. */
export function allowedTokens(special: ReadonlyMap<string, number>, options: EncodeOptions | undefined): ReadonlyMap<string, number> {
  const allowed = options?.allowedSpecial ?? [];
  if (allowed === 'all') return special;
  return new Map(
    allowed.map((content) => {
      const id = special.get(content);
      if (id === undefined) {
        const known = [...special.keys()].map((name) => JSON.stringify(name)).join(', ') || 'none';
        throw new ArgumentError(`encode: allowedSpecial must name special tokens (${known}), got ${JSON.stringify(content)}`);
      }
      return [content, id];
    }),
  );
}

/** One stretch of a text: plain, or a special token with its id. */
export interface Section {
  readonly start: number;
  readonly end: number;
  readonly special: number | undefined;
}

/**
 * Cuts a text at the given special tokens: the leftmost first, of those that start together the longest. `find(content, from)`
 * returns where `content` next stands, -1 if nowhere; `sizeOf` its length in the same unit.
 */
export function cutAtSpecial(
  length: number,
  special: ReadonlyMap<string, number>,
  find: (content: string, from: number) => number,
  sizeOf: (content: string) => number,
): Section[] {
  const sections: Section[] = [];
  const waiting = [...special].map(([content, id]) => ({ content, id, size: sizeOf(content), at: find(content, 0) }));
  let start = 0;
  for (;;) {
    let next: (typeof waiting)[number] | undefined;
    for (const token of waiting) {
      if (token.at >= 0 && token.at < start) token.at = find(token.content, start);
      if (token.at < 0) continue;
      if (!next || token.at < next.at || (token.at === next.at && token.size > next.size)) next = token;
    }
    if (!next) break;
    if (next.at > start) sections.push({ start, end: next.at, special: undefined });
    start = next.at + next.size;
    sections.push({ start: next.at, end: start, special: next.id });
  }
  if (start < length) sections.push({ start, end: length, special: undefined });
  return sections;
}
