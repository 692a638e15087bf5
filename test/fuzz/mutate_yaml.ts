// Damage to YAML: as lines, as values in their places, and as the JSON that YAML holds.
import { parse } from 'yaml';
import type { Draw } from './draw.ts';
import { MOST_BYTES, type Mutator, mutateBytes, oneOf } from './mutate_bytes.ts';
import { changeJSON, KEYS, VALUES } from './mutate_json.ts';

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** What YAML knows and JSON does not. */
const SCALARS = [
  ...[
    '.inf',
    '-.inf',
    '.nan',
    '0x10',
    '0o7',
    '1_000',
    '~',
    'yes',
    'no',
    '2001-12-14',
    '1:30',
    '&a 1',
    '*a',
    '*unknown',
    '&a [*a]',
    '&a {b: *a}',
  ],
  ...['!!str 1', '!!int "1"', '!!float 1', '!!binary aGVsbG8=', '!!set {a}', '!!js/function "x"', '!local 1', '!<tag:x> 1', '!!null x'],
  ...[
    '|',
    '>',
    '|+',
    '|9',
    '>-\n  text',
    '"\\x"',
    "'",
    '"',
    '[',
    '{',
    ']',
    '}',
    ',',
    '?',
    '- ',
    '- - -',
    ': :',
    '@',
    '`',
    '%',
    '#',
    '{a: 1, a: 2}',
  ],
  ...['[1, 2, 3', '{? a : b}', '? [a] : b', '<<: *a', '1e3', '1.', '+1', '1e400', '-0', "''"],
];
const LINES = [
  ...[
    '---',
    '...',
    '%YAML 1.1',
    '%TAG ! x',
    '- a',
    '? a',
    ': b',
    '<<: {a: 1}',
    '*a : 1',
    '&a : 1',
    '\tx: 1',
    '  \t',
    '#',
    'a',
    '"',
    '? {a: b}',
  ],
  ...[
    '__proto__: {steps: 1}',
    'constructor: 1',
    'extends: ./config.yaml',
    'extends: [base.yaml, base.yaml]',
    'extends: /dev/null',
    'extends: .',
  ],
  ...['extends: missing.yaml', '1: 2', 'null: 1', 'true: 1', '"": 1', '[a]: 1', '{a: 1}: 1', '!!str train: {}', 'train: *none'],
];

/** Aliases of aliases: 9 lines that would be 9^8 values. */
function bomb(): string {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]'];
  for (let i = 1; i < 9; i++)
    lines.push(
      `a${i}: &a${i} [${Array(9)
        .fill(`*a${i - 1}`)
        .join(', ')}]`,
    );
  return lines.join('\n');
}

function nestedYAML(draw: Draw): string {
  const depth = draw.pick([20, 50, 100, 300, 1000, draw.oneIn(4) ? 10000 : 200]);
  return draw.pick([
    () => '['.repeat(depth),
    () => `${'{a: '.repeat(depth)}1${'}'.repeat(depth)}`,
    () => `${'- '.repeat(depth)}a`,
    () => `${'? '.repeat(depth)}a`,
    () => Array.from({ length: Math.min(depth, 400) }, (_, i) => `${' '.repeat(i)}a:`).join('\n'),
  ])();
}

const changeLines: Mutator = (draw, bytes) => {
  const lines = decoder.decode(bytes).split('\n');
  for (let n = draw.length(3); n > 0; n--) {
    const at = draw.below(lines.length);
    const line = lines[at] ?? '';
    const colon = line.indexOf(':');
    const way = draw.below(9);
    if (way === 0) lines.splice(at, 1);
    else if (way === 1) lines.splice(at, 0, line);
    else if (way === 2) lines[at] = draw.pick([' ', '  ', '\t', '    ']) + line;
    else if (way === 3) lines[at] = line.trimStart();
    else if (way === 4) lines.splice(at, 0, draw.pick(LINES));
    else if (way === 5 && colon > 0)
      lines[at] = `${/^ */.exec(line)?.[0] ?? ''}${draw.pick(KEYS).replace(/[\r\n]/g, ' ')}${line.slice(colon)}`;
    else if (colon > 0) lines[at] = `${line.slice(0, colon + 1)} ${draw.pick(draw.oneIn(2) ? SCALARS : VALUES)}`;
    else lines.splice(at, 0, draw.oneIn(10) ? bomb() : draw.oneIn(4) ? nestedYAML(draw) : draw.pick(LINES));
  }
  return encoder.encode(lines.join('\n')).subarray(0, MOST_BYTES);
};

const asJSON: Mutator = (draw, bytes, donor) => {
  try {
    const [own, other] = [bytes, donor].map((b) => encoder.encode(JSON.stringify(parse(decoder.decode(b))) ?? 'null'));
    return changeJSON(draw, own as Uint8Array, other as Uint8Array);
  } catch {
    return changeLines(draw, bytes, donor);
  }
};

export const mutateYAML: Mutator = oneOf([4, changeLines], [3, asJSON], [1, mutateBytes]);
