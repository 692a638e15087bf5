// How BLEU cuts a sentence into words, as sacreBLEU (Post 2018) does, so that scores can be compared.

/** `13a`: mteval-v13a's, of the WMT; `intl`: Unicode punctuation and symbols; `zh`: Chinese characters one by one, the rest as
 * `13a`; `char`: every character; `none`: at blanks. */
export type BleuTokenizer = '13a' | 'intl' | 'zh' | 'char' | 'none';

const join = (text: string): string[] => text.split(/\s+/u).filter((word) => word !== '');

/** What `13a` and `zh` share: punctuation stands alone, but dots and commas between digits, and dashes after letters. */
function western(text: string): string[] {
  return join(
    text
      .replace(/[{-~[-` -&(-+:-@/]/g, ' $& ')
      .replace(/([^0-9])([.,])/g, '$1 $2 ')
      .replace(/([.,])([^0-9])/g, ' $1 $2')
      .replace(/([0-9])(-)/g, '$1 $2 '),
  );
}

function mteval13a(text: string): string[] {
  const plain = text
    .replaceAll('<skipped>', '')
    .replaceAll('-\n', '')
    .replaceAll('\n', ' ')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>');
  return western(` ${plain} `);
}

function international(text: string): string[] {
  return join(
    text
      .replace(/(\P{N})(\p{P})/gu, '$1 $2 ')
      .replace(/(\p{P})(\P{N})/gu, ' $1 $2')
      .replace(/(\p{S})/gu, ' $1 '),
  );
}

/**
 * What sacreBLEU's `zh` takes for Chinese. Two of its ranges are written with four digits where five were meant, so they hold general
 * punctuation and symbols (U+2001 to U+2A6D, U+2F81 to U+2FA1) in place of the rare characters beyond U+20000; published scores are
 * counted that way, and so are these.
 */
const CHINESE =
  /[\u3400-\u4db5\u4e00-\u9fbb\uf900-\ufa2d\ufa30-\ufa6a\ufa70-\ufad9\u2001-\u2a6d\u2f81-\u2fa1\uff00-\uffef\u2e80-\u2eff\u3000-\u303f\u31c0-\u31ef\u2f00-\u2fdf\u2ff0-\u2fff\u3100-\u312f\u31a0-\u31bf\ufe10-\ufe1f\ufe30-\ufe4f\u2600-\u27bf\u3200-\u33ff]/g;

const TOKENIZERS: Readonly<Record<BleuTokenizer, (text: string) => string[]>> = {
  '13a': mteval13a,
  intl: international,
  zh: (text) => western(text.trim().replace(CHINESE, ' $& ')),
  char: (text) => Array.from(text).filter((character) => !/\s/u.test(character)),
  none: join,
};

export const BLEU_TOKENIZERS = Object.keys(TOKENIZERS) as readonly BleuTokenizer[];

/** The words of a sentence. */
export function bleuWords(text: string, tokenizer: BleuTokenizer): string[] {
  return TOKENIZERS[tokenizer](text.trimEnd());
}
