import type { SeenDocument } from '../train/inspect.ts';
import { command } from './command.ts';
import { note, print, printJSON } from './output.ts';
import { CONFIG, loadConfig, RUN_OPTIONS } from './training.ts';

/** Colours of documents, in turn; NO_COLOR (no-color.org) turns them off, FORCE_COLOR on where stdout is no terminal. */
const COLOURS = [36, 33, 35, 32];
const BOLD_UNDERLINED = '1;4;';

function colours(): boolean {
  if (process.env.NO_COLOR) return false;
  return Boolean(process.env.FORCE_COLOR) || process.stdout.isTTY === true;
}

/** Control characters as they are written in a program, but line breaks with a sign. */
const visible = (text: string): string => JSON.stringify(text).slice(1, -1).replaceAll('\\n', '⏎').replaceAll('\\"', '"');

/** A document on one line: `|` between tokens, and what is learned within « ». */
function line({ tokens }: SeenDocument, index: number, coloured: boolean): string {
  let [text, open] = ['', false];
  for (const [i, token] of tokens.entries()) {
    if (open && !token.learned) text += '»';
    else if (i > 0 && !(token.learned && !open)) text += '|';
    if (token.learned && !open) text += '«';
    open = token.learned;
    const colour = `\u001b[${token.learned ? BOLD_UNDERLINED : ''}${COLOURS[index % COLOURS.length]}m`;
    text += coloured ? `${colour}${visible(token.text)}\u001b[0m` : visible(token.text);
  }
  return open ? `${text}»` : text;
}

/** A line for each token: position, document, id, whether it is learned, text. */
function* tableLines(documents: readonly SeenDocument[]): Generator<string> {
  yield 'position  document      id  learned  token';
  for (const [d, { tokens }] of documents.entries())
    for (const { position, id, learned, text } of tokens)
      yield [
        String(position ?? 'target').padStart(8),
        String(d).padStart(8),
        String(id).padStart(6),
        (learned ? 'yes' : '').padEnd(7),
        visible(text),
      ].join('  ');
}

export const run = command(
  {
    name: 'inspect batch',
    summary: 'a batch of a run, as the model sees it: tokens, what is learned, positions, where documents end',
    positionals: CONFIG,
    options: {
      ...RUN_OPTIONS,
      finetune: { kind: 'flag', help: 'of the finetuning, in place of the pretraining' },
      batch: { kind: 'integer', value: 'N', min: 0, help: 'which batch, from 0 (default 0)' },
      rows: { kind: 'integer', value: 'N', min: 1, help: 'how many of its rows (default 4)' },
      table: { kind: 'flag', help: 'a line for each token' },
    },
    details: [
      'A line is a document of a row: no token sees those of another one. Tokens are separated by |, those within « » are to be predicted',
      'from those before them; all others carry no loss. Padding is left out. Documents have colours; NO_COLOR=1 turns them off.',
    ].join('\n'),
    examples: [
      ['heddle inspect batch configs/quickstart.yaml --rows 1', 'the first row of the first batch'],
      ['heddle inspect batch configs/finetune.yaml --finetune --set finetune.path=pairs.jsonl', 'examples packed into rows'],
    ],
  },
  async ({ values, positionals: [file = ''] }) => {
    const { data, finetune, batch: index = 0, rows = 4 } = values;
    const over = finetune && data !== undefined ? [`finetune.path=${JSON.stringify(data)}`, 'finetune.valPath=null'] : [];
    const config = await loadConfig(file, { ...values, data: finetune ? undefined : data, set: [...over, ...values.set] });
    const { documentsOfRow, finetuneBatch, pretrainBatch } = await import('../train/inspect.ts');
    const seen = await (finetune ? finetuneBatch : pretrainBatch)(config, index, { onMessage: note });
    const { batch } = seen;
    const shown = Array.from({ length: Math.min(rows, batch.rows) }, (_, row) => documentsOfRow(seen, row));
    if (values.json) {
      const { rows: B, length: T, targetCount } = batch;
      printJSON({ command: 'inspect batch', run: config.name, batch: index, rows: B, length: T, targetCount, documents: shown });
      return 0;
    }
    const share = ((100 * batch.targetCount) / (batch.rows * batch.length)).toFixed(1);
    print(`batch ${index}: ${batch.rows} rows of ${batch.length} tokens, ${batch.targetCount} of them (${share} %) learned`);
    for (const [row, documents] of shown.entries()) {
      print(`\nrow ${row}`);
      if (values.table) for (const text of tableLines(documents)) print(text);
      else for (const [d, document] of documents.entries()) print(`${String(document.start).padStart(5)}  ${line(document, d, colours())}`);
    }
    return 0;
  },
);
