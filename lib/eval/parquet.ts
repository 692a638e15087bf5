import { closeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { openForReading } from '../data/text_file.ts';
import { FileError } from '../util/errors.ts';
import { printable } from '../util/show.ts';

/**
 * What reads a file, in a thread of its own: on a damaged file hyparquet may leave a promise that nobody waits for, which would end the
 * process. A row group goes over for each message that asks.
 */
const READER = `
const { parentPort, workerData } = require('node:worker_threads');
const { closeSync, fstatSync, openSync, readSync } = require('node:fs');
const zlib = require('node:zlib');
const by = (name) => (page, length) => new Uint8Array(zlib[name](page, { maxOutputLength: Math.max(1, length) }));
const compressors = {
  GZIP: by('gunzipSync'),
  BROTLI: by('brotliDecompressSync'),
  ZSTD: zlib.zstdDecompressSync ? by('zstdDecompressSync') : noZstandard,
};
function noZstandard() {
  throw new Error('it is compressed with Zstandard, which Node reads from 22.15 on, and this is ' + process.version);
}
(async () => {
  const { parquetMetadataAsync, parquetReadObjects } = await import(workerData.library);
  parentPort.postMessage('loaded');
  const fd = openSync(workerData.path, 'r');
  const { size } = fstatSync(fd);
  const file = {
    byteLength: size,
    slice(start, end = size) {
      if (!(start >= 0 && start <= end && end <= size)) throw new Error('it points to bytes ' + start + ' to ' + end + ' of its ' + size);
      const bytes = new Uint8Array(end - start);
      for (let at = 0; at < bytes.length; ) {
        const got = readSync(fd, bytes, at, bytes.length - at, start + at);
        if (got === 0) throw new Error('it became shorter while it was read');
        at += got;
      }
      return bytes.buffer;
    },
  };
  const metadata = await parquetMetadataAsync(file);
  let [group, start] = [0, 0];
  const next = async () => {
    if (group === metadata.row_groups.length) return null;
    const end = start + Number(metadata.row_groups[group++].num_rows);
    const rows = await parquetReadObjects({ file, metadata, rowStart: start, rowEnd: end, compressors });
    start = end;
    return rows;
  };
  parentPort.on('message', () => next().then((rows) => parentPort.postMessage(rows), fail));
  parentPort.postMessage('ready');
})().catch(fail);
function fail(error) { throw error; }
`;

/** Milliseconds until the thread has loaded its library: no file is to blame for that, and one that is stopped amid it leaves files open. */
const START = 120_000;

/** The reader of a file: what it sends, and what ended it, also between two questions. */
class Reader {
  readonly #path: string;
  readonly #worker: Worker;
  #why: Error | undefined;
  #wake: () => void = () => {};
  readonly #sent: unknown[] = [];

  constructor(path: string) {
    this.#path = path;
    const workerData = { path, library: import.meta.resolve('hyparquet') };
    this.#worker = new Worker(READER, { eval: true, workerData, execArgv: [] });
    const end = (error: Error): void => {
      this.#why ??= error;
      this.#wake();
    };
    this.#worker.on('message', (value) => {
      this.#sent.push(value);
      this.#wake();
    });
    this.#worker.on('error', end);
    this.#worker.on('exit', (code) => end(new Error(`its reader ended with ${code}`)));
  }

  /** The next message. @throws FileError for what ended the reader */
  async next(patience: number): Promise<unknown> {
    while (this.#sent.length === 0) {
      if (this.#why) throw new FileError(this.#path, `must be a Parquet file: ${printable(this.#why.message, 200)}`, { cause: this.#why });
      await new Promise<void>((resolve) => {
        const timer = setTimeout(() => {
          this.#why ??= new Error(`its reader found nothing in ${patience / 1000} s`);
          resolve();
        }, patience);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.#sent.shift();
  }

  ask(): void {
    this.#worker.postMessage('next');
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

/**
 * The rows of a Parquet file, a row group in memory at a time; `row` counts from 1. Read by hyparquet, which is loaded for the first such
 * file: uncompressed, Snappy, gzip, Brotli, and Zstandard where Node has it (from 22.15 on).
 * @param patience milliseconds that the footer and each row group may take: a damaged file may claim rows without end
 * @throws FileError naming the file, for what is no Parquet or is compressed in another way
 */
export async function* readParquetRows(path: string, patience = 120_000): AsyncGenerator<{ value: unknown; row: number }> {
  closeSync(openForReading(path)); // that there is no such file is told as everywhere
  const reader = new Reader(path);
  try {
    await reader.next(START);
    await reader.next(patience); // the footer
    for (let row = 1; ; ) {
      reader.ask();
      const rows = (await reader.next(patience)) as readonly unknown[] | null;
      if (rows === null) return;
      for (const value of rows) yield { value, row: row++ };
    }
  } finally {
    await reader.end();
  }
}
