// Models of a hub in programs and on the command line, from a mock hub on the loopback interface.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { GPT, generate, Tokenizer } from '../../../lib/index.ts';
import { ByteTokenizer } from '../../../lib/tokenizer/index.ts';
import { FileError } from '../../../lib/util/errors.ts';
import { temporaryFolder } from '../checkpoint/support.ts';
import { heddle, lastLine, tinyProject } from '../cli/support.ts';
import { type MockFile, mockHub } from './mock.ts';

const FIXTURE = 'test/fixtures/gpt2-tiny';

/** gpt2-tiny with a tokenizer of bytes, as a repository. */
function repository(): Record<string, MockFile> {
  const text = (content: string): MockFile => ({ bytes: new TextEncoder().encode(content) });
  return {
    'config.json': { bytes: readFileSync(join(FIXTURE, 'config.json')) },
    'model.safetensors': { bytes: readFileSync(join(FIXTURE, 'model.safetensors')), large: true },
    'tokenizer.json': text(JSON.stringify(new ByteTokenizer().toJSON())),
    'pytorch_model.bin': text('never fetched'),
  };
}

async function environment(t: ExecutionContext) {
  const hub = await mockHub(t, repository());
  const home = temporaryFolder(t);
  const env = { HF_ENDPOINT: hub.endpoint, HF_HOME: home, HF_HUB_CACHE: '', HF_TOKEN: 'hf_secretOfTheTest', HF_HUB_OFFLINE: '' };
  return { hub, home, env, options: { endpoint: hub.endpoint, cacheDir: join(home, 'hub'), token: false, offline: false } as const };
}

test('fromPretrained takes an id of the hub, or a folder', async (t) => {
  const { hub, options } = await environment(t);
  const tokenizer = await Tokenizer.fromPretrained('owner/name', options);
  t.false(hub.requests.some((line) => line.includes('safetensors')));
  using model = await GPT.fromPretrained('owner/name', { ...options, dropout: 0.5 });
  t.is(model.config.dropout.residual, 0.5);
  t.false(hub.requests.some((line) => line.includes('pytorch_model.bin')));
  using local = await GPT.fromPretrained(FIXTURE);
  const texts = await Promise.all([model, local].map((m) => generate(m, tokenizer, 'Call me', { temperature: 0, maxTokens: 8 })));
  t.deepEqual(texts[0], texts[1]);
  t.is(texts[0]?.[0]?.tokens.length, 8);
  await t.throwsAsync(GPT.fromPretrained('test/nothing'), { instanceOf: FileError, message: /^test\/nothing\/config\.json: cannot read/ });
});

test('heddle generate, evaluate, finetune and tokenizer with an id of the hub', async (t) => {
  const { hub, home, env } = await environment(t);
  const outcome = await heddle(['generate', 'owner/name', '--prompt', 'Call me', '--max-tokens', '4', '--json', '--device', 'cpu'], {
    env,
  });
  const line = lastLine(outcome);
  t.is(line.checkpoint, join(home, 'hub', 'models--owner--name', 'snapshots', hub.commit));
  t.false(`${outcome.stdout}${outcome.stderr}`.includes('hf_secret'));
  t.true(hub.headers.some(({ authorization }) => authorization === 'Bearer hf_secretOfTheTest'));
  t.deepEqual(readdirSync(join(home, 'hub')), ['models--owner--name']);

  const encoded = await heddle(['tokenizer', 'encode', 'owner/name', 'AB'], { env: { ...env, HF_HUB_OFFLINE: '1' } });
  t.is(encoded.stdout, '65 66\n', encoded.stderr);
  const missing = await heddle(['generate', 'owner/other', '--prompt', 'x'], { env });
  t.is(missing.code, 1);
  t.regex(missing.stderr, /^heddle: owner\/other: no such model on 127\.0\.0\.1:\d+, or a private one \(401\)\n/);
  t.false(missing.stderr.includes('hf_secret'));

  const cwd = tinyProject();
  const evaluated = lastLine(await heddle(['evaluate', 'tiny.yaml', '--checkpoint', 'owner/name', '--json'], { cwd, env }));
  t.is(evaluated.checkpoint, line.checkpoint);
  t.true((evaluated.valLoss as number) > 5, 'random weights');
  const pairs = readdirSync(cwd).find((name) => name.endsWith('.jsonl')) ?? 'none';
  const tuned = lastLine(await heddle(['finetune', 'tiny.yaml', '--from', 'owner/name', '--data', pairs, '--json'], { cwd, env }));
  t.true(Number.isFinite(tuned.valLoss as number));

  writeFileSync(join(cwd, 'chars.yaml'), readFileSync(join(cwd, 'tiny.yaml'), 'utf8').replace(/kind: byte/, 'kind: char'));
  const other = await heddle(['evaluate', 'chars.yaml', '--checkpoint', 'owner/name', '--set', 'out=chars'], { cwd, env });
  t.is(other.code, 1);
  t.regex(other.stderr, /evaluate: the run's tokenizer must be that of .*, got another one/);
});
