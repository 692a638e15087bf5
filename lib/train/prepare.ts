import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CorpusName,
  fetchCorpus,
  type OpenPrepared,
  openPrepared,
  openSource,
  type PrepareProgress,
  planSplit,
  prepare,
  readPart,
  type Source,
  splitItems,
} from '../data/index.ts';
import { type HubOptions, type HubProgress, tokenizerFolder } from '../hub/index.ts';
import type { GPTConfig } from '../models/index.ts';
import { BPETokenizer, ByteTokenizer, CharTokenizer, loadTokenizer, saveTokenizer, type Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError } from '../util/errors.ts';
import { makeFolder, removeFile, writeFileAtomic } from '../util/files.ts';
import { modelConfig, type RunConfig } from './config.ts';

export interface PrepareHooks {
  signal?: AbortSignal;
  /** A line for people, before anything slow. */
  onMessage?: (line: string) => void;
  onPrepare?: (progress: PrepareProgress) => void;
  /** How far a file of the hub has come. */
  onDownload?: (progress: HubProgress) => void;
}

/** The hooks as the hub takes them. */
export function hubOptions({ signal, onMessage, onDownload }: PrepareHooks): HubOptions {
  return { ...(signal && { signal }), ...(onMessage && { onMessage }), ...(onDownload && { onProgress: onDownload }) };
}

/** Text, tokenizer and shards of a run. */
export interface PreparedRun {
  tokenizer: Tokenizer;
  prepared: OpenPrepared;
  /** The model's configuration, its vocabulary known. */
  model: GPTConfig;
  /** UTF-8 of one part of the text, at most `maxBytes`. */
  text(part: 'train' | 'validation', maxBytes?: number): Promise<Uint8Array>;
  close(): void;
}

/** Bytes of the training part that a tokenizer is trained on at most. */
const TOKENIZER_BYTES = 200 << 20;

async function sourcePath(run: RunConfig, hooks: PrepareHooks): Promise<string> {
  const { path, corpus } = run.data;
  if (path !== undefined) return path;
  if (corpus === undefined)
    throw new ArgumentError('data must name a text: data.path or data.corpus in the configuration', {
      hint: 'Or give --data FILE|FOLDER.',
    });
  const options = { ...(hooks.onMessage && { onMessage: hooks.onMessage }), ...(hooks.signal && { signal: hooks.signal }) };
  return (await fetchCorpus(corpus as CorpusName, options)).path;
}

function* documents(source: Source): Generator<string | Uint8Array> {
  for (const item of source.items()) yield item.kind === 'text' ? item.bytes : item.prompt + item.completion;
}

/** The configured tokenizer: loaded, or trained on the run's text (a BPE on the training part alone) and kept in the run's folder. */
async function tokenizerOf(run: RunConfig, source: Source, valSource: Source | null, hooks: PrepareHooks): Promise<Tokenizer> {
  const t = run.tokenizer;
  const folder = join(run.out, 'tokenizer');
  if (t.kind === 'load') return loadTokenizer(await tokenizerFolder(t.path as string, hubOptions(hooks)));
  if (t.kind === 'byte') return new ByteTokenizer();
  const plan = await planSplit(source, valSource ? 0 : run.data.valFraction, async () => hooks.signal?.throwIfAborted());
  const stamp = `${plan.contentHash}:${JSON.stringify(t)}:${run.data.valFraction}`;
  const stampFile = join(folder, 'source.json');
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === JSON.stringify(stamp)) return loadTokenizer(folder);
  hooks.onMessage?.(t.kind === 'char' ? 'collecting the characters of the text' : `training a BPE tokenizer of ${t.vocabSize} tokens`);
  let tokenizer: Tokenizer;
  if (t.kind === 'char') {
    // All of the text, as in nanoGPT: a character that only the validation part holds needs an id too.
    const all = function* (): Generator<string | Uint8Array> {
      yield* documents(source);
      if (valSource) yield* documents(valSource);
    };
    tokenizer = CharTokenizer.train(all());
  } else {
    let bytes = 0;
    const training = function* (): Generator<string | Uint8Array> {
      for (const item of splitItems(source, plan, 'train')) {
        const piece = item.kind === 'text' ? item.bytes : item.prompt + item.completion;
        yield piece;
        bytes += piece.length;
        if (bytes > TOKENIZER_BYTES) return;
      }
    };
    tokenizer = BPETokenizer.train(training(), { vocabSize: t.vocabSize as number, minFrequency: t.minFrequency });
  }
  makeFolder(folder);
  removeFile(stampFile); // it must not vouch for the new tokenizer before that one is whole
  saveTokenizer(tokenizer, folder);
  writeFileAtomic(stampFile, JSON.stringify(stamp));
  return tokenizer;
}

/** Step 1 of a run: its text (fetched if it is one of ours), its tokenizer, its shards in `<out>/data`. What is there is reused. */
export async function prepareRun(run: RunConfig, hooks: PrepareHooks = {}): Promise<PreparedRun> {
  const path = await sourcePath(run, hooks);
  const source = openSource(path);
  const valSource = run.data.valPath === undefined ? null : openSource(run.data.valPath);
  const tokenizer = await tokenizerOf(run, source, valSource, hooks);
  const folder = join(run.out, 'data');
  await prepare({
    source,
    tokenizer,
    out: folder,
    ...(valSource ? { valSource } : { valFraction: run.data.valFraction }),
    ...(run.data.shardTokens !== undefined && { shardTokens: run.data.shardTokens }),
    ...(hooks.onPrepare && { onProgress: hooks.onPrepare }),
    ...(hooks.signal && { signal: hooks.signal }),
  });
  const prepared = openPrepared(folder, { tokenizer });
  return {
    tokenizer,
    prepared,
    model: modelConfig(run, tokenizer.vocabSize),
    async text(part, maxBytes = 64 << 20) {
      if (part === 'validation' && valSource) return readPart(valSource, await planSplit(valSource, 0), 'train', maxBytes);
      return readPart(source, await planSplit(source, valSource ? 0 : run.data.valFraction), part, maxBytes);
    },
    close: () => prepared.close(),
  };
}
