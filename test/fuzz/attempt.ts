// One case: a folder is read, and what comes of it is judged.
import { statSync } from 'node:fs';
import { getHeapStatistics } from 'node:v8';
import { memory, resetPeakMemory } from '../../lib/tensor/device.ts';
import { HeddleError } from '../../lib/util/errors.ts';
import type { Format } from './format.ts';

/** Of the processor's time, which does not depend on what else the machine does; more counts as a hang. */
const CASE_MS = 5000;
/** Buffers that a reader holds however small its file: chunks of a megabyte, a table of characters. */
export const ALLOWANCE = 8 << 20;
/** JavaScript's own objects. JSON takes many times its size there, so this is a bound on the whole, not on each byte. */
const HEAP_LIMIT = 96 << 20;
const LONGEST_MESSAGE = 8000;

export interface Outcome {
  readonly kind: 'read' | 'refused' | 'failed';
  /** Of an error; empty where all was read. */
  readonly message: string;
  /** What is wrong, with the place in the code; empty unless it failed. */
  readonly failure: string;
  readonly ms: number;
  /** Bytes that buffers and tensors grew by. */
  readonly buffers: number;
}

/** What is wrong with an error that a reader threw; undefined where it is as it should be. */
export function wrongError(error: unknown, folder: string): string | undefined {
  if (!(error instanceof HeddleError)) return `threw ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  const { message } = error;
  if (!message.includes(folder)) return `the error names no file: ${error.stack}`;
  const said = message.replaceAll(folder, '').replace(/^\/[^:\s]*:/, '');
  if (said.trim().length < 8) return `the error says nothing: ${message}`;
  if (message.length > LONGEST_MESSAGE) return `the error is ${message.length} characters long: ${message.slice(0, 300)}`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  if (/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]/.test(message))
    return `the error holds control characters: ${JSON.stringify(message.slice(0, 300))}`;
  return undefined;
}

function tensorBytes(): number {
  return memory('cpu').used;
}

/** Reads a folder that holds `bytes` bytes. */
export async function attempt(format: Format, folder: string, bytes: number): Promise<Outcome> {
  resetPeakMemory('cpu');
  const tensorsBefore = tensorBytes();
  const before = getHeapStatistics();
  const started = performance.now();
  const cpu = process.cpuUsage();
  let [message, failure] = ['', ''];
  try {
    await format.read(folder);
  } catch (error) {
    message = error instanceof Error ? error.message : String(error);
    failure = wrongError(error, folder) ?? '';
  }
  const ms = performance.now() - started;
  const { user, system } = process.cpuUsage(cpu);
  const after = getHeapStatistics();
  const tensors = memory('cpu').peak - tensorsBefore;
  const buffers = Math.max(0, after.external_memory - before.external_memory) + Math.max(0, tensors);
  const limit = 2 * bytes + (format.allowance ?? ALLOWANCE);
  if (failure === '' && (user + system) / 1000 > CASE_MS) failure = `took ${((user + system) / 1e6).toFixed(1)} s of the processor`;
  if (failure === '' && buffers > limit) failure = `took ${buffers} bytes of buffers and tensors for files of ${bytes} bytes`;
  const heap = after.used_heap_size - before.used_heap_size;
  if (failure === '' && heap > HEAP_LIMIT) failure = `took ${heap} bytes of the heap for files of ${bytes} bytes`;
  if (failure === '' && tensorBytes() > tensorsBefore)
    failure = `left ${tensorBytes() - tensorsBefore} bytes of tensors behind (${message})`;
  return { kind: failure !== '' ? 'failed' : message === '' ? 'read' : 'refused', message, failure, ms, buffers };
}

/** The bytes of files. */
export function sizeOf(paths: readonly string[]): number {
  return paths.reduce((sum, path) => sum + (statSync(path, { throwIfNoEntry: false })?.size ?? 0), 0);
}

/** A message without what differs from case to case. */
export function kindOf(message: string, folder: string): string {
  return message
    .replaceAll(folder, '')
    .replace(/"(?:[^"\\]|\\.)*"?/g, '"…"')
    .replace(/\b\d[\d.e+]*\b/g, '0')
    .replace(/(, got|JSON(?: in UTF-8)?:) .*/s, '$1 …')
    .slice(0, 200);
}
