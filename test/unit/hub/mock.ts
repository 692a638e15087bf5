// A hub on the loopback interface, with a second host (another port) that large files are redirected to. It can refuse, cut and dawdle.
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ExecutionContext } from 'ava';

export const COMMIT = 'c0ffee'.padEnd(40, '0');

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
export const gitSha1 = (bytes: Uint8Array): string => createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

export interface MockFile {
  readonly bytes: Uint8Array;
  /** Lies on the other host, by its sha256. */
  readonly large?: boolean;
  /** In place of the true one. */
  readonly etag?: string;
}

/** What happens to a request before the usual answer; true: it is answered. */
export type Trick = (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;

export interface MockHub {
  readonly endpoint: string;
  readonly files: Map<string, MockFile>;
  /** Each request in order: `HEAD /owner/name/...`, with `storage:` in front for the other host. */
  readonly requests: string[];
  readonly headers: { readonly line: string; readonly authorization: string | undefined; readonly range: string | undefined }[];
  commit: string;
  /** On the hub, and on the other host. */
  trick: Trick;
  storageTrick: Trick;
  close(): Promise<void>;
}

const listen = (server: Server): Promise<string> =>
  new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)));

/** Sends bytes, or the range of them that is asked for. */
export function sendBytes(request: IncomingMessage, response: ServerResponse, bytes: Uint8Array): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? -1);
  if (from < 0) response.writeHead(200, { 'content-length': bytes.length });
  else
    response.writeHead(206, {
      'content-length': bytes.length - from,
      'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}`,
    });
  response.end(request.method === 'HEAD' ? undefined : bytes.subarray(Math.max(0, from)));
}

/** Sends the first `count` bytes of what was asked for and cuts the connection. */
export function sendAndCut(request: IncomingMessage, response: ServerResponse, bytes: Uint8Array, count: number): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  response.writeHead(from > 0 ? 206 : 200, {
    'content-length': bytes.length - from,
    'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}`,
  });
  response.write(bytes.subarray(from, from + count), () => setTimeout(() => response.destroy(), 20));
}

export async function mockHub(t: ExecutionContext, files: Record<string, MockFile>, id = 'owner/name'): Promise<MockHub> {
  const never: Trick = () => false;
  const hub: MockHub = {
    endpoint: '',
    files: new Map(Object.entries(files)),
    requests: [],
    headers: [],
    commit: COMMIT,
    trick: never,
    storageTrick: never,
    close,
  };
  let storage = '';

  const note = (request: IncomingMessage, where: string): void => {
    const line = `${where}${request.method} ${request.url}`;
    hub.requests.push(line);
    hub.headers.push({ line, authorization: request.headers.authorization, range: request.headers.range });
  };
  const refuse = (response: ServerResponse, status: number, code?: string): void => {
    response.writeHead(status, code === undefined ? {} : { 'x-error-code': code }).end();
  };
  const resolve = (request: IncomingMessage, response: ServerResponse, name: string): void => {
    const file = hub.files.get(name);
    if (!file) {
      refuse(response, 404, 'EntryNotFound');
      return;
    }
    const etag = file.etag ?? (file.large ? sha256 : gitSha1)(file.bytes);
    response.setHeader('x-repo-commit', hub.commit);
    if (!file.large) {
      response.setHeader('etag', `"${etag}"`);
      sendBytes(request, response, file.bytes);
      return;
    }
    response.setHeader('x-linked-etag', `"${etag}"`).setHeader('x-linked-size', file.bytes.length);
    response.writeHead(302, { location: `${storage}/${name}?signature=secret` }).end();
  };

  const main = createServer(async (request, response) => {
    note(request, '');
    if (await hub.trick(request, response)) return;
    const url = decodeURIComponent(request.url ?? '');
    if (url.startsWith(`/api/models/${id}/revision/`)) {
      const revision = url.slice(`/api/models/${id}/revision/`.length);
      if (!['main', 'refs/pr/1', hub.commit].includes(revision)) {
        refuse(response, 404, 'RevisionNotFound');
        return;
      }
      response.end(JSON.stringify({ sha: hub.commit, siblings: [...hub.files.keys()].map((rfilename) => ({ rfilename })) }));
      return;
    }
    // Python tools name the branch here, heddle the commit that it stands at.
    const prefix = ['main', hub.commit].map((revision) => `/${id}/resolve/${revision}/`).find((start) => url.startsWith(start));
    if (prefix !== undefined) resolve(request, response, url.slice(prefix.length));
    else refuse(response, 401, 'RepoNotFound');
  });
  const other = createServer(async (request, response) => {
    note(request, 'storage:');
    if (await hub.storageTrick(request, response)) return;
    const name = decodeURIComponent(new URL(request.url ?? '', 'http://x').pathname.slice(1));
    sendBytes(request, response, (hub.files.get(name) as MockFile).bytes);
  });
  async function close(): Promise<void> {
    for (const server of [main, other]) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  }
  const endpoint = await listen(main);
  storage = await listen(other);
  t.teardown(close);
  return Object.assign(hub, { endpoint });
}

/** A model's files: small ones, and weights on the other host. */
export function modelFiles(weights = new Uint8Array(200_000).map((_, i) => i % 251)): Record<string, MockFile> {
  const text = (content: string): MockFile => ({ bytes: new TextEncoder().encode(content) });
  return {
    'README.md': text('# a model'),
    'config.json': text('{"model_type":"gpt2"}'),
    'tokenizer.json': text('{}'),
    'tokenizer_config.json': text('{}'),
    'model.safetensors': { bytes: weights, large: true },
  };
}
