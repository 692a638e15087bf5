// What clients of OpenAI's API are given: whole, streamed, refused.
import http from 'node:http';
import test from 'ava';
import { generate } from '../../../lib/generate/index.ts';
import type { GPT } from '../../../lib/models/index.ts';
import { type RunningServer, type ServedRequest, type ServeOptions, serve } from '../../../lib/serve/index.ts';
import { ByteTokenizer } from '../../../lib/tokenizer/index.ts';
import { build } from '../models/support.ts';

const bytes = new ByteTokenizer();
const CONTEXT = 96;

interface Served extends RunningServer {
  readonly model: GPT;
  readonly answered: ServedRequest[];
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
}

async function withServer(options: ServeOptions, work: (server: Served) => Promise<void>): Promise<void> {
  const model = build({ vocabSize: 257, contextLength: CONTEXT });
  const answered: ServedRequest[] = [];
  const server = await serve(model, bytes, { port: 0, name: 'tiny', onAnswer: (served) => answered.push(served), ...options });
  const post: Served['post'] = (path, body, headers = {}) =>
    fetch(server.url + path, {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers },
    });
  try {
    await work({ ...server, model, answered, post });
  } finally {
    await server.close();
    model.dispose();
  }
}

interface Choice {
  index: number;
  text: string;
  message: { role: string; content: string };
  delta: { role?: string; content?: string };
  finish_reason: string | null;
}
interface Body {
  id: string;
  object: string;
  model: string;
  choices: Choice[];
  usage: Record<string, number>;
  error: { message: string; type: string; param: string | null; code: string | null };
  data: { id: string }[];
}

const jsonOf = async (answer: Response): Promise<Body> => (await answer.json()) as Body;

/** The events of a stream; the last one must be [DONE]. */
async function eventsOf(answer: Response): Promise<Body[]> {
  const events = (await answer.text()).split('\n\n').filter((event) => event !== '');
  if (events.pop() !== 'data: [DONE]') throw new Error('the stream must end with [DONE]');
  return events.map((event) => JSON.parse(event.replace(/^data: /, '')) as Body);
}

test('completions: the texts of generate, several prompts and samples, counted', async (t) => {
  await withServer({}, async ({ model, post, answered }) => {
    const drawn = { seed: 3, temperature: 0.9, top_k: 30, top_p: 0.95, min_p: 0.01, repetition_penalty: 1.1, stop: 'q' };
    const answer = await post('/v1/completions', { ...drawn, model: 'any', prompt: ['The whale', 'A'], n: 2, max_tokens: 12, user: 'me' });
    t.is(answer.status, 200);
    const body = await jsonOf(answer);
    const options = { seed: 3, temperature: 0.9, topK: 30, topP: 0.95, minP: 0.01, repetitionPenalty: 1.1, stop: 'q' };
    const want = [];
    for (const prompt of ['The whale', 'A'])
      want.push(...(await generate(model, bytes, prompt, { ...options, maxTokens: 12, samples: 2 })));
    t.deepEqual(
      body.choices.map(({ index, text, finish_reason }) => [index, text, finish_reason]),
      want.map(({ text, finishReason }, i) => [i, text, finishReason === 'length' ? 'length' : 'stop']),
    );
    t.like(body, { object: 'text_completion', model: 'tiny' });
    const completion = body.usage.completion_tokens as number;
    t.deepEqual(body.usage, { prompt_tokens: 10, completion_tokens: completion, total_tokens: 10 + completion });
    t.like(answered[0], { method: 'POST', path: '/v1/completions', status: 200, promptTokens: 10, completionTokens: completion });

    const ids = await jsonOf(await post('/v1/completions', { prompt: [84, 104], temperature: 0, seed: null }));
    t.is(ids.choices[0]?.text, (await generate(model, bytes, 'Th', { temperature: 0, maxTokens: 16 }))[0]?.text);
  });
});

test('streamed: the same text in pieces, what it cost at the end', async (t) => {
  await withServer({}, async ({ post }) => {
    const request = { prompt: 'The whale', max_tokens: 20, seed: 5, n: 2 };
    const whole = await jsonOf(await post('/v1/completions', request));
    const answer = await post('/v1/completions', { ...request, stream: true, stream_options: { include_usage: true } });
    t.is(answer.headers.get('content-type'), 'text/event-stream');
    const events = await eventsOf(answer);
    const last = events.pop();
    t.deepEqual([last?.choices, last?.usage], [[], whole.usage]);
    for (const { index, text, finish_reason } of whole.choices) {
      const own = events.flatMap(({ choices }) => choices).filter((choice) => choice.index === index);
      t.is(own.map((choice) => choice.text).join(''), text);
      t.is(own.at(-1)?.finish_reason, finish_reason);
      t.true(own.slice(0, -1).every((choice) => choice.finish_reason === null));
    }
    t.is(new Set(events.map(({ id }) => id)).size, 1);
  });
});

test('conversations: whole and streamed; content in parts; the plain format stops before the next speaker', async (t) => {
  const chatFormat = {
    render: (messages: readonly { role: string; content: string }[]) => messages.map((m) => `${m.role}: ${m.content}|`).join(''),
  };
  await withServer({ chatFormat }, async ({ model, post }) => {
    const messages = [
      { role: 'system', content: 'Be short.' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Hel' },
          { type: 'text', text: 'lo' },
        ],
      },
    ];
    const request = { messages, seed: 1, max_tokens: 10 };
    const whole = await jsonOf(await post('/v1/chat/completions', request));
    const [alone] = await generate(model, bytes, 'system: Be short.|user: Hello|', { seed: 1, maxTokens: 10 });
    t.deepEqual(whole.choices[0]?.message, { role: 'assistant', content: alone?.text.trimStart() });
    t.is(whole.object, 'chat.completion');
    const events = await eventsOf(await post('/v1/chat/completions', { ...request, stream: true }));
    t.deepEqual(events[0]?.choices[0]?.delta, { role: 'assistant', content: '' });
    t.is(events.map(({ choices }) => choices[0]?.delta.content ?? '').join(''), whole.choices[0]?.message.content as string);
    t.deepEqual([events.at(-1)?.choices[0]?.finish_reason, events[0]?.object], ['length', 'chat.completion.chunk']);
    // Without a limit: what is left of the context.
    const { usage } = await jsonOf(await post('/v1/chat/completions', { messages: [{ role: 'user', content: 'x'.repeat(60) }], seed: 2 }));
    t.is((usage.prompt_tokens as number) + (usage.completion_tokens as number), CONTEXT);
  });
  await withServer({}, async ({ model, post }) => {
    const answer = await jsonOf(
      await post('/v1/chat/completions', { messages: [{ role: 'user', content: 'Hi' }], seed: 1, max_completion_tokens: 5 }),
    );
    const [alone] = await generate(model, bytes, 'User: Hi\nAssistant:', { seed: 1, maxTokens: 5 });
    t.is(answer.choices[0]?.message.content, alone?.text.trimStart());
  });
});

test('what is wrong is said, with status and field', async (t) => {
  const chatFormat = {
    render: (messages: readonly { role: string }[]): string => {
      throw new Error(`no ${messages[0]?.role}`);
    },
  };
  await withServer({ maxWaiting: 2, rows: 1, maxTokens: 500, chatFormat }, async ({ url, post, answered }) => {
    const cases: [string, unknown, number, RegExp, (string | null)?][] = [
      ['/v1/completions', {}, 400, /^prompt must be a text or token ids, got nothing$/, 'prompt'],
      ['/v1/completions', { prompt: 7 }, 400, /^prompt must be .*, got 7$/, 'prompt'],
      ['/v1/completions', { prompt: [999] }, 400, /prompt\[0\] must be a token id from 0 to 256, got 999/],
      ['/v1/completions', { prompt: 'x', max_tokens: -1 }, 400, /^max_tokens must be an integer from 0 to 500, got -1$/, 'max_tokens'],
      ['/v1/completions', { prompt: 'x', max_tokens: 501 }, 400, /^max_tokens must be an integer from 0 to 500, got 501$/, 'max_tokens'],
      [
        '/v1/completions',
        { prompt: 'x', temperature: 'hot' },
        400,
        /^temperature must be a number from 0 to 100, got "hot"$/,
        'temperature',
      ],
      ['/v1/completions', { prompt: 'x', top_p: 0 }, 400, /^top_p must be above 0, got 0$/, 'top_p'],
      ['/v1/completions', { prompt: 'x', stop: ['a', 'b', 'c', 'd', 'e'] }, 400, /^stop must be a text, or up to 4/, 'stop'],
      ['/v1/completions', { prompt: 'x', stop: '' }, 400, /^stop must be/, 'stop'],
      ['/v1/completions', { prompt: 'x', stream: 'yes' }, 400, /^stream must be true or false, got "yes"$/, 'stream'],
      ['/v1/completions', { prompt: 'x', n: 4 }, 400, /^a request may ask for at most 3 texts, got 4$/, 'n'],
      ['/v1/completions', { prompt: 'x', presence_penalty: 1 }, 400, /^presence_penalty is not supported here, got 1$/, 'presence_penalty'],
      ['/v1/completions', { prompt: 'x', temprature: 1 }, 400, /^temprature is not supported here/, 'temprature'],
      ['/v1/completions', { prompt: 'x'.repeat(CONTEXT) }, 400, /^the prompt has 96 tokens, and the model sees 96/],
      ['/v1/completions', '[1', 400, /^the request must be JSON: /],
      ['/v1/completions', '[1]', 400, /^the request must be a JSON object, got \[1\]$/],
      ['/v1/chat/completions', { messages: [] }, 400, /^messages must be a list of at least one message/, 'messages'],
      ['/v1/chat/completions', { messages: [{ role: 'user' }] }, 400, /^messages must be a list/, 'messages'],
      [
        '/v1/chat/completions',
        { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] },
        400,
        /^messages\[0\]\.content must be a text, or parts/,
      ],
      [
        '/v1/chat/completions',
        { messages: [{ role: 'user', content: 'x' }] },
        400,
        /^messages: the model's chat template says: no user$/,
        'messages',
      ],
      ['/v1/nothing', {}, 404, /^there is no \/v1\/nothing; there are /],
      ['/v1/models', {}, 405, /^\/v1\/models takes GET, got POST$/],
    ];
    for (const [path, body, status, message, param = null] of cases) {
      const answer = await post(path, body);
      const { error } = await jsonOf(answer);
      t.is(answer.status, status, message.source);
      t.regex(error.message, message);
      t.is(error.type, 'invalid_request_error');
      if (param !== null) t.is(error.param, param);
    }
    const other = await post('/v1/completions', { prompt: 'x' }, { 'content-type': 'text/plain' });
    t.deepEqual([other.status, (await jsonOf(other)).error.message], [415, 'content-type must be application/json, got text/plain']);
    const huge = await post('/v1/completions', { prompt: 'x'.repeat(9 << 20) }).then(
      ({ status }) => status,
      () => 413, // the connection may be cut before all was sent
    );
    t.is(huge, 413);
    t.is((await fetch(`${url}/v1/completions`)).status, 405);
    t.is(answered.filter(({ status }) => status >= 500).length, 0);
    t.is((await post('/v1/completions', { prompt: 'x', max_tokens: 1, logprobs: null, n: null })).status, 200, 'null is absent');
  });
});

test('a key, the list of models, health; too many texts at once; who goes away; close amid a stream', async (t) => {
  await withServer({ apiKey: 'secret', rows: 1, maxWaiting: 1, maxTokens: 1_000_000 }, async ({ url, post, answered, close }) => {
    const key = { authorization: 'Bearer secret' };
    t.is((await post('/v1/completions', { prompt: 'x' })).status, 401);
    t.is((await post('/v1/completions', { prompt: 'x' }, { authorization: 'Bearer other' })).status, 401);
    t.is((await fetch(`${url}/v1/models`)).status, 401);
    t.deepEqual((await jsonOf(await fetch(`${url}/v1/models`, { headers: key }))).data[0]?.id, 'tiny');
    const health = async (): Promise<unknown> => (await fetch(`${url}/health`)).json();
    t.deepEqual(await health(), { status: 'ok', running: 0, waiting: 0 });

    const endless = { prompt: 'x', max_tokens: 1_000_000, stream: true };
    const gone = new AbortController();
    const leaves = await fetch(`${url}/v1/completions`, {
      ...{ method: 'POST', body: JSON.stringify(endless), signal: gone.signal },
      headers: { ...key, 'content-type': 'application/json' },
    });
    const waits = post('/v1/completions', { prompt: 'y', max_tokens: 3, seed: 1 }, key);
    while (((await health()) as { waiting: number }).waiting < 1);
    const refused = await post('/v1/completions', { prompt: 'z' }, key);
    t.deepEqual([refused.status, refused.headers.get('retry-after')], [429, '1']);
    t.is((await jsonOf(refused)).error.code, 'overloaded');
    gone.abort();
    t.is(await leaves.text().catch(() => 'cut'), 'cut');
    t.is((await waits).status, 200, 'the row of who went away is free');
    t.true(answered.some(({ status, completionTokens }) => status === 499 && completionTokens > 0));

    const amid = await post('/v1/completions', endless, key);
    const told = amid.text();
    const started = performance.now();
    await close();
    t.true(performance.now() - started < 2000, 'no connection is waited for');
    t.regex(await told, /data: \{"error":\{"message":"the server is stopping","type":"server_error"/);
  });
});

test('wrong options, and a port that is taken', async (t) => {
  await withServer({}, async ({ model, url }) => {
    const port = Number(new URL(url).port);
    await t.throwsAsync(serve(model, bytes, { port }), {
      code: 'ERR_HEDDLE_SERVE',
      message: /cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/,
    });
    await t.throwsAsync(serve(model, bytes, { port: 70_000 }), { message: /port must be an integer from 0 to 65535, got 70000/ });
    await t.throwsAsync(serve(model, bytes, { port: 0, rows: 0 }), { message: /rows must be a positive integer, got 0/ });
    await t.throwsAsync(serve(model, bytes, { port: 0, maxWaiting: -1 }), {
      message: /maxWaiting must be an integer of at least 0, got -1/,
    });
    await t.throwsAsync(serve(model, bytes, { port: 0, maxTokens: 0 }), { message: /maxTokens must be an integer of at least 1, got 0/ });
    // A client that sends half a request and leaves is no trouble.
    const half = http.request(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': 100 },
    });
    half.on('error', () => {});
    half.write('{"prompt"');
    await new Promise((resolve) => setTimeout(resolve, 50));
    half.destroy();
    t.is((await fetch(`${url}/health`)).status, 200);
  });
});
