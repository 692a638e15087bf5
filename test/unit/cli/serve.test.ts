import test from 'ava';
import { heddle, tinyProject } from './support.ts';

test('serve: prints its address, answers, and ends at a signal', async (t) => {
  const cwd = tinyProject();
  const trained = await heddle(['pretrain', 'tiny.yaml'], { cwd });
  t.is(trained.code, 0, trained.stderr);
  let asked: Promise<{ model: string; choices: { text: string }[] }> | undefined;
  const run = heddle(['serve', 'runs/tiny', '--port', '0', '--rows', '2'], {
    cwd,
    onStdout: (child, stdout) => {
      const url = /^http:\/\/127\.0\.0\.1:\d+$/m.exec(stdout)?.[0];
      if (url === undefined || asked !== undefined) return;
      asked = fetch(`${url}/v1/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ prompt: 'The whale', max_tokens: 8, temperature: 0 }),
      }).then((answer) => answer.json() as Promise<{ model: string; choices: { text: string }[] }>);
      void asked.finally(() => child.kill('SIGTERM'));
    },
  });
  const { code, stderr } = await run;
  t.is(code, 0, stderr);
  const answer = await asked;
  const generated = await heddle(['generate', 'runs/tiny', '--prompt', 'The whale', '--max-tokens', '8', '--temperature', '0'], { cwd });
  t.is(`The whale${answer?.choices[0]?.text}\n`, generated.stdout);
  t.is(answer?.model, 'tiny');
  t.regex(stderr, /^POST \/v1\/completions 200, \d+ \+ 8 tokens, [\d.]+ s$/m);
  t.regex(stderr, /^Stopping\./m);
});

test('serve: an address that cannot be had is one error', async (t) => {
  const cwd = tinyProject();
  await heddle(['pretrain', 'tiny.yaml'], { cwd });
  const { code, stdout, stderr } = await heddle(['serve', 'runs/tiny', '--host', '203.0.113.1'], { cwd });
  t.is(code, 1);
  t.is(stdout, '');
  t.regex(stderr, /^heddle: serve: cannot listen on 203\.0\.113\.1:8000: /m);
});
