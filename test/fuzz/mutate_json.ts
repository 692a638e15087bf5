// Damage to JSON that leaves it JSON: the reader comes past the parser, to its own checks.
import type { Draw } from './draw.ts';
import { MOST_BYTES, type Mutator, mutateBytes, NUMBERS, oneOf } from './mutate_bytes.ts';

/** A JSON value that can hold what `JSON.parse` would not give: a key twice, numbers as they are spelled, nonsense. */
export type Node =
  | { kind: 'object'; entries: [key: string, value: Node][] }
  | { kind: 'array'; items: Node[] }
  | { kind: 'raw'; text: string };

const raw = (text: string): Node => ({ kind: 'raw', text });

export function nodeOf(value: unknown): Node {
  if (Array.isArray(value)) return { kind: 'array', items: value.map(nodeOf) };
  if (typeof value !== 'object' || value === null) return raw(JSON.stringify(value) ?? 'null');
  return { kind: 'object', entries: Object.entries(value).map(([key, inner]) => [key, nodeOf(inner)]) };
}

export function textOf(node: Node): string {
  if (node.kind === 'raw') return node.text;
  if (node.kind === 'array') return `[${node.items.map(textOf).join(',')}]`;
  return `{${node.entries.map(([key, value]) => `${JSON.stringify(key)}: ${textOf(value)}`).join(', ')}}`;
}

const copyOf = (node: Node): Node => {
  if (node.kind === 'raw') return { ...node };
  if (node.kind === 'array') return { kind: 'array', items: node.items.map(copyOf) };
  return { kind: 'object', entries: node.entries.map(([key, value]) => [key, copyOf(value)]) };
};

const nested = (depth: number, open: string, close: string): string => open.repeat(depth) + close.repeat(depth);

/** Keys that mean something to JavaScript's objects, to files, to terminals. */
export const KEYS: readonly string[] = [
  ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'prototype', 'length', '', '0', '-1', ' ', 'a.b', '../x', '/etc/passwd'],
  ...['\u0000', '\u001b[31m', '\ud800', '\n', '\u202e', 'x'.repeat(5000), 'é', '名', 'then', 'NaN', 'null'],
];

/** Values nobody expects. */
export const VALUES: readonly string[] = [
  ...NUMBERS.map(String),
  ...['null', 'true', 'false', '-0', '0.5', '-0.5', '1e400', '-1e400', '1e-400', '1e308', '1e21', '1e2', '9007199254740993', '1.0'],
  ...[
    '""',
    '" "',
    '"0"',
    '"1"',
    '"true"',
    '"NaN"',
    '"\\u0000"',
    '"\\ud800"',
    '"\\u001b[31m"',
    '"\\n"',
    '"../x"',
    '"/"',
    '"."',
    '"__proto__"',
  ],
  ...['[]', '{}', '[[]]', '[null]', '[{}]', '{"": null}', '{"__proto__": {"length": 1}}', '{"__proto__": null, "constructor": 1}'],
  ...['[0, 0]', '[1, 2]', '["a", "a"]', '[-1]', '[1e400]', '["a b"]', '{"length": 3}', '{"0": 1}'],
  ...['NaN', 'Infinity', 'undefined', '01', '+1', "'a'", '0x10', '1.', '[1,]', '{"a"}', '/**/1', '"\\x"', '"a\nb"', 'nul'],
  JSON.stringify('y'.repeat(5000)),
];

function hostile(draw: Draw): Node {
  if (draw.oneIn(60)) {
    const depth = draw.pick([200, 3000, 20000]);
    return raw(draw.oneIn(2) ? nested(depth, '[', ']') : `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`);
  }
  return raw(draw.pick(VALUES));
}

interface Place {
  readonly node: Node;
  put(node: Node): void;
}

function places(root: { node: Node }): Place[] {
  const found: Place[] = [];
  const visit = (node: Node, put: (node: Node) => void): void => {
    found.push({ node, put });
    if (node.kind === 'array')
      node.items.forEach((item, i) => {
        visit(item, (by) => {
          node.items[i] = by;
        });
      });
    else if (node.kind === 'object')
      for (const entry of node.entries)
        visit(entry[1], (by) => {
          entry[1] = by;
        });
  };
  visit(root.node, (node) => {
    root.node = node;
  });
  return found;
}

function tweakNumber(draw: Draw, text: string): string {
  const value = Number(text);
  const by = draw.pick([value + 1, value - 1, -value, value * 2, value / 2, value + 0.5, value * 1000, value * 2 ** 31]);
  return draw.oneIn(6) ? `${text}e${draw.pick([0, 1, 9, 30, 400])}` : String(by);
}

function tweakText(draw: Draw, text: string): string {
  const inner = text.slice(1, -1);
  const half = inner.slice(0, inner.length >> 1).replace(/\\[^"\\/bfnrt]*$/, '');
  const more = draw.pick(['x', ' ', '\\u0000', '\\ud800', '\\udc00', '\\n', '\\u001b[2J', '..', '/', '\\\\', '名', '1']);
  return `"${draw.pick([`${inner}${more}`, `${more}${inner}`, half, inner.toUpperCase(), inner + inner])}"`;
}

function changeList<T>(draw: Draw, list: T[], other: T | undefined): void {
  const at = draw.below(list.length + 1);
  const one = list[Math.min(at, list.length - 1)];
  if (one === undefined) return;
  const way = draw.below(6);
  if (way === 0) list.splice(at, 1);
  else if (way === 1) list.splice(at, 0, one);
  else if (way === 2) list.splice(0, list.length, ...list.toReversed());
  else if (way === 3) list.length = at;
  else if (way === 4 && other !== undefined) list.splice(at, 0, other);
  else list.push(...Array.from({ length: draw.pick([1, 2, 50]) }, () => one));
}

/** One change somewhere in the tree. */
function changeTree(draw: Draw, root: { node: Node }, donor: Node): void {
  const all = places(root);
  const { node, put } = draw.pick(all);
  const others = draw.oneIn(2) ? places({ node: donor }) : all;
  const other = copyOf(draw.pick(others).node);
  const way = draw.below(10);
  if (way < 3) put(hostile(draw));
  else if (way === 3) put(other);
  else if (way === 4) put(draw.oneIn(2) ? { kind: 'array', items: [node] } : { kind: 'object', entries: [[draw.pick(KEYS), node]] });
  else if (node.kind === 'raw') put(raw(node.text.startsWith('"') ? tweakText(draw, node.text) : tweakNumber(draw, node.text)));
  else if (node.kind === 'array') changeList(draw, node.items, other);
  else if (way < 8) changeList(draw, node.entries, [draw.pick(KEYS), other]);
  else if (node.entries.length > 0) {
    const entry = draw.pick(node.entries);
    if (draw.oneIn(3))
      node.entries.push([entry[0], hostile(draw)]); // the same key twice
    else entry[0] = draw.oneIn(2) ? draw.pick(KEYS) : draw.pick([entry[0].toUpperCase(), `${entry[0]}s`, draw.pick(node.entries)[0]]);
  }
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

function parsed(bytes: Uint8Array): Node | undefined {
  try {
    return nodeOf(JSON.parse(decoder.decode(bytes)));
  } catch {
    return undefined; // what an earlier damage made
  }
}

/** Changes to a JSON value, as a tree. */
export const changeJSON: Mutator = (draw, bytes, donor) => {
  try {
    const node = parsed(bytes);
    if (node === undefined) return mutateBytes(draw, bytes, donor);
    const root = { node };
    const other = parsed(donor) ?? copyOf(node);
    for (let n = draw.length(3); n > 0; n--) changeTree(draw, root, other);
    return encoder.encode(textOf(root.node)).subarray(0, MOST_BYTES);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // nested too deep for this
    return mutateBytes(draw, bytes, donor);
  }
};

/** A JSON file: mostly as a tree, sometimes as bytes. */
export const mutateJSON: Mutator = oneOf([6, changeJSON], [1, mutateBytes]);

/** Lines of JSON: one of them as JSON, or the lines as such. */
export const mutateLines: Mutator = oneOf(
  [
    4,
    (draw, bytes, donor) => {
      const lines = decoder.decode(bytes).split('\n');
      const at = draw.below(lines.length);
      const other = encoder.encode(draw.pick(decoder.decode(donor).split('\n')));
      lines[at] = decoder.decode(changeJSON(draw, encoder.encode(lines[at]), other));
      return encoder.encode(lines.join('\n'));
    },
  ],
  [
    1,
    (draw, bytes, donor) => {
      const lines = decoder.decode(bytes).split('\n');
      changeList(draw, lines, draw.pick([...decoder.decode(donor).split('\n'), '', ' ', '\r', '[', 'null', '"a"', '{}']));
      return encoder.encode(lines.join(draw.oneIn(4) ? draw.pick(['\r\n', '\n\n', '\r']) : '\n'));
    },
  ],
  [2, mutateBytes],
);
