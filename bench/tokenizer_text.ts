/**
 * Made text with the statistics that matter to a tokenizer: words by Zipf's law out of a large vocabulary, sentences, lines;
 * and Chinese-like clauses, few of which come twice. Always the same for the same length.
 */

function generator(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** A number below `n`, small ones far more often: about as Zipf's law has it. */
function zipf(random: (n: number) => number, n: number): number {
  return Math.min(n - 1, Math.floor(n ** (random(1 << 30) / (1 << 30))) - 1);
}

export function englishText(length: number): string {
  const random = generator(7);
  const onsets = ['', 'b', 'c', 'd', 'f', 'g', 'h', 'l', 'm', 'n', 'p', 'r', 's', 't', 'w', 'st', 'th', 'tr', 'wh', 'sh', 'br', 'pl'];
  const vowels = ['a', 'e', 'i', 'o', 'u', 'ea', 'ou', 'ai', 'ee'];
  const codas = ['', '', 'n', 'r', 's', 't', 'd', 'l', 'nd', 'st', 'ng', 'ck', 'm'];
  const words = Array.from({ length: 60_000 }, (_, rank) => {
    const syllables = 1 + random(rank < 200 ? 1 : rank < 5000 ? 2 : 4);
    let word = '';
    for (let i = 0; i < syllables; i++)
      word += `${onsets[random(onsets.length)]}${vowels[random(vowels.length)]}${codas[random(codas.length)]}`;
    return word;
  });
  const parts: string[] = [];
  let total = 0;
  let start = true;
  while (total < length) {
    let word = words[zipf(random, words.length)] ?? '';
    if (start || random(20) === 0) word = (word[0] ?? '').toUpperCase() + word.slice(1);
    if (random(60) === 0) word = String(random(3000));
    if (random(80) === 0) word += "'s";
    const end = random(12) === 0 ? (random(6) === 0 ? '.\n\n' : random(2) === 0 ? '. ' : '.\n') : random(10) === 0 ? ', ' : ' ';
    start = end.startsWith('.');
    parts.push(word, end);
    total += word.length + end.length;
  }
  return parts.join('');
}

/** `length` in bytes of UTF-8. */
export function chineseText(length: number): string {
  const random = generator(11);
  const characters = Array.from({ length: 4000 }, (_, i) => String.fromCharCode(0x4e00 + ((i * 7919) % 20_000)));
  const words = Array.from({ length: 40_000 }, () => {
    const size = 1 + random(3);
    return Array.from({ length: size }, () => characters[zipf(random, characters.length)]).join('');
  });
  const ends = ['，', '，', '，', '。', '。\n', '；', '：', '、', '？', '”'];
  const parts: string[] = [];
  let total = 0;
  while (total < length) {
    const size = 2 + random(5);
    let clause = '';
    for (let i = 0; i < size; i++) clause += words[zipf(random, words.length)];
    clause += ends[random(ends.length)];
    parts.push(clause);
    total += 3 * clause.length;
  }
  return parts.join('');
}
