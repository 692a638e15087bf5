// One part of a source, tokenized and written to shards.
import { join } from 'node:path';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { FileError } from '../util/errors.ts';
import type { PreparedPart } from './prepared.ts';
import { type ShardKind, ShardWriter } from './shard_writer.ts';
import type { Source, SourceItem } from './source.ts';
import type { Part } from './split.ts';

/** Writes the shards of one part. */
export class PartWriter {
  readonly #folder: string;
  readonly #name: Part;
  readonly #kind: ShardKind;
  readonly #tokenizer: Tokenizer;
  readonly #shardTokens: number;
  readonly part: PreparedPart = { shards: [], tokens: 0, documents: 0, targets: 0, textBytes: 0, predictedBytes: 0 };
  #writer: ShardWriter | undefined;

  constructor(folder: string, name: Part, tokenizer: Tokenizer, masked: boolean, shardTokens: number) {
    this.#folder = folder;
    this.#name = name;
    this.#tokenizer = tokenizer;
    this.#kind = { vocabSize: tokenizer.vocabSize, endOfText: tokenizer.endOfText, tokenizerHash: tokenizer.hash(), masked };
    this.#shardTokens = shardTokens;
  }

  add(item: SourceItem): void {
    const end = this.#tokenizer.endOfText;
    if (item.kind === 'text') {
      const tokens = this.#tokenizer.encodeBytes(item.bytes);
      let before = 0; // bytes of the first token of all, where nothing precedes it
      if (item.first && end !== undefined) this.#append([end], true, 0, true);
      else if (this.part.tokens === 0 && tokens.length > 0) before = this.#tokenizer.tokenBytes(tokens[0] as number).length;
      this.#append(tokens, true, item.bytes.length, item.first && end === undefined);
      this.part.predictedBytes += item.bytes.length - before;
      return;
    }
    const prompt = item.prompt === '' && end !== undefined ? [end] : this.#tokenizer.encode(item.prompt);
    if (prompt.length === 0)
      throw new FileError(item.file, `line ${item.line}: prompt must not be empty with a tokenizer that has no end-of-text token`);
    const completion = this.#tokenizer.encode(item.completion);
    const completionBytes = Buffer.byteLength(item.completion);
    this.#append(prompt, false, Buffer.byteLength(item.prompt), true);
    this.#append(completion, true, completionBytes, false);
    if (end !== undefined) this.#append([end], true, 0, false);
    this.part.predictedBytes += completionBytes;
  }

  /** Appends tokens; a new shard begins where the old one is full, within a text if need be. */
  #append(tokens: ArrayLike<number>, loss: boolean, textBytes: number, begins: boolean): void {
    const { part } = this;
    const rest = tokens instanceof Uint32Array ? tokens : Uint32Array.from(tokens);
    let bytes = textBytes;
    for (let done = 0; done < rest.length; ) {
      if (this.#writer === undefined) {
        const name = `${this.#name}-${String(part.shards.length).padStart(3, '0')}.tokens`;
        this.#writer = new ShardWriter(join(this.#folder, name), this.#kind);
        part.shards.push(name);
      }
      if (begins && done === 0) {
        this.#writer.beginDocument();
        part.documents++;
      }
      const count = Math.min(rest.length - done, this.#shardTokens - this.#writer.count);
      this.#writer.append(rest.subarray(done, done + count), loss, bytes);
      bytes = 0;
      done += count;
      if (this.#writer.count >= this.#shardTokens) this.#close();
    }
    part.tokens += rest.length;
    part.textBytes += textBytes;
    if (loss) part.targets += rest.length;
  }

  #close(): void {
    this.#writer?.finish();
    this.#writer = undefined;
  }

  /** @throws FileError when nothing came. */
  finish(source: Source): PreparedPart {
    if (this.part.tokens === 0)
      throw new FileError(source.name, `the ${this.#name} part must hold at least one token, got none (the text is too small to split)`);
    this.#close();
    return this.part;
  }

  abandon(): void {
    this.#writer?.abandon();
    this.#writer = undefined;
  }
}
