import { FileError } from '../util/errors.ts';
import type { ListTokenizer } from './base.ts';
import { readObject, readText, show } from './fields.ts';
import { END_OF_TEXT } from './tokenizer.ts';
import { byteLevelTokenizer, type RawMerge } from './vocabulary.ts';

/**
 * Reads a vocabulary in the form in which GPT-2's was published: `vocab.json` (also called encoder.json; ids by token) and
 * `merges.txt` (vocab.bpe; a version line, then two parts a line). `<|endoftext|>` is a special token if it is there.
 */
export function loadGPT2Tokenizer(vocabFile: string, mergesFile: string): ListTokenizer {
  const vocab = readObject(vocabFile);
  const special = Object.hasOwn(vocab, END_OF_TEXT)
    ? [{ content: END_OF_TEXT, id: vocab[END_OF_TEXT], field: `content[${show(END_OF_TEXT)}]` }]
    : [];
  return byteLevelTokenizer({ file: vocabFile, vocabField: 'content', vocab, special }, readMerges(mergesFile), mergesFile);
}

/** The merges of a text file, by rank. */
export function readMerges(file: string): RawMerge[] {
  const merges: RawMerge[] = [];
  readText(file)
    .split('\n')
    .forEach((line, i) => {
      const text = line.endsWith('\r') ? line.slice(0, -1) : line;
      // Tokens may begin with '#': only the first line can be the version.
      if (text === '' || (i === 0 && text.startsWith('#version'))) return;
      merges.push(splitMerge(file, `line ${i + 1}`, text));
    });
  if (merges.length === 0) throw new FileError(file, 'must hold merges, two parts a line, got none');
  return merges;
}

/** Cuts "left right" at its only space. */
export function splitMerge(file: string, field: string, text: string): RawMerge {
  const space = text.indexOf(' ');
  if (space <= 0 || space === text.length - 1 || text.indexOf(' ', space + 1) >= 0) {
    throw new FileError(file, `${field} must be two tokens with a space between them, got ${show(text)}`);
  }
  return { left: text.slice(0, space), right: text.slice(space + 1), field };
}
