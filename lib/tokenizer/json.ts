import { toAlphabet } from './alphabet.ts';
import type { BPEParts } from './bpe.ts';

// What these functions write is read by read_json.ts, by @huggingface/tokenizers and by its relatives in other languages.

/** `tokenizer.json` of a byte-level BPE (without merges: of a byte tokenizer). */
export function byteLevelJSON(parts: BPEParts): object {
  const written = parts.tokens.map(toAlphabet);
  const special = new Set(parts.specialTokens.values());
  const { left, right } = parts.merges;
  return {
    ...header(parts.specialTokens),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      ...bpeModel(null),
      // Built from entries: an assignment would lose the key "__proto__".
      vocab: Object.fromEntries(written.map((token, id) => [token, id] as const).filter(([, id]) => !special.has(id))),
      merges: Array.from(left, (a, rank) => `${written[a]} ${written[right[rank] as number]}`),
    },
  };
}

/** `tokenizer.json` of a character tokenizer: a BPE without merges or pieces, whose tokens are single characters. */
export function characterJSON(
  characters: readonly string[],
  specialTokens: ReadonlyMap<string, number>,
  unknown: number | undefined,
): object {
  const unknownToken = [...specialTokens].find(([, id]) => id === unknown);
  const entries: [string, number][] = characters.map((character, id) => [character, id]);
  // The library looks for the unknown token in the model's vocabulary.
  if (unknownToken) entries.push(unknownToken);
  return {
    ...header(specialTokens),
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: 'Fuse' },
    model: { ...bpeModel(unknownToken?.[0] ?? null), vocab: Object.fromEntries(entries), merges: [] },
  };
}

function header(specialTokens: ReadonlyMap<string, number>): object {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: Array.from(specialTokens, ([content, id]) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
  };
}

function bpeModel(unknown: string | null): object {
  return {
    type: 'BPE',
    dropout: null,
    unk_token: unknown,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
  };
}
