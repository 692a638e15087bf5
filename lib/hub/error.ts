import { HeddleError } from '../util/errors.ts';

/** What the hub, or the way to it, refuses. Never holds a token or a signed address. */
export class HubError extends HeddleError {
  /** Of the answer, where one came. */
  readonly status: number | undefined;

  constructor(message: string, options: { status?: number | undefined; hint?: string; cause?: unknown } = {}) {
    super('ERR_HEDDLE_HUB', message, options);
    this.status = options.status;
  }
}

/** The connection, not the answer: no name, no route, cut, too slow. Another attempt may help, or a copy in the cache. */
export class ConnectionError extends HubError {}
