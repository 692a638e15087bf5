import { spawn } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { fetchFile, fetchModel, fetchTokenizer, HubError, type HubOptions, type HubProgress } from '../../../lib/hub/index.ts';
import { ArgumentError, FileError } from '../../../lib/util/errors.ts';
import { temporaryFolder } from '../checkpoint/support.ts';
import { COMMIT, gitSha1, type MockHub, mockHub, modelFiles, sendAndCut, sha256 } from './mock.ts';

const ID = 'owner/name';
const TOKEN = 'hf_aSecretThatMustNotShow';

const optionsFor = (t: ExecutionContext, hub: MockHub, more: HubOptions = {}): HubOptions => ({
  endpoint: hub.endpoint,
  cacheDir: temporaryFolder(t),
  token: false,
  offline: false,
  timeout: 5,
  ...more,
});

const repoFolder = (options: HubOptions): string => join(options.cacheDir as string, 'models--owner--name');

async function fails(
  t: ExecutionContext,
  task: Promise<unknown>,
  message: RegExp,
  type: typeof HubError | typeof FileError | typeof ArgumentError = HubError,
) {
  const error = (await t.throwsAsync(task, { instanceOf: type as never, message })) as Error & { cause?: unknown };
  const all = `${error.message} ${error.stack} ${JSON.stringify(error)} ${error.cause}`;
  t.false(all.includes(TOKEN) || all.includes('signature='), all);
  return error;
}

test('a model comes into the cache as huggingface_hub lays it out; the second time only the revision is asked for', async (t) => {
  const hub = await mockHub(t, modelFiles());
  const seen: HubProgress[] = [];
  const options = optionsFor(t, hub, { onProgress: (p) => seen.push(p) });
  const folder = await fetchModel(ID, options);
  const repo = repoFolder(options);
  t.is(folder, join(repo, 'snapshots', COMMIT));
  t.deepEqual(readdirSync(folder).sort(), ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']);
  t.is(readFileSync(join(repo, 'refs', 'main'), 'utf8'), COMMIT);
  const weights = hub.files.get('model.safetensors')?.bytes as Uint8Array;
  t.deepEqual(readFileSync(join(folder, 'model.safetensors')), Buffer.from(weights));
  if (process.platform !== 'win32') {
    t.is(readlinkSync(join(folder, 'model.safetensors')), join('..', '..', 'blobs', sha256(weights)));
    t.is(readlinkSync(join(folder, 'config.json')), join('..', '..', 'blobs', gitSha1(hub.files.get('config.json')?.bytes as Uint8Array)));
  }
  t.deepEqual(
    readdirSync(join(repo, 'blobs')).filter((name) => name.includes('.')),
    [],
  );
  t.deepEqual(seen.at(-1), { file: 'model.safetensors', bytes: weights.length, total: weights.length });

  hub.requests.length = 0;
  t.is(await fetchModel(ID, options), folder);
  t.deepEqual(hub.requests, [`GET /api/models/${ID}/revision/main`]);
  t.is(await fetchModel(ID, { ...options, offline: true }), folder);
  t.is(hub.requests.length, 1);
});

test('what Python tools fetched is used: blobs without links, files without blobs', async (t) => {
  const hub = await mockHub(t, modelFiles());
  const options = optionsFor(t, hub);
  const repo = repoFolder(options);
  const weights = hub.files.get('model.safetensors')?.bytes as Uint8Array;
  mkdirSync(join(repo, 'blobs'), { recursive: true });
  mkdirSync(join(repo, 'snapshots', COMMIT), { recursive: true });
  writeFileSync(join(repo, 'blobs', sha256(weights)), weights);
  writeFileSync(join(repo, 'snapshots', COMMIT, 'config.json'), 'a copy, on a system without links');
  const folder = await fetchModel(ID, options);
  t.is(readFileSync(join(folder, 'config.json'), 'utf8'), 'a copy, on a system without links');
  t.false(hub.requests.some((line) => line.startsWith('storage:') || (line.includes('config.json') && !line.includes('tokenizer'))));
  t.is(readFileSync(join(folder, 'model.safetensors')).length, weights.length);
});

test('revisions: a branch with slashes, a commit, none of them', async (t) => {
  const hub = await mockHub(t, modelFiles());
  const options = optionsFor(t, hub);
  await fetchTokenizer(ID, { ...options, revision: 'refs/pr/1' });
  t.is(readFileSync(join(repoFolder(options), 'refs', 'refs', 'pr', '1'), 'utf8'), COMMIT);
  const folder = await fetchTokenizer(ID, { ...options, revision: COMMIT });
  t.deepEqual(readdirSync(folder).sort(), ['tokenizer.json', 'tokenizer_config.json']);
  t.is(await fetchTokenizer(ID, { ...options, revision: COMMIT, offline: true }), folder);
  await fails(
    t,
    fetchTokenizer(ID, { ...options, revision: 'v2' }),
    /^owner\/name: revision must be one of its branches, tags or commits, got v2$/,
  );
  for (const revision of ['../main', '/main', 'a\\b', 'a//b', '..', '', 'x y', 'a/../../b'])
    await fails(t, fetchTokenizer(ID, { ...options, revision }), /^hub: revision must be a branch, a tag or a commit/, ArgumentError);
});

test('the token goes to the hub and not to where it redirects', async (t) => {
  const hub = await mockHub(t, modelFiles());
  await fetchModel(ID, optionsFor(t, hub, { token: `${TOKEN}\n` }));
  for (const { line, authorization } of hub.headers) t.is(authorization, line.startsWith('storage:') ? undefined : `Bearer ${TOKEN}`, line);
  t.true(hub.headers.some(({ line }) => line.startsWith('storage:')));
});

test('redirects: a renamed model, a circle, out of the web, nowhere', async (t) => {
  const hub = await mockHub(t, modelFiles());
  const to =
    (location: string) =>
    (request: { url?: string | undefined }, response: import('node:http').ServerResponse): boolean => {
      if (!request.url?.includes('old')) return false;
      response.writeHead(307, { location: location === 'new' ? request.url.replace('old/model', ID) : location }).end();
      return true;
    };
  hub.trick = to('new');
  const options = optionsFor(t, hub, { token: TOKEN });
  const folder = await fetchModel('old/model', options);
  t.true(folder.includes('models--old--model'));
  hub.trick = to('/api/models/old/again');
  await fails(t, fetchModel('old/model', options), /redirects must end, got more than 10/);
  hub.trick = to('file:///etc/passwd');
  await fails(t, fetchModel('old/model', options), /a redirect must stay with http or go to https, got file/);
  hub.trick = to('http://');
  await fails(t, fetchModel('old/model', options), /a redirect must name an address/);
});

test('refusals: 401, 403, gated, 404, 429, 500', async (t) => {
  const hub = await mockHub(t, modelFiles());
  const options = optionsFor(t, hub, { token: TOKEN });
  await fails(
    t,
    fetchModel('owner/other', options),
    /^owner\/other: no such model on 127\.0\.0\.1:\d+, or a private one \(401\)\n {2}Is the name right\? The token in use gives no access to it\.$/,
  );
  const answer = (status: number, code?: string, where = 'resolve') => {
    hub.trick = (request, response) => {
      if (!request.url?.includes(where)) return false;
      response.writeHead(status, code ? { 'x-error-code': code } : {}).end();
      return true;
    };
  };
  answer(403, 'GatedRepo');
  await fails(
    t,
    fetchModel(ID, options),
    /^owner\/name: config\.json: access must be asked for \(403\)\n {2}Ask on its page http:\/\/127\.0\.0\.1:\d+\/owner\/name\. The token/,
  );
  answer(403);
  await fails(t, fetchModel(ID, { ...options, token: false }), /access is refused \(403\)\n.*Set HF_TOKEN where it needs a login/);
  answer(404);
  const error = await fails(t, fetchModel(ID, options), /^owner\/name: config\.json: not found \(404\)$/);
  t.is((error as HubError).status, 404);
  t.is((error as HubError).code, 'ERR_HEDDLE_HUB');
  answer(429, undefined, 'api');
  await fails(t, fetchModel(ID, options), /too many requests \(429\)/);
  answer(500, undefined, 'api');
  await fails(t, fetchModel(ID, options), /the hub answered 500/);
});

test('a cut connection goes on where it was cut, and one that brings nothing ends', async (t) => {
  const hub = await mockHub(t, modelFiles());
  const weights = hub.files.get('model.safetensors')?.bytes as Uint8Array;
  let cuts = 0;
  hub.storageTrick = (request, response) => {
    if (cuts++ >= 7) return false;
    sendAndCut(request, response, weights, 20_000);
    return true;
  };
  const folder = await fetchModel(ID, optionsFor(t, hub));
  t.deepEqual(readFileSync(join(folder, 'model.safetensors')), Buffer.from(weights));
  const ranges = hub.headers.filter(({ line }) => line.startsWith('storage:')).map(({ range }) => range);
  t.is(ranges[0], undefined);
  t.true(ranges.length === 8 && ranges.slice(1).every((range) => /^bytes=\d+-$/.test(range ?? '')), ranges.join());

  hub.storageTrick = (_, response) => {
    response.destroy();
    return true;
  };
  await fails(t, fetchModel(ID, optionsFor(t, hub)), /^127\.0\.0\.1:\d+: cannot be reached: UND_ERR_SOCKET|connection was cut/);
});

test('what an ended process left is taken over; a server without ranges begins anew', async (t) => {
  const hub = await mockHub(t, modelFiles());
  const weights = hub.files.get('model.safetensors')?.bytes as Uint8Array;
  for (const ranges of [true, false]) {
    const options = optionsFor(t, hub);
    const blob = join(repoFolder(options), 'blobs', sha256(weights));
    mkdirSync(join(blob, '..'), { recursive: true });
    // No process has this number: Linux' largest is 2^22, and Windows' are multiples of 4.
    writeFileSync(`${blob}.${2 ** 30 + 1}-0.incomplete`, weights.subarray(0, 150_000));
    hub.headers.length = 0;
    hub.storageTrick = (_, response) => {
      if (!ranges) response.writeHead(200, { 'content-length': weights.length }).end(weights);
      return !ranges;
    };
    const folder = await fetchModel(ID, options);
    t.deepEqual(readFileSync(join(folder, 'model.safetensors')), Buffer.from(weights));
    t.deepEqual(
      hub.headers.filter(({ line }) => line.startsWith('storage:')).map(({ range }) => range),
      ['bytes=150000-'],
    );
    t.deepEqual(
      readdirSync(join(blob, '..')).filter((name) => name.includes('.')),
      [],
    );
  }
});

test('wrong contents are refused and forgotten: hash, too many bytes, a damaged beginning', async (t) => {
  for (const large of [true, false]) {
    const files = modelFiles();
    const hub = await mockHub(t, {
      ...files,
      'model.safetensors': {
        bytes: files['model.safetensors']?.bytes as Uint8Array,
        large,
        etag: (large ? sha256 : gitSha1)(new Uint8Array(3)),
      },
    });
    const options = optionsFor(t, hub);
    await fails(
      t,
      fetchModel(ID, options),
      /^owner\/name: model\.safetensors: (sha256|git's sha1) must be [0-9a-f]+, got [0-9a-f]+: what came is not what the hub announced$/,
    );
    t.deepEqual(
      readdirSync(join(repoFolder(options), 'blobs')).filter((name) => name.includes('.')),
      [],
    );
    t.throws(() => lstatSync(join(repoFolder(options), 'snapshots', COMMIT, 'model.safetensors')));
    t.throws(() => lstatSync(join(repoFolder(options), 'refs', 'main')));
  }
  const hub = await mockHub(t, modelFiles());
  hub.storageTrick = (_, response) => {
    response.writeHead(200).end(new Uint8Array(300_000));
    return true;
  };
  await fails(t, fetchModel(ID, optionsFor(t, hub)), /model\.safetensors: must be 200000 bytes as the hub said, got more/);
  for (const etag of ['../../../evil', 'abc', '', 'A'.repeat(64)]) {
    const strange = await mockHub(t, { ...modelFiles(), 'config.json': { bytes: new Uint8Array(2), etag } });
    await fails(t, fetchModel(ID, optionsFor(t, strange)), /config\.json: etag must be a sha256 or git's sha1/);
  }
});

test('a hub that falls silent: an error after the timeout, the cache where it has the model', async (t) => {
  const hub = await mockHub(t, modelFiles());
  const lines: string[] = [];
  const options = optionsFor(t, hub, { timeout: 0.3, onMessage: (line) => lines.push(line) });
  const folder = await fetchModel(ID, { ...options, timeout: 5 });
  hub.trick = () => true; // never answers
  t.is(await fetchModel(ID, options), folder);
  t.regex(lines.join(), /^127\.0\.0\.1:\d+: no answer within 0\.3 s; using what the cache holds of owner\/name$/);
  await fails(t, fetchModel(ID, { ...options, cacheDir: temporaryFolder(t) }), /no answer within 0\.3 s$/);

  const slow = await mockHub(t, modelFiles());
  let began = 0;
  slow.storageTrick = (_, response) => {
    began++;
    response.writeHead(200, { 'content-length': 200_000 }).write(new Uint8Array(10)); // and no more
    return true;
  };
  await fails(t, fetchModel(ID, optionsFor(t, slow, { timeout: 0.5 })), /no answer within 0\.5 s$/);
  t.true(began >= 1);
  await hub.close();
  t.is(await fetchModel(ID, options), folder);
  await fails(t, fetchModel(ID, { ...options, cacheDir: temporaryFolder(t) }), /cannot be reached: ECONNREFUSED/);
});

test('offline: what is missing is told, with the way out', async (t) => {
  const hub = await mockHub(t, modelFiles());
  const options = optionsFor(t, hub, { offline: true });
  await fails(
    t,
    fetchModel(ID, options),
    /^owner\/name: revision main is not in the cache .*models--owner--name, and the hub is not asked \(offline\)\n {2}Fetch the model once without HF_HUB_OFFLINE\.$/,
  );
  await fetchTokenizer(ID, { ...options, offline: false });
  await fails(t, fetchModel(ID, options), /^owner\/name: config\.json is not in the cache/);
  t.deepEqual(
    hub.requests.filter((line) => line.includes('config.json') && !line.includes('tokenizer_config')),
    [],
  );
});

test('names that lead out of the cache are refused', async (t) => {
  const hostile = ['../../evil', '/etc/evil', 'a\\..\\evil', 'C:evil', 'a/../../evil', './x', 'sub/evil', 'evil\u0000', ''];
  for (const shard of hostile) {
    const index = new TextEncoder().encode(JSON.stringify({ weight_map: { w: shard } }));
    const { 'model.safetensors': weights, ...rest } = modelFiles();
    const hub = await mockHub(t, { ...rest, 'model.safetensors.index.json': { bytes: index }, [shard]: weights as never });
    await fails(t, fetchModel(ID, optionsFor(t, hub)), /index\.json: weight_map: "w" must name a file of the folder/, FileError);
  }
  const hub = await mockHub(t, modelFiles());
  for (const name of ['../config.json', '..', '/config.json', 'a\\b', 'a/./b'])
    await fails(t, fetchFile(ID, name, optionsFor(t, hub)), /a file must have a name that stays in its folder/);
  for (const id of ['..', '../name', 'owner/..', 'owner/name/more', 'a\\b', 'owner/na--me', '/name', 'owner/', 'x', 'owner/name.git'])
    await fails(t, fetchModel(id, optionsFor(t, hub)), /^hub: id must be owner\/name, got/, ArgumentError);
  hub.commit = '../../../../evil';
  await fails(t, fetchModel(ID, optionsFor(t, hub)), /^owner\/name: sha must be the commit of the revision, got "\.\.\/\.\./);
});

test('shards come by the index; one that the model has not is an error', async (t) => {
  const { 'model.safetensors': weights, ...rest } = modelFiles();
  const index = (...shards: string[]) =>
    new TextEncoder().encode(JSON.stringify({ weight_map: Object.fromEntries(shards.map((s, i) => [`w${i}`, s])) }));
  const hub = await mockHub(t, {
    ...rest,
    'model.safetensors.index.json': { bytes: index('a.safetensors', 'b.safetensors', 'a.safetensors') },
    'a.safetensors': weights as never,
    'b.safetensors': weights as never,
  });
  const folder = await fetchModel(ID, optionsFor(t, hub));
  t.deepEqual(
    readdirSync(folder).filter((name) => name.endsWith('.safetensors')),
    ['a.safetensors', 'b.safetensors'],
  );
  t.is(hub.requests.filter((line) => line.startsWith('storage:')).length, 1, 'equal contents are fetched once');
  hub.files.set('model.safetensors.index.json', { bytes: index('c.safetensors') });
  await fails(t, fetchModel(ID, optionsFor(t, hub)), /^owner\/name: the model has no file c\.safetensors$/);
  hub.files.delete('model.safetensors.index.json');
  await fails(
    t,
    fetchModel(ID, optionsFor(t, hub)),
    /must have model\.safetensors or model\.safetensors\.index\.json, got neither\n {2}Weights in other formats/,
  );
});

const child = (env: Record<string, string>): Promise<{ code: number | null; out: string; err: string }> =>
  new Promise((resolve) => {
    const started = spawn(process.execPath, ['--import=tsx', 'test/unit/hub/child.ts', ID], { env: { ...process.env, ...env } });
    const [out, err]: string[][] = [[], []];
    started.stdout.on('data', (d) => out?.push(String(d)));
    started.stderr.on('data', (d) => err?.push(String(d)));
    started.on('close', (code) => resolve({ code, out: (out ?? []).join('').trim(), err: (err ?? []).join('') }));
  });

test('two processes fetch the same at once; settings come from the environment', async (t) => {
  const hub = await mockHub(t, modelFiles());
  const weights = hub.files.get('model.safetensors')?.bytes as Uint8Array;
  let served = 0;
  hub.storageTrick = async (_, response) => {
    served++;
    response.writeHead(200, { 'content-length': weights.length });
    for (let at = 0; at < weights.length; at += 20_000) {
      response.write(weights.subarray(at, at + 20_000));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    response.end();
    return true;
  };
  const home = temporaryFolder(t);
  writeFileSync(join(home, 'token'), `${TOKEN}\n`);
  const env = { HF_ENDPOINT: `${hub.endpoint}/`, HF_HOME: home, HF_HUB_OFFLINE: '', HF_TOKEN: '', HF_HUB_CACHE: '' };
  const results = await Promise.all([
    child(env),
    child(env),
    fetchModel(ID, { endpoint: hub.endpoint, cacheDir: join(home, 'hub'), token: TOKEN, offline: false }),
  ]);
  const folder = results[2];
  for (const { code, out, err } of results.slice(0, 2) as { code: number; out: string; err: string }[])
    t.deepEqual([code, out, err], [0, folder, '']);
  t.deepEqual(readFileSync(join(folder, 'model.safetensors')), Buffer.from(weights));
  t.deepEqual(
    readdirSync(join(folder, '..', '..', 'blobs')).filter((name) => name.includes('.')),
    [],
  );
  t.true(served >= 1 && served <= 3);
  t.true(hub.headers.filter(({ line }) => !line.startsWith('storage:')).every(({ authorization }) => authorization === `Bearer ${TOKEN}`));

  const offline = await child({ ...env, HF_HUB_OFFLINE: '1', HF_ENDPOINT: 'http://127.0.0.1:9' });
  t.deepEqual([offline.code, offline.out], [0, folder]);
  const secret = await child({ ...env, HF_TOKEN: 'with space', HF_ENDPOINT: `http://user:${TOKEN}@127.0.0.1:9` });
  t.is(secret.code, 1);
  t.false(secret.err.includes(TOKEN) || secret.err.includes('with space'), secret.err);
});

test('a caller may stop a download, and another goes on with it', async (t) => {
  const hub = await mockHub(t, modelFiles());
  const weights = hub.files.get('model.safetensors')?.bytes as Uint8Array;
  const stop = new AbortController();
  hub.storageTrick = (_, response) => {
    response.writeHead(200, { 'content-length': weights.length }).write(weights.subarray(0, 50_000));
    return true;
  };
  const options = optionsFor(t, hub);
  const stopped = fetchModel(ID, { ...options, signal: stop.signal, onProgress: ({ bytes }) => bytes === 50_000 && stop.abort() });
  t.is(((await t.throwsAsync(stopped, { any: true })) as unknown as { name: string }).name, 'AbortError');
  hub.storageTrick = () => false;
  await fetchModel(ID, options);
  t.is(hub.headers.at(-1)?.range, 'bytes=50000-');
});

test('a blob of the cache that was cut is named', async (t) => {
  const hub = await mockHub(t, modelFiles());
  const options = optionsFor(t, hub);
  const folder = await fetchModel(ID, options);
  const blob = join(repoFolder(options), 'blobs', sha256(hub.files.get('model.safetensors')?.bytes as Uint8Array));
  writeFileSync(blob, 'short');
  renameSync(join(folder, 'model.safetensors'), join(folder, 'elsewhere'));
  await fails(
    t,
    fetchModel(ID, options),
    /must be 200000 bytes long as the hub says of model\.safetensors, got 5\n {2}Remove this file/,
    FileError,
  );
});
