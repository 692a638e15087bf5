// Requests to the hub: redirects followed by hand, so that the token stays with the hub; a limit on silence, not on length.
import { ConnectionError, HubError } from './error.ts';
import type { HubSettings } from './settings.ts';

const REDIRECTS = [301, 302, 303, 307, 308];
const MOST_REDIRECTS = 10;

export interface HubRequest {
  readonly method?: 'GET' | 'HEAD';
  readonly headers?: Readonly<Record<string, string>>;
  /** An answer with this redirect is wanted itself, not what it points to. */
  readonly stopAt?: (response: Response) => boolean;
}

/** An answer whose body must be read, or cancelled, under the same limit on silence. */
export interface HubAnswer {
  readonly response: Response;
  /** The body piece by piece. @throws ConnectionError where it is cut or falls silent */
  body(): AsyncGenerator<Uint8Array>;
  /** For whoever does not read the body. */
  close(): Promise<void>;
}

/** Aborts what it is given to when nothing was heard for so long, or when the caller says so. */
class Silence {
  readonly #controller = new AbortController();
  readonly #ms: number;
  readonly #outer: AbortSignal | undefined;
  readonly #stop = (): void => this.#controller.abort();
  #timer: NodeJS.Timeout | undefined;
  passed = false;

  constructor({ timeoutMs, signal }: HubSettings) {
    this.#ms = timeoutMs;
    this.#outer = signal;
    signal?.throwIfAborted();
    signal?.addEventListener('abort', this.#stop);
    this.heard();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  heard(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.passed = true;
      this.#controller.abort();
    }, this.#ms);
  }

  /** While nobody listens. */
  rest(): void {
    clearTimeout(this.#timer);
  }

  end(): void {
    this.rest();
    this.#outer?.removeEventListener('abort', this.#stop);
  }
}

/** What fetch threw, without the address that it speaks of: that of a redirect may be signed. */
function connectionError(host: string, silence: Silence, settings: HubSettings, error: unknown): Error {
  if (settings.signal?.aborted) return settings.signal.reason as Error;
  if (silence.passed) return new ConnectionError(`${host}: no answer within ${settings.timeoutMs / 1000} s`);
  const cause = error instanceof Error ? (error.cause as { code?: unknown } | undefined) : undefined;
  const code = typeof cause?.code === 'string' ? cause.code : 'the connection was cut';
  return new ConnectionError(`${host}: cannot be reached: ${code}`);
}

/** Where a redirect leads. @throws HubError where it leads nowhere, to something that is not the web, or from https to http */
function target(response: Response, from: URL): URL {
  const location = response.headers.get('location') ?? '';
  if (!URL.canParse(location, from.href)) throw new HubError(`${from.host}: a redirect must name an address, got none that can be read`);
  const to = new URL(location, from.href);
  if (to.protocol !== 'https:' && to.protocol !== from.protocol)
    throw new HubError(
      `${from.host}: a redirect must stay with ${from.protocol.slice(0, -1)} or go to https, got ${to.protocol.slice(0, -1)}`,
    );
  to.username = '';
  to.password = '';
  return to;
}

/** Asks for a path of the hub, such as `/api/models/owner/name`. The token goes to the hub's own host and port alone. */
export async function ask(settings: HubSettings, path: string, request: HubRequest = {}): Promise<HubAnswer> {
  const hub = new URL(settings.endpoint).origin;
  const silence = new Silence(settings);
  let url = new URL(`${settings.endpoint}${path}`);
  try {
    for (let hops = 0; ; hops++) {
      const own = url.origin === hub && settings.token !== undefined;
      const headers = { 'accept-encoding': 'identity', 'user-agent': 'heddle', ...request.headers };
      let response: Response;
      try {
        response = await fetch(url.href, {
          method: request.method ?? 'GET',
          headers: own ? { ...headers, authorization: `Bearer ${settings.token}` } : headers,
          redirect: 'manual',
          signal: silence.signal,
        });
      } catch (error) {
        throw connectionError(url.host, silence, settings, error);
      }
      silence.heard();
      if (!REDIRECTS.includes(response.status) || request.stopAt?.(response)) return answer(response, url.host, silence, settings);
      if (hops === MOST_REDIRECTS) throw new HubError(`${url.host}: redirects must end, got more than ${MOST_REDIRECTS}`);
      await response.body?.cancel().catch(() => undefined);
      url = target(response, url);
    }
  } catch (error) {
    silence.end();
    throw error;
  }
}

function answer(response: Response, host: string, silence: Silence, settings: HubSettings): HubAnswer {
  return {
    response,
    async *body() {
      try {
        if (response.body)
          for await (const piece of response.body) {
            silence.rest(); // what the reader does meanwhile is not the hub's silence
            yield piece;
            silence.heard();
          }
      } catch (error) {
        throw connectionError(host, silence, settings, error);
      } finally {
        silence.end();
      }
    },
    async close() {
      silence.end();
      await response.body?.cancel().catch(() => undefined);
    },
  };
}

/** The whole body, of up to `most` bytes. */
export async function readBody(answered: HubAnswer, what: string, most: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of answered.body()) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > most) throw new HubError(`${what}: the answer must be at most ${most} bytes, got more`);
  }
  return Buffer.concat(pieces);
}
