import { printable } from './show.ts';

/** An error about a file is cut beyond so many characters. */
const LONGEST = 2000;

/** What every error of heddle has: a stable code for programs and, where there is one, a remedy for people. */
export class HeddleError extends Error {
  /** Stable, for programs: `ERR_HEDDLE_...`. */
  readonly code: string;
  /** What to do about it: a command or a sentence. */
  readonly hint: string | undefined;

  constructor(code: string, message: string, options: { hint?: string; cause?: unknown } = {}) {
    // Names and values in it may come from foreign files.
    super(
      printable(options.hint ? `${message}\n  ${options.hint}` : message),
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = new.target.name;
    this.code = code;
    this.hint = options.hint;
  }
}

/** Whether a device, or the system, had no memory for what was asked. */
export function isOutOfMemory(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && error.code === 'ERR_HEDDLE_OUT_OF_MEMORY';
}

/** Whether a device has failed, or cannot be used. */
export function isOfDevice(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && error.code === 'ERR_HEDDLE_DEVICE';
}

/** A wrong argument of a function or an option: the message names it, what was expected and what came. */
export class ArgumentError extends HeddleError {
  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super('ERR_HEDDLE_ARGUMENT', message, options);
  }
}

/** A file that cannot be read, or does not hold what it should: the message names the file and the field. */
export class FileError extends HeddleError {
  readonly file: string;

  constructor(file: string, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super('ERR_HEDDLE_FILE', printable(`${file}: ${message}`, LONGEST), options);
    this.file = file;
  }
}
