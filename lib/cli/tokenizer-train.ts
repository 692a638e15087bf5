import type { Source } from '../data/source.ts';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { note, print, printJSON } from './output.ts';

const DEFAULT_VOCABULARY = 8192;

/** The documents of a source; those of a large file come in pieces. */
function* documents(source: Source): Generator<string | Uint8Array> {
  for (const item of source.items()) yield item.kind === 'text' ? item.bytes : item.prompt + item.completion;
}

export const run = command(
  {
    name: 'tokenizer train',
    summary: 'learn a vocabulary from a text and write it as tokenizer.json',
    positionals: [{ name: 'FILE|FOLDER', help: 'text: .txt, .md, .jsonl' }],
    options: {
      out: { kind: 'text', value: 'FOLDER', help: 'where tokenizer.json goes; needed' },
      kind: { kind: 'text', value: 'KIND', choices: ['bpe', 'char', 'byte'], help: 'default bpe' },
      'vocab-size': { kind: 'integer', value: 'N', min: 257, help: `tokens of a bpe; default ${DEFAULT_VOCABULARY}` },
      'min-frequency': { kind: 'integer', value: 'N', min: 1, help: 'rarer pairs are not merged by bpe; default 2' },
      json: { kind: 'flag', help: 'the result as one JSON object' },
    },
    examples: [
      ['heddle tokenizer train texts/ --out my-tokenizer --vocab-size 4096', 'a byte-level BPE'],
      ['heddle tokenizer train input.txt --out chars --kind char', 'every character of the text is a token'],
    ],
  },
  async ({ values, positionals: [path = ''] }) => {
    const { out, kind = 'bpe' } = values;
    if (out === undefined) throw new UsageError('tokenizer train: --out is missing: the folder for tokenizer.json');
    for (const name of ['vocab-size', 'min-frequency'] as const)
      if (kind !== 'bpe' && values[name] !== undefined) throw new UsageError(`tokenizer train: --${name} is only for --kind bpe`);
    const { openSource } = await import('../data/source.ts');
    const { BPETokenizer, ByteTokenizer, CharTokenizer, saveTokenizer } = await import('../tokenizer/index.ts');
    const source = openSource(path);
    const started = performance.now();
    let last = started;
    const train = () => {
      if (kind === 'byte') return new ByteTokenizer();
      if (kind === 'char') return CharTokenizer.train(documents(source));
      return BPETokenizer.train(documents(source), {
        vocabSize: values['vocab-size'] ?? DEFAULT_VOCABULARY,
        minFrequency: values['min-frequency'],
        onProgress(tokens, of) {
          if (performance.now() - last < 5000) return;
          last = performance.now();
          note(`${tokens} of ${of} tokens`);
        },
      });
    };
    const tokenizer = train();
    saveTokenizer(tokenizer, out);
    const seconds = (performance.now() - started) / 1000;
    if (values.json)
      printJSON({ command: 'tokenizer train', folder: out, kind, vocabSize: tokenizer.vocabSize, hash: tokenizer.hash(), seconds });
    else print(`${out}: ${kind}, ${tokenizer.vocabSize} tokens, in ${seconds.toFixed(1)} s`);
    return 0;
  },
);
