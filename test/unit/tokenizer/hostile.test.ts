import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { BPETokenizer } from '../../../lib/tokenizer/bpe.ts';
import { CharTokenizer } from '../../../lib/tokenizer/char.ts';
import { loadTokenizer } from '../../../lib/tokenizer/load.ts';
import { FileError } from '../../../lib/util/errors.ts';
import { inFolder, madeText } from './support.ts';

type JSONValue = null | boolean | number | string | JSONValue[] | { [key: string]: JSONValue };
/** Loose on purpose: the edits make what the types forbid. */
interface LooseModel {
  type?: string;
  vocab: Record<string, unknown>;
  merges: unknown[];
}
interface LooseJSON {
  model: LooseModel;
  [field: string]: unknown;
}
type Edit = (json: LooseJSON) => unknown;

const copy = (tokenizer: { toJSON(): object }): LooseJSON => JSON.parse(JSON.stringify(tokenizer)) as LooseJSON;
const BPE = BPETokenizer.train([madeText(500)], { vocabSize: 300 });
const CHAR = CharTokenizer.train(['abc'], { specialTokens: ['<unk>'], unknown: '<unk>' });

/** The message that loading this content as `tokenizer.json` ends with. */
function messageOf(t: { throws: (run: () => unknown, expected: object) => Error | undefined }, content: string | Uint8Array): string {
  return inFolder((folder) => {
    const file = join(folder, 'tokenizer.json');
    writeFileSync(file, content);
    const error = t.throws(() => loadTokenizer(folder), { instanceOf: FileError });
    const message = error?.message ?? '';
    if (!message.startsWith(`${file}: `)) throw new Error(`the message must name the file: ${message}`);
    return message.slice(file.length + 2);
  });
}

const edits: [string, Edit, RegExp][] = [
  ['no model', (j) => Reflect.deleteProperty(j, 'model'), /^model must be an object, got nothing/],
  ['model is a list', (j) => Object.assign(j, { model: [] }), /^model must be an object, got a list of 0/],
  ['model without a type', (j) => Reflect.deleteProperty(j.model, 'type'), /^model.type must be a text/],
  ['no vocabulary', (j) => Reflect.deleteProperty(j.model, 'vocab'), /^model.vocab must be an object, got nothing/],
  ['vocabulary is a text', (j) => Object.assign(j.model, { vocab: 'abc' }), /^model.vocab must be an object, got "abc"/],
  ['no merges', (j) => Reflect.deleteProperty(j.model, 'merges'), /^model.merges must be a list, got nothing/],
  ['merges of another type', (j) => Object.assign(j.model, { merges: { a: 1 } }), /^model.merges must be a list, got \{"a":1\}/],
  [
    'a merge of three',
    (j) => edit(j, (m) => (m.merges[3] = 'a b c')),
    /^model.merges\[3\] must be two tokens with a space between them, got "a b c"/,
  ],
  [
    'a merge of one',
    (j) => edit(j, (m) => (m.merges[3] = ['a'])),
    /^model.merges\[3\] must be a text or a list of two texts, got a list of 1/,
  ],
  ['a merge of numbers', (j) => edit(j, (m) => (m.merges[3] = [1, 2])), /^model.merges\[3\]\[0\] must be a text/],
  [
    'a merge of an unknown token',
    (j) => edit(j, (m) => (m.merges[3] = 'a zzzz')),
    /^model.merges\[3\]: the right part must be a token of the vocabulary, got "zzzz"/,
  ],
  [
    'a merge with an unknown result',
    (j) => edit(j, (m) => (m.merges[3] = '! !')),
    /^model.merges\[3\]: the result must be a token of the vocabulary, got "!!"/,
  ],
  [
    'a merge twice',
    (j) => edit(j, (m) => m.merges.push(m.merges[0])),
    /^model.merges\[43\] must be unlike the others, got the same as model.merges\[0\]/,
  ],
  ['a merge missing', (j) => edit(j, (m) => m.merges.pop()), /^the merges must make every token of the vocabulary, got none for /],
  [
    'an id twice',
    (j) => edit(j, (m) => (m.vocab.b = m.vocab.a)),
    /^model.vocab\["b"\] must be unlike the other ids, got 97, which "a" has/,
  ],
  ['an id far away', (j) => edit(j, (m) => (m.vocab.a = 4e9)), /^model.vocab\["a"\] must be an integer from 0 to 299 .*got 4000000000/],
  ['an id below zero', (j) => edit(j, (m) => (m.vocab.a = -1)), /^model.vocab\["a"\] must be an integer from 0/],
  ['an id that is a text', (j) => edit(j, (m) => (m.vocab.a = '97')), /^model.vocab\["a"\] must be an integer .* got "97"/],
  ['a hole in the ids', (j) => edit(j, (m) => delete m.vocab.a), /^added_tokens\[0\].id must be an integer from 0 to 298/],
  ['a byte missing', (j) => edit(j, (m) => rename(m.vocab, 'a', 'aQ')), /^model.vocab must hold all 256 bytes, got no "a" \(byte 97\)/],
  [
    'a token out of the alphabet',
    (j) => edit(j, (m) => rename(m.vocab, 'a', '人')),
    /^model.vocab must hold tokens written in the byte alphabet, got "人"/,
  ],
  ['added tokens of another type', (j) => Object.assign(j, { added_tokens: 5 }), /^added_tokens must be a list, got 5/],
  ['an added token without content', (j) => Object.assign(j, { added_tokens: [{ id: 1 }] }), /^added_tokens\[0\].content must be a text/],
  [
    'an added token without an id',
    (j) => Object.assign(j, { added_tokens: [{ content: 'x' }] }),
    /^added_tokens\[0\].id must be an integer/,
  ],
  [
    'an added token far away',
    (j) => Object.assign(j, { added_tokens: [{ id: 1e9, content: 'x', special: true }] }),
    /^added_tokens\[0\].id must be an integer from 0 to 298 .*got 1000000000/,
  ],
  ['an added token twice', (j) => Object.assign(j, { added_tokens: [added(299), added(299)] }), /^added_tokens\[1\]\.id/],
  [
    'an added token with a wrong flag',
    (j) => Object.assign(j, { added_tokens: [{ ...added(299), special: 'yes' }] }),
    /^added_tokens\[0\].special must be true or false/,
  ],
  ['a pre-tokenizer that is a number', (j) => Object.assign(j, { pre_tokenizer: 5 }), /^pre_tokenizer must be an object, got 5/],
  ['a decoder without a type', (j) => Object.assign(j, { decoder: {} }), /^decoder.type must be a text, got nothing/],
  [
    'an option of another type',
    (j) => edit(j, (m) => Object.assign(m, { dropout: 'x' })),
    /^model.dropout must be a number or null, got "x"/,
  ],
  [
    'a pre-tokenizer nobody knows',
    (j) => Object.assign(j, { pre_tokenizer: { type: 'Nonsense' } }),
    /^cannot be used by @huggingface\/tokenizers: /,
  ],
];

function edit(json: LooseJSON, change: (model: LooseModel) => unknown): void {
  change(json.model);
}

function rename(vocab: Record<string, unknown>, from: string, to: string): void {
  vocab[to] = vocab[from];
  delete vocab[from];
}

function added(id: number): object {
  return { id, content: '<|endoftext|>', special: true };
}

for (const [name, change, message] of edits) {
  test(`tokenizer.json: ${name}`, (t) => {
    const json = copy(BPE);
    change(json);
    t.regex(messageOf(t, JSON.stringify(json)), message);
  });
}

test('character vocabularies', (t) => {
  const wrong: [Edit, RegExp][] = [
    [(j) => edit(j, (m) => rename(m.vocab, 'a', 'ab')), /^model.vocab must hold single characters, got "ab"/],
    [(j) => edit(j, (m) => Object.assign(m, { unk_token: 'a' })), /^model.unk_token must be null or a special token, got "a"/],
    [(j) => edit(j, (m) => (m.vocab.a = 7)), /^model.vocab\["a"\] must be an integer from 0 to 3/],
  ];
  for (const [change, message] of wrong) {
    const json = copy(CHAR);
    change(json);
    t.regex(messageOf(t, JSON.stringify(json)), message);
  }
});

test('what is no JSON object', (t) => {
  t.regex(messageOf(t, ''), /^must be JSON: /);
  t.regex(messageOf(t, '{"model": '), /^must be JSON: /);
  t.regex(messageOf(t, '[1, 2]'), /^content must be an object, got a list of 2/);
  t.regex(messageOf(t, 'null'), /^content must be an object, got null/);
  t.regex(messageOf(t, Uint8Array.of(0x7b, 0xff, 0x7d)), /^must be UTF-8 text/);
});

test('missing files', (t) => {
  inFolder((folder) => {
    t.regex(t.throws(() => loadTokenizer(join(folder, 'none')), { instanceOf: FileError })?.message ?? '', /no such file or folder/);
    t.regex(
      t.throws(() => loadTokenizer(folder), { instanceOf: FileError })?.message ?? '',
      /must hold tokenizer.json, or vocab.json and merges.txt/,
    );
    writeFileSync(join(folder, 'vocab.json'), '{}');
    t.regex(
      t.throws(() => loadTokenizer(folder), { instanceOf: FileError })?.message ?? '',
      /must hold merges.txt or vocab.bpe beside vocab.json/,
    );
    mkdirSync(join(folder, 'merges.txt'));
    t.regex(t.throws(() => loadTokenizer(folder), { instanceOf: FileError })?.message ?? '', /must hold merges.txt or vocab.bpe/);
  });
});

test("GPT-2's pair of files", (t) => {
  const { vocab, merges } = copy(BPE).model as { vocab: Record<string, number>; merges: string[] };
  const load = (vocabulary: JSONValue, lines: string): string =>
    inFolder((folder) => {
      writeFileSync(join(folder, 'vocab.json'), JSON.stringify(vocabulary));
      writeFileSync(join(folder, 'merges.txt'), lines);
      try {
        const tokenizer = loadTokenizer(folder);
        return `${tokenizer.kind} ${tokenizer.vocabSize}`;
      } catch (error) {
        if (!(error instanceof FileError)) throw error;
        return error.message.slice(folder.length + 1).split('\n')[0] ?? '';
      }
    });
  const text = `#version: 0.2\n${merges.join('\n')}\n`;
  t.is(load(vocab, text), 'bpe 299');
  t.is(load({ ...vocab, '<|endoftext|>': 299 }, text.replaceAll('\n', '\r\n')), 'bpe 300');
  t.regex(load(vocab, '#version: 0.2\n'), /^merges.txt: must hold merges, two parts a line, got none/);
  t.regex(load(vocab, `${text}zz\n`), /^merges.txt: line 45 must be two tokens with a space between them, got "zz"/);
  t.regex(load(vocab, `${text}a zzzz\n`), /^merges.txt: line 45: the right part must be a token of the vocabulary, got "zzzz"/);
  t.regex(load(vocab, text.split('\n').slice(0, -3).join('\n')), /^merges.txt: the merges must make every token of the vocabulary/);
  t.regex(load({ ...vocab, more: 300 }, text), /^vocab.json: content\["more"\] must be an integer from 0 to 299/);
  t.regex(load({ ...vocab, a: 'x' }, text), /^vocab.json: content\["a"\] must be an integer/);
  t.regex(load([1], text), /^vocab.json: content must be an object/);
});

test('a damaged file is a FileError or a tokenizer, never anything else', (t) => {
  const good = JSON.stringify(BPE);
  inFolder((folder) => {
    const file = join(folder, 'tokenizer.json');
    const attempt = (content: string): void => {
      writeFileSync(file, content);
      try {
        const tokenizer = loadTokenizer(file);
        if (!(tokenizer.vocabSize <= good.length)) throw new Error(`vocabSize ${tokenizer.vocabSize}`);
      } catch (error) {
        if (!(error instanceof FileError)) throw error;
      }
    };
    const values = fc.constantFrom('null', '-1', '1e9', '"x"', '[]', '{}', 'true', '0.5', '', '97');
    fc.assert(
      fc.property(fc.nat(good.length - 1), values, fc.integer({ min: 1, max: 12 }), (at, value, length) => {
        attempt(good.slice(0, at) + value + good.slice(at + length));
      }),
      { numRuns: 300 },
    );
    // Whole values replaced, so that the file stays JSON.
    const tokens = [...good.matchAll(/:(\d+|"[^"]*"|null|true|false)/g)];
    fc.assert(
      fc.property(fc.nat(tokens.length - 1), values, (k, value) => {
        const match = tokens[k];
        if (match) attempt(`${good.slice(0, match.index + 1)}${value || '""'}${good.slice(match.index + match[0].length)}`);
      }),
      { numRuns: 300 },
    );
    t.is(readFileSync(file, 'utf8').length > 0, true);
  });
});
