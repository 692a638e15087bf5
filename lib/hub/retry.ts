import { ConnectionError, HubError } from './error.ts';
import type { HubSettings } from './settings.ts';

/** So many attempts in a row may bring nothing. */
const ATTEMPTS = 5;
const FIRST_PAUSE_MS = 100;

/** Statuses that say: another attempt may meet a better moment. */
const isPassing = (status: number | undefined): boolean => status !== undefined && (status === 408 || status === 429 || status >= 500);

const mayPass = (error: unknown): boolean => error instanceof ConnectionError || (error instanceof HubError && isPassing(error.status));

/**
 * Tries again, after growing pauses, while what goes wrong may pass and `progress` (a number that grows with what was brought) does not
 * stand still for five attempts.
 * @throws the last error
 */
export async function persist<T>(settings: HubSettings, task: () => Promise<T>, progress: () => number = () => 0): Promise<T> {
  for (let failures = 0; ; ) {
    const before = progress();
    try {
      return await task();
    } catch (error) {
      failures = progress() > before ? 0 : failures + 1;
      if (!mayPass(error) || failures === ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE_MS * 2 ** failures));
      settings.signal?.throwIfAborted();
    }
  }
}
