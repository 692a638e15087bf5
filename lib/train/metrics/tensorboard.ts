import { closeSync, mkdirSync, openSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { ArgumentError } from '../../util/errors.ts';
import { naming, quietly, writeAll } from '../../util/files.ts';
import { maskedCrc32c } from './crc32c.ts';

// A TensorBoard event file is a TFRecord file of protobuf messages. The few fields of event.proto and summary.proto needed:
//   Event          1: double wall_time   2: int64 step   3: string file_version   5: Summary summary   7: SessionLog session_log
//   SessionLog     1: SessionStatus status (1: START)
//   Summary        1: repeated Summary.Value
//   Summary.Value  1: string tag   2: float simple_value

const encoder = new TextEncoder();

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Base-128, least significant group first. Exact up to 2^53. */
function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  bytes.push(rest);
  return Uint8Array.from(bytes);
}

const key = (field: number, wireType: 0 | 1 | 2 | 5): Uint8Array => varint(field * 8 + wireType);

const message = (field: number, bytes: Uint8Array): Uint8Array => concat([key(field, 2), varint(bytes.length), bytes]);

function fixed(field: number, value: number, bytes: 4 | 8): Uint8Array {
  const view = new DataView(new ArrayBuffer(bytes));
  if (bytes === 8) view.setFloat64(0, value, true);
  else view.setFloat32(0, value, true);
  return concat([key(field, bytes === 8 ? 1 : 5), new Uint8Array(view.buffer)]);
}

/** TFRecord: u64 length, its masked CRC, the data, its masked CRC. */
function frame(data: Uint8Array): Uint8Array {
  const record = new Uint8Array(8 + 4 + data.length + 4);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc32c(record.subarray(0, 8)), true);
  record.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc32c(data), true);
  return record;
}

/** Writes scalars that TensorBoard shows, into a new `events.out.tfevents.*` file of a folder. */
export class TensorBoardWriter {
  readonly file: string;
  readonly #now: () => number;
  #fd: number | undefined;

  /**
   * With `resumeAt`, the step of the checkpoint that the run goes on from, TensorBoard forgets the later steps of older files.
   * `now` gives seconds since 1970.
   * @throws FileError where the file cannot be made.
   */
  constructor(folder: string, { resumeAt, now = () => Date.now() / 1000 }: { resumeAt?: number; now?: () => number } = {}) {
    this.#now = now;
    const seconds = Math.floor(now());
    // TensorBoard reads the files of a folder in the order of their names; a resumed run comes after the one before it.
    this.file = join(
      folder,
      `events.out.tfevents.${String(seconds).padStart(10, '0')}.${hostname()}.${process.pid}.${process.hrtime.bigint()}`,
    );
    naming(this.file, 'create', () => {
      mkdirSync(folder, { recursive: true });
      this.#fd = openSync(this.file, 'wx');
    });
    try {
      this.#append(message(3, encoder.encode('brain.Event:2')));
      // A session that starts at a step purges what was logged from that step on.
      if (resumeAt !== undefined) this.#append(concat([key(2, 0), varint(resumeAt + 1), message(7, concat([key(1, 0), varint(1)]))]));
    } catch (error) {
      quietly(() => this.close());
      throw error;
    }
  }

  /** One point of each named curve; TensorBoard groups names by what stands before their `/`. Values are kept as f32. */
  scalars(step: number, values: Readonly<Record<string, number>>): void {
    if (!(Number.isSafeInteger(step) && step >= 0))
      throw new ArgumentError(`TensorBoardWriter: step must be an integer from 0, got ${step}`);
    const summary = Object.entries(values).map(([tag, value]) => message(1, concat([message(1, encoder.encode(tag)), fixed(2, value, 4)])));
    this.#append(concat([concat([key(2, 0), varint(step)]), message(5, concat(summary))]));
  }

  /** Nothing can be written afterwards; a second call does nothing. */
  close(): void {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) naming(this.file, 'close', () => closeSync(fd));
  }

  #append(event: Uint8Array): void {
    if (this.#fd === undefined) throw new ArgumentError(`TensorBoardWriter: ${this.file} is closed`);
    const record = frame(concat([fixed(1, this.#now(), 8), event]));
    writeAll(this.file, this.#fd, record);
  }
}
