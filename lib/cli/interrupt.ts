import { constants } from 'node:os';
import { HeddleError } from '../util/errors.ts';
import { note } from './output.ts';

/** npm passes Ctrl-C on to a program that the terminal has told already: signals this close are one key press. */
const SAME_KEY_MS = 200;

type Signal = 'SIGINT' | 'SIGTERM';

/** Work that a signal ended. */
export class Interrupted extends HeddleError {
  readonly exitCode: number;

  constructor(signal: Signal) {
    super('ERR_HEDDLE_INTERRUPTED', 'stopped before it was done');
    this.exitCode = exitCodeOf(signal);
  }
}

/** 130 for SIGINT, as shells count: 128 and the signal's number. */
const exitCodeOf = (signal: Signal): number => 128 + constants.signals[signal];

/**
 * Runs work that Ctrl-C (or SIGTERM) asks to end: the first one says `message` and aborts the signal with an `Interrupted`, a
 * second one ends the process at once.
 */
export async function interruptible<T>(message: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let first = 0;
  const onSignal = (name: Signal): void => {
    if (!controller.signal.aborted) {
      first = performance.now();
      // On a terminal a progress line and the echo of ^C stand in the line.
      note(`${process.stderr.isTTY ? '\n' : ''}${message} Ctrl-C again quits at once.`);
      controller.abort(new Interrupted(name));
    } else if (performance.now() - first > SAME_KEY_MS) {
      note('Quit.');
      process.exit(exitCodeOf(name));
    }
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    return await work(controller.signal);
  } catch (error) {
    // Node's own functions reject with an AbortError of theirs.
    throw error instanceof Error && error.name === 'AbortError' && controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}
