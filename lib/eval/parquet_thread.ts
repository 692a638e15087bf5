import { Worker } from 'node:worker_threads';
import { FileError } from '../util/errors.ts';
import { printable } from '../util/show.ts';

/**
 * What the thread runs: one file open at a time, a row group for each message that asks. On a damaged file hyparquet may leave promises
 * that nobody waits for, which would end a process; here they are that file's errors. All that it awaits is ready at once, so none is left
 * when the next macrotask says that the file is closed.
 */
const THREAD = `
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
let [fd, groups] = [undefined, undefined];
async function* rowGroups({ parquetMetadataAsync, parquetReadObjects }) {
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
  yield 'ready';
  let start = 0;
  for (const { num_rows } of metadata.row_groups) {
    const end = start + Number(num_rows);
    yield await parquetReadObjects({ file, metadata, rowStart: start, rowEnd: end, compressors });
    start = end;
  }
}
const fail = (error) => parentPort.postMessage({ error: error instanceof Error ? error : new Error(String(error)) });
process.on('unhandledRejection', fail);
const asked = {
  open(library, path) {
    fd = openSync(path, 'r');
    groups = rowGroups(library);
  },
  next: () => groups.next().then(({ value = null }) => parentPort.postMessage({ value }), fail),
  close() {
    if (fd !== undefined) closeSync(fd);
    fd = undefined;
    setImmediate(() => parentPort.postMessage('closed'));
  },
};
import(workerData.library).then((library) => {
  parentPort.on('message', ([what, path]) => {
    try {
      asked[what](library, path);
    } catch (error) {
      fail(error);
    }
  });
  parentPort.postMessage('loaded');
});
`;

/** Milliseconds until a thread has loaded its library, or closed a file: no file is to blame for those. */
const START = 120_000;

interface Answer {
  readonly value?: unknown;
  readonly error?: Error;
}

/** A thread that waits for its next file: to start one and load its library takes longer than to read most files. */
let idle: ParquetThread | undefined;

/** What reads Parquet files, one after the other, in a thread of its own: a damaged file may keep it busy for ever. */
export class ParquetThread {
  readonly #worker: Worker;
  #path = '';
  #why: Error | undefined;
  #wake: () => void = () => {};
  #sent: (Answer | string)[] = [];

  private constructor() {
    this.#worker = new Worker(THREAD, { eval: true, workerData: { library: import.meta.resolve('hyparquet') }, execArgv: [] });
    const end = (error: Error): void => {
      this.#why ??= error;
      this.#wake();
    };
    this.#worker.on('message', (message: Answer | string) => {
      this.#sent.push(message);
      this.#wake();
    });
    this.#worker.on('error', end);
    this.#worker.on('exit', (code) => end(new Error(`its reader ended with ${code}`)));
  }

  /** A thread that has opened the file and read its footer; `close` it. */
  static async open(path: string, patience: number): Promise<ParquetThread> {
    const thread = idle ?? new ParquetThread();
    const fresh = thread !== idle;
    idle = undefined;
    thread.#path = path;
    thread.#worker.ref();
    try {
      if (fresh) await thread.#answer(START); // 'loaded'
      thread.#worker.postMessage(['open', path]);
      await thread.next(patience);
      return thread;
    } catch (error) {
      await thread.close();
      throw error;
    }
  }

  /**
   * The rows of the next row group, null behind the last.
   * @throws FileError for what is wrong with the file, or when `patience` milliseconds have passed
   */
  async next(patience: number): Promise<unknown> {
    this.#worker.postMessage(['next']);
    const answer = (await this.#answer(patience)) as Answer;
    if (answer.error) this.#refuse(answer.error);
    return answer.value;
  }

  /** Closes the file. The thread waits for another one, unless it died, was given up, or one waits already. */
  async close(): Promise<void> {
    if (!this.#why) {
      this.#worker.postMessage(['close']);
      try {
        while ((await this.#answer(START)) !== 'closed'); // until then, what that file still had to say
      } catch {} // then #why says it
    }
    if (this.#why || idle) {
      await this.#worker.terminate();
    } else {
      idle = this;
      this.#worker.unref();
    }
  }

  async #answer(patience: number): Promise<Answer | string> {
    while (this.#sent.length === 0) {
      if (this.#why) this.#refuse(this.#why);
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
    return this.#sent.shift() as Answer | string;
  }

  #refuse(cause: Error): never {
    throw new FileError(this.#path, `must be a Parquet file: ${printable(cause.message, 200)}`, { cause });
  }
}
