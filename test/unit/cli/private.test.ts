import test from 'ava';
import { type Private, redact } from '../../../lib/cli/private.ts';

const HERE: Private = {
  open: [
    ['/home/jo/Secret Client/node_modules/heddle/dist', '<heddle>/dist'],
    ['/opt/heddle.node', '<binary>'],
  ],
  closed: [
    ['/home/jo/Secret Client/node_modules/heddle', '<heddle>'],
    ['/home/jo/Secret Client', '<folder>'],
    ['/tmp', '<temporary>'],
    ['/home/jo', '~'],
    ['/', '<root>'],
    [undefined, '<none>'],
  ],
  words: [
    ['jo', '<user>'],
    ['jo-laptop.corp.example', '<host>'],
    ['jo-laptop', '<host>'],
    ['root', '<user>'],
    ['', '<user>'],
    [undefined, '<host>'],
  ],
  secrets: ['s3cr3t value', 's3cr3t value and more'],
};

const CASES: [string, string][] = [
  ['at run (file:///home/jo/Secret%20Client/node_modules/heddle/dist/ops/x.js:10:3)', 'at run (<heddle>/dist/ops/x.js:10:3)'],
  ['at run (/home/jo/Secret Client/node_modules/heddle/dist/ops/x.js:10:3)', 'at run (<heddle>/dist/ops/x.js:10:3)'],
  ['at file:///home/jo/Secret%20Client/node_modules/heddle/runs/patients/x.js:1:2', 'at <heddle>/…:1:2'],
  ["open '/home/jo/Secret Client/patients.csv'", "open '<folder>/…'"],
  ['/home/jo/Secret Client: not a file', '<folder>: not a file'],
  ['/home/jo/other work/data.txt, /home/joanna/data.txt', '~/…, <path>'],
  ['cannot open /tmp/jo-1/x: no such file', 'cannot open <temporary>/…: no such file'],
  ['/opt/heddle.node crashed', '<binary> crashed'],
  ['/mnt/Acme Corp/x y.bin: gone', '<path>: gone'],
  ['at file:///srv/acme/x.mjs:3:4', 'at <path>:3:4'],
  [
    '(required by /lib/x86_64-linux-gnu/libm.so.6) and /usr/lib/libcuda.so.1 of /srv/acme',
    '(required by /lib/x86_64-linux-gnu/libm.so.6) and /usr/lib/libcuda.so.1 of <path>',
  ],
  ['node:internal/modules/cjs/loader:12:3, 300 tokens/s and/or 2 / 3', 'node:internal/modules/cjs/loader:12:3, 300 tokens/s and/or 2 / 3'],
  ['jo and JO-LAPTOP and jo-laptop.corp.example, not join or major', '<user> and <host> and <host>, not join or major'],
  ['root may', 'root may'],
  ['it said s3cr3t value and more, s3cr3t value', 'it said <secret>, <secret>'],
  ['https://jo:pw@registry.corp.example/x?token=1 failed', 'https://<address> failed'],
  ['token hf_abcdefghijklmnopqrstuvwxyz ghp_0123456789abcdefghij', 'token <secret> <secret>'],
  ['Authorization: Bearer abc.def-123456', 'Authorization: <secret>'],
  ['mail jo.doe@corp.example from 10.1.22.3', 'mail <address> from <address>'],
  ['NVIDIA H100 80GB HBM3, driver 580.65.06, V8 11.3.244.8-node.38', 'NVIDIA H100 80GB HBM3, driver 580.65.06, V8 11.3.244.8-node.38'],
];

for (const [text, expected] of CASES) test(`redact: ${text}`, (t) => t.is(redact(text, HERE), expected));
