import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ChatFormat, type Generated, GenerationEngine, plainChatFormat } from '../generate/index.ts';
import type { GPT } from '../models/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { ArgumentError, HeddleError, isOutOfMemory } from '../util/errors.ts';
import { Answer } from './answers.ts';
import { RequestError } from './fields.ts';
import { chatWork, completionWork, type Served, type Work } from './requests.ts';

export interface ServeOptions {
  /** What clients call the model. Default `heddle`. */
  name?: string;
  /** Where to listen. Default 127.0.0.1: this machine alone. */
  host?: string;
  /** Default 8000; 0: one that is free. */
  port?: number;
  /** Texts that are computed together (`GenerationEngine`). Default 4. */
  rows?: number;
  /** Texts that may wait for a row; a request beyond them is refused with 429. Default 64. */
  maxWaiting?: number;
  /** Tokens that a request may ask for, of each text; more is refused with 400. Default: the model's context, at least 4096. */
  maxTokens?: number;
  /** How a conversation becomes a prompt. Default `plainChatFormat`. */
  chatFormat?: ChatFormat;
  /** What clients must send as `Authorization: Bearer KEY`. Default: nothing. */
  apiKey?: string;
  /** Called when a request has been answered. */
  onAnswer?: (served: ServedRequest) => void;
}

/** What became of a request. */
export interface ServedRequest {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly seconds: number;
  /** Where the fault was ours. */
  readonly error?: Error;
}

export interface RunningServer {
  /** `http://127.0.0.1:8000` */
  readonly url: string;
  /** Ends requests that are under way and stops listening; the model is yours again. */
  close(): Promise<void>;
}

const MOST_BYTES = 8 << 20;
const POSTS: Readonly<Record<string, (body: unknown, served: Served) => Work>> = {
  '/v1/completions': completionWork,
  '/v1/chat/completions': chatWork,
};
const GETS = ['/health', '/v1/models'];

/** The JSON of a request. @throws RequestError */
async function bodyOf(request: IncomingMessage): Promise<unknown> {
  // A page of the web may send other types anywhere without being asked; for this one the browser asks first, and is not answered.
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? ''))
    throw new RequestError(415, `content-type must be application/json, got ${request.headers['content-type'] ?? 'none'}`);
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > MOST_BYTES) throw new RequestError(413, `the request must be at most ${MOST_BYTES} bytes`);
    pieces.push(piece);
  }
  try {
    return JSON.parse(Buffer.concat(pieces).toString('utf8'));
  } catch (error) {
    throw new RequestError(400, `the request must be JSON: ${(error as Error).message}`);
  }
}

/** An error as the client is told of it. */
function asRequestError(error: unknown): RequestError {
  if (error instanceof RequestError) return error;
  if (error instanceof ArgumentError) return new RequestError(400, error.message.replace(/^GenerationEngine: /, ''));
  if (isOutOfMemory(error)) return new RequestError(503, error.message);
  return new RequestError(500, error instanceof HeddleError ? error.message : 'the server failed');
}

function sendJSON(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json', ...(status === 429 && { 'retry-after': '1' }) });
  response.end(JSON.stringify(body));
}

class Service {
  readonly #engine: GenerationEngine;
  readonly #served: Served;
  readonly #options: ServeOptions;
  readonly #name: string;
  readonly #rows: number;
  readonly #maxWaiting: number;
  /** Ends what is under way. */
  readonly stop = new AbortController();

  constructor(model: GPT, tokenizer: Tokenizer, options: ServeOptions) {
    const { contextLength } = model.config;
    const { rows = 4, maxWaiting = 64, maxTokens = Math.max(contextLength, 4096), name = 'heddle', chatFormat = plainChatFormat } = options;
    if (!(Number.isInteger(maxWaiting) && maxWaiting >= 0))
      throw new ArgumentError(`serve: maxWaiting must be an integer of at least 0, got ${maxWaiting}`);
    if (!(Number.isInteger(maxTokens) && maxTokens >= 1))
      throw new ArgumentError(`serve: maxTokens must be an integer of at least 1, got ${maxTokens}`);
    this.#options = options;
    this.#name = name;
    this.#rows = rows;
    this.#maxWaiting = maxWaiting;
    this.#engine = new GenerationEngine(model, tokenizer, { rows });
    this.#served = { tokenizer, contextLength, chatFormat, mostTexts: rows + maxWaiting, maxTokens };
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const started = performance.now();
    const path = (request.url ?? '/').split('?', 1)[0] as string;
    const method = request.method ?? 'GET';
    const cost = { prompt: 0, completion: 0 };
    let fault: Error | undefined;
    try {
      this.#check(request, method, path);
      if (method === 'GET') sendJSON(response, 200, this.#about(path));
      else await this.#answer(path, await bodyOf(request), response, cost);
    } catch (error) {
      const told = asRequestError(error);
      if (told.status >= 500 && error instanceof Error) fault = error;
      const body = {
        error: {
          ...{ message: told.message, type: told.status < 500 ? 'invalid_request_error' : 'server_error' },
          ...{ param: told.param, code: told.code },
        },
      };
      if (!request.complete && !response.headersSent) response.setHeader('connection', 'close'); // nobody reads the rest of it
      if (response.destroyed) response.statusCode = told.status;
      else if (!response.headersSent) sendJSON(response, told.status, body);
      else response.end(`data: ${JSON.stringify(body)}\n\n`); // amid a stream
    }
    const { statusCode: status } = response;
    this.#options.onAnswer?.({
      ...{ method, path, status, promptTokens: cost.prompt, completionTokens: cost.completion },
      ...{ seconds: (performance.now() - started) / 1000, ...(fault && { error: fault }) },
    });
  }

  /** @throws RequestError for whom or what is not served */
  #check(request: IncomingMessage, method: string, path: string): void {
    const known = Object.hasOwn(POSTS, path) ? 'POST' : GETS.includes(path) ? 'GET' : undefined;
    if (known === undefined) throw new RequestError(404, `there is no ${path}; there are ${[...Object.keys(POSTS), ...GETS].join(', ')}`);
    if (method !== known) throw new RequestError(405, `${path} takes ${known}, got ${method}`);
    const { apiKey } = this.#options;
    if (apiKey === undefined || path === '/health') return;
    const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
    if (!timingSafeEqual(digest(request.headers.authorization ?? ''), digest(`Bearer ${apiKey}`)))
      throw new RequestError(401, 'the request must have the header "Authorization: Bearer KEY" with the key of this server', {
        code: 'invalid_api_key',
      });
  }

  #about(path: string): object {
    if (path === '/health') return { status: 'ok', running: this.#engine.running, waiting: this.#engine.waiting };
    return { object: 'list', data: [{ id: this.#name, object: 'model', created: 0, owned_by: 'heddle' }] };
  }

  async #answer(path: string, body: unknown, response: ServerResponse, cost: { prompt: number; completion: number }): Promise<void> {
    const work = (POSTS[path] as (typeof POSTS)[string])(body, this.#served);
    const texts = work.prompts.flatMap((ids) => Array.from({ length: work.samples }, (_, sample) => ({ ids, sample })));
    const room = this.#rows - this.#engine.running + this.#maxWaiting - this.#engine.waiting;
    if (texts.length > room)
      throw new RequestError(429, `too much to do: ${this.#engine.waiting} texts wait already, try again later`, { code: 'overloaded' });

    const answer = new Answer(work, this.#name);
    const gone = new AbortController();
    const signal = AbortSignal.any([gone.signal, this.stop.signal]);
    response.on('close', () => gone.abort(new RequestError(499, 'the client went away')));
    const say = (object: object | undefined): void => {
      if (object) response.write(`data: ${JSON.stringify(object)}\n\n`);
    };
    if (work.stream) response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    const onToken = (): void => {
      cost.completion++;
    };
    cost.prompt = work.prompts.reduce((sum, ids) => sum + ids.length, 0);
    const generate = async ({ ids, sample }: (typeof texts)[number], index: number): Promise<Generated> => {
      const chat = work.kind === 'chat';
      let said = !chat; // blanks before an answer are the format's
      const onText = (piece: string): void => {
        const text = said ? piece : piece.trimStart();
        said ||= text !== '';
        if (text !== '') say(answer.piece(index, text));
      };
      if (work.stream) say(answer.begin(index));
      const text = await this.#engine.generate(ids, { ...work.options, sample, signal, onToken, ...(work.stream && { onText }) });
      if (work.stream) say(answer.end(index, text));
      return chat ? { ...text, text: text.text.trimStart() } : text;
    };
    try {
      const generated = await Promise.all(texts.map(generate));
      if (!work.stream) return sendJSON(response, 200, answer.whole(generated, cost));
      if (work.usage) say(answer.usage(cost));
      response.end('data: [DONE]\n\n');
    } catch (error) {
      gone.abort(error); // the other texts of the request
      throw error;
    }
  }

  async close(): Promise<void> {
    this.stop.abort(new RequestError(503, 'the server is stopping'));
    await this.#engine.close();
  }
}

/**
 * Serves a model over HTTP as OpenAI's API does: `POST /v1/completions` and `/v1/chat/completions`, whole or streamed as server-sent events,
 * `GET /v1/models` and `/health`. Requests run together (`GenerationEngine`); one with a seed is answered with the same text whatever else
 * runs. The model must stay as it is until `close`, and is not disposed of.
 * @throws ArgumentError for a wrong option, HeddleError (ERR_HEDDLE_SERVE) where it cannot listen
 */
export async function serve(model: GPT, tokenizer: Tokenizer, options: ServeOptions = {}): Promise<RunningServer> {
  const { host = '127.0.0.1', port = 8000 } = options;
  if (!(Number.isInteger(port) && port >= 0 && port < 65536))
    throw new ArgumentError(`serve: port must be an integer from 0 to 65535, got ${port}`);
  const { createServer } = await import('node:http');
  const service = new Service(model, tokenizer, options);
  const server: Server = createServer((request, response) => {
    // A connection that is kept for another request would keep a server that stops for seconds.
    response.on('close', () => service.stop.signal.aborted && request.socket.destroySoon());
    void service.handle(request, response);
  });
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, resolve);
    });
  } catch (error) {
    await service.close();
    throw new HeddleError('ERR_HEDDLE_SERVE', `serve: cannot listen on ${host}:${port}: ${(error as Error).message}`, {
      cause: error,
      hint: 'Name another port, or 0 for one that is free.',
    });
  }
  const { address, family, port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}`,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      await service.close();
      server.closeIdleConnections();
      await closed;
    },
  };
}
