import { spawn } from 'node:child_process';
import test from 'ava';
import { ENTRY, heddle, tinyProject } from './support.ts';

test.serial('chat: a line is a turn; commands, and Ctrl-C that stops an answer', async (t) => {
  const cwd = tinyProject();
  const trained = await heddle(['pretrain', 'tiny.yaml'], { cwd });
  t.is(trained.code, 0, trained.stderr);
  const options = ['--max-tokens', '6', '--temperature', '0', '--seed', '1'];
  const input = 'Hello\n\n/reset\nHello\n/what\n/exit\nnever read\n';
  const { code, stdout, stderr } = await heddle(['chat', 'runs/tiny', '--system', 'Be short.', ...options], { cwd, input });
  t.is(code, 0, stderr);
  const [first, second, ...rest] = stdout.split('\n');
  t.is(first, second, 'after /reset the same question has the same answer');
  t.deepEqual(rest, ['']);
  t.is(stderr.match(/^\[\d+ tokens, [\d.]+ tokens\/s\]$/gm)?.length, 2);
  t.regex(stderr, /^\/what is not known\. \/reset forgets/m);

  const child = spawn(process.execPath, [...ENTRY, 'chat', 'runs/tiny', '--max-tokens', '1000000', '--temperature', '3'], { cwd });
  let said = '';
  let told = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    told += piece;
    // The answer was stopped, and the conversation goes on: a second Ctrl-C ends it.
    if (told.includes('tokens/s]')) child.kill('SIGINT');
  });
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    if (said === '') child.kill('SIGINT');
    said += piece;
  });
  child.stdin.write('Write much\n');
  t.is(await new Promise((resolve) => child.on('close', resolve)), 0, told);
  t.regex(told, /^\[\d+ tokens, /m);
});
