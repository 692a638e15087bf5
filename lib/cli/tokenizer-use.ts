import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Tokenizer } from '../tokenizer/index.ts';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { note, print, printJSON } from './output.ts';

const TOKENIZER = {
  name: 'TOKENIZER',
  help: "tokenizer.json, a folder with one (or with vocab.json and merges.txt), a run's folder, or an id of the hub",
};

async function open(path: string): Promise<Tokenizer> {
  const { loadTokenizer } = await import('../tokenizer/index.ts');
  const ofRun = join(path, 'tokenizer');
  if (existsSync(join(ofRun, 'tokenizer.json'))) return loadTokenizer(ofRun);
  const checkpoints = join(path, 'checkpoints');
  if (!existsSync(checkpoints)) {
    const { tokenizerFolder } = await import('../hub/index.ts');
    return loadTokenizer(await tokenizerFolder(path, { onMessage: note }));
  }
  // A tokenizer that was not trained for the run stands only beside its weights.
  const { latestCheckpoint } = await import('../checkpoint/folder.ts');
  const { checkpoint } = await latestCheckpoint(checkpoints);
  return loadTokenizer(checkpoint?.folder ?? path);
}

const stdin = (): Uint8Array => readFileSync(0);

export const encode = command(
  {
    name: 'tokenizer encode',
    summary: 'text to token ids, on one line',
    positionals: [TOKENIZER, { name: 'TEXT', help: 'without it, all of stdin, byte for byte', optional: true }],
    options: {
      special: { kind: 'flag', help: 'special tokens such as <|endoftext|> may come out of the text' },
      json: { kind: 'flag', help: '{ ids, tokens }, with the text of each token' },
    },
    examples: [
      ['heddle tokenizer encode runs/quickstart "Call me Ishmael."', 'the ids of a text'],
      ['heddle tokenizer encode my-tokenizer < chapter.txt', 'the ids of a file'],
    ],
  },
  async ({ values, positionals: [path = '', text] }) => {
    const tokenizer = await open(path);
    const options = values.special ? { allowedSpecial: 'all' as const } : {};
    const ids = Array.from(text === undefined ? tokenizer.encodeBytes(stdin(), options) : tokenizer.encode(text, options));
    if (values.json) printJSON({ command: 'tokenizer encode', ids, tokens: ids.map((id) => tokenizer.decode([id])) });
    else print(ids.join(' '));
    return 0;
  },
);

export const decode = command(
  {
    name: 'tokenizer decode',
    summary: 'token ids to text, byte for byte',
    positionals: [
      TOKENIZER,
      { name: 'ID', help: 'without any, ids from stdin, between spaces, commas or lines', optional: true, many: true },
    ],
    options: { json: { kind: 'flag', help: '{ text }' } },
    examples: [
      ['heddle tokenizer decode runs/quickstart 34 271 5', 'the text of three tokens'],
      ['heddle tokenizer encode my-tokenizer < a.txt | heddle tokenizer decode my-tokenizer', 'there and back'],
    ],
  },
  async ({ values, positionals: [path = '', ...given] }) => {
    const tokenizer = await open(path);
    const words = (given.length > 0 ? given.join(' ') : new TextDecoder().decode(stdin())).split(/[\s,[\]]+/).filter((word) => word !== '');
    const wrong = words.find((word) => !/^\d+$/.test(word));
    if (wrong !== undefined) throw new UsageError(`tokenizer decode: ID must be an integer from 0, got ${JSON.stringify(wrong)}`);
    const ids = words.map(Number);
    if (values.json) printJSON({ command: 'tokenizer decode', text: tokenizer.decode(ids) });
    else process.stdout.write(tokenizer.decodeBytes(ids));
    return 0;
  },
);

export const info = command(
  {
    name: 'tokenizer info',
    summary: 'what a tokenizer is',
    positionals: [TOKENIZER],
    options: { json: { kind: 'flag', help: 'one JSON object' } },
    examples: [['heddle tokenizer info runs/quickstart', 'kind, size and special tokens']],
  },
  async ({ values, positionals: [path = ''] }) => {
    const tokenizer = await open(path);
    const { kind, vocabSize, endOfText = null } = tokenizer;
    const special = Object.fromEntries(tokenizer.specialTokens);
    const hash = tokenizer.hash();
    if (values.json) printJSON({ command: 'tokenizer info', kind, vocabSize, endOfText, specialTokens: special, hash });
    else {
      print(`kind        ${kind}\nvocabulary  ${vocabSize} tokens`);
      for (const [content, id] of Object.entries(special)) print(`special     ${id} ${content}`);
      print(`hash        ${hash}`);
    }
    return 0;
  },
);
