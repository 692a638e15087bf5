import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import protobuf from 'protobufjs';
import { crc32c, maskedCrc32c } from '../../../lib/train/metrics/crc32c.ts';
import { lossCurve } from '../../../lib/train/metrics/curve.ts';
import { formatCount, formatDuration } from '../../../lib/train/metrics/format.ts';
import { MetricsLog, readMetrics } from '../../../lib/train/metrics/log.ts';
import { ProgressLine } from '../../../lib/train/metrics/progress.ts';
import { TensorBoardWriter } from '../../../lib/train/metrics/tensorboard.ts';
import { ArgumentError, FileError } from '../../../lib/util/errors.ts';
import { Recorder } from '../../disk/recorder.ts';

function folder(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'heddle-metrics-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('CRC-32C: the vectors of RFC 3720, B.4', (t) => {
  const range = (from: number, step: number) => Uint8Array.from({ length: 32 }, (_, i) => from + i * step);
  t.is(crc32c(new Uint8Array(32)), 0x8a9136aa);
  t.is(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  t.is(crc32c(range(0, 1)), 0x46dd794e);
  t.is(crc32c(range(31, -1)), 0x113fdb5c);
  const read = '01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018 28000000 00000000 02000000 00000000';
  t.is(crc32c(Buffer.from(read.replaceAll(' ', ''), 'hex')), 0xd9963a56);
  t.is(crc32c(Buffer.from('123456789')), 0xe3069283);
  t.is(crc32c(new Uint8Array(0)), 0);
  const crc = 0xe3069283;
  t.is(maskedCrc32c(Buffer.from('123456789')), (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0);
});

// The messages needed of tensorflow's event.proto and summary.proto, with their field numbers.
const schema = `
  syntax = "proto3";
  package tensorflow;
  message SessionLog { enum SessionStatus { STATUS_UNSPECIFIED = 0; START = 1; STOP = 2; CHECKPOINT = 3; } SessionStatus status = 1; }
  message Summary {
    message Value { string node_name = 7; string tag = 1; oneof value { float simple_value = 2; } }
    repeated Value value = 1;
  }
  message Event {
    double wall_time = 1;
    int64 step = 2;
    oneof what { string file_version = 3; bytes graph_def = 4; Summary summary = 5; SessionLog session_log = 7; }
  }
`;
const Event = protobuf.parse(schema, { keepCase: true }).root.lookupType('tensorflow.Event');

/** Decodes an event file and checks its framing. */
function events(t: ExecutionContext, file: string): Record<string, unknown>[] {
  const bytes = readFileSync(file);
  const decoded: Record<string, unknown>[] = [];
  let at = 0;
  while (at < bytes.length) {
    const length = Number(bytes.readBigUInt64LE(at));
    t.is(bytes.readUInt32LE(at + 8), maskedCrc32c(bytes.subarray(at, at + 8)));
    const data = bytes.subarray(at + 12, at + 12 + length);
    t.is(bytes.readUInt32LE(at + 12 + length), maskedCrc32c(data));
    decoded.push(Event.toObject(Event.decode(data), { longs: Number, enums: String }));
    at += 16 + length;
  }
  t.is(at, bytes.length);
  return decoded;
}

test('TensorBoard event files decode with the public schema', (t) => {
  const dir = join(folder(t), 'tb');
  const writer = new TensorBoardWriter(dir, { now: () => 1_700_000_000.5 });
  writer.scalars(1, { 'loss/train': 4.25, 'learning rate': 0.0009765625 });
  writer.scalars(2 ** 40 + 1, { 'loss/验证': Number.POSITIVE_INFINITY });
  writer.close();
  writer.close();
  t.throws(() => writer.scalars(3, { x: 1 }), { instanceOf: ArgumentError, message: /is closed/ });
  t.regex(readdirSync(dir)[0] ?? '', /^events\.out\.tfevents\.1700000000\./);
  t.deepEqual(events(t, writer.file), [
    { wall_time: 1_700_000_000.5, file_version: 'brain.Event:2' },
    {
      wall_time: 1_700_000_000.5,
      step: 1,
      summary: {
        value: [
          { tag: 'loss/train', simple_value: 4.25 },
          { tag: 'learning rate', simple_value: 0.0009765625 },
        ],
      },
    },
    { wall_time: 1_700_000_000.5, step: 2 ** 40 + 1, summary: { value: [{ tag: 'loss/验证', simple_value: Number.POSITIVE_INFINITY }] } },
  ]);
  const resumed = new TensorBoardWriter(dir, { resumeAt: 500, now: () => 5 });
  resumed.close();
  t.deepEqual(events(t, resumed.file)[1], { wall_time: 5, step: 501, session_log: { status: 'START' } });
  t.throws(() => new TensorBoardWriter(resumed.file), { instanceOf: FileError, message: /cannot create/ });
});

test('the metrics log: rows, resume without a double step, torn lines', (t) => {
  const file = join(folder(t), 'logs', 'metrics.jsonl');
  t.deepEqual(readMetrics(file), []);
  const log = new MetricsLog(file, { resumeAt: 0 });
  for (const step of [1, 2, 3, 4]) log.write({ step, event: 'train', loss: 1 / step });
  log.write({ step: 4, event: 'evaluate', valLoss: Number.NaN, improved: false });
  t.is(readMetrics(file).length, 5); // written through at once
  log.close();
  t.throws(() => log.write({ step: 5 }), { instanceOf: ArgumentError, message: /is closed/ });
  t.is(readMetrics(file)[4]?.valLoss, 'NaN');

  appendFileSync(file, '{"step":5,"lo');
  t.is(readMetrics(file).length, 5);
  const resumed = new MetricsLog(file, { resumeAt: 2 });
  resumed.write({ step: 3, event: 'train', loss: 9 });
  resumed.close();
  t.deepEqual(
    readMetrics(file).map((r) => [r.step, r.loss]),
    [
      [1, 1],
      [2, 0.5],
      [3, 9],
    ],
  );

  appendFileSync(file, '\0\0\0\0\n'); // what a power cut may leave
  new MetricsLog(file, { resumeAt: 3 }).close();
  t.true(readFileSync(file, 'utf8').endsWith('"loss":9}\n'));
  new MetricsLog(file).close(); // a new run
  t.is(readFileSync(file, 'utf8'), '');

  writeFileSync(file, '{"step":1}\nnonsense\n{"step":2}\n');
  t.throws(() => readMetrics(file), { instanceOf: FileError, message: /metrics\.jsonl: line 2 must be JSON/ });
  t.throws(() => new MetricsLog(file, { resumeAt: 2 }), { instanceOf: FileError, message: /metrics\.jsonl: line 2 must be JSON/ });
  new MetricsLog(file, { resumeAt: 1 }).close(); // only the rows up to the checkpoint's step are on the disk for sure
  t.is(readFileSync(file, 'utf8'), '{"step":1}\n');
  writeFileSync(file, 'all the notes\nof a year\n');
  t.throws(() => new MetricsLog(file, { resumeAt: 1 }), { instanceOf: FileError, message: /metrics\.jsonl: line 1 must be JSON/ });
  writeFileSync(file, '{"step":1}\n{"loss":2}\n');
  t.throws(() => new MetricsLog(file, { resumeAt: 1 }), {
    instanceOf: FileError,
    message: /line 2 must be an object with step, got \{"loss":2\}/,
  });
});

test.serial('a row that does not fit is left out whole, and the next one stands on a line of its own', async (t) => {
  const dir = folder(t);
  const file = join(dir, 'metrics.jsonl');
  const recorder = new Recorder(dir);
  const log = new MetricsLog(file);
  log.close();
  await recorder.during(
    () => {
      const again = new MetricsLog(file);
      again.write({ step: 1 });
      t.throws(() => again.write({ step: 2 }), {
        instanceOf: FileError,
        message: `${file}: cannot write: ENOSPC: no space left on device, write`,
      });
      again.write({ step: 3 });
      again.sync();
      again.close();
    },
    ({ kind }, index) => (kind !== 'write' ? undefined : index === 3 ? { bytes: 4 } : index === 4 ? { code: 'ENOSPC' } : undefined),
  );
  t.is(readFileSync(file, 'utf8'), '{"step":1}\n{"step":3}\n');
});

test('the loss curve', (t) => {
  const points = Array.from({ length: 200 }, (_, i) => ({ step: i, loss: 1.5 + 3 * Math.exp(-i / 40) }));
  const braille = lossCurve(points, { width: 40, height: 8 });
  const lines = braille.split('\n');
  t.is(lines.length, 8);
  t.true(lines.every((line) => line.length <= 40));
  t.regex(lines[0] ?? '', /^4\.\d{3} │[\u2801-\u28ff]/); // high on the left
  t.regex(lines[6] ?? '', /^1\.5\d\d │ .*[\u2801-\u28ff]$/); // low on the right
  t.regex(lines[7] ?? '', /^ +step 0 +199$/);

  const ends = [
    { step: 0, loss: 3 },
    { step: 10, loss: 1 },
  ];
  const line = lossCurve(ends, { width: 28, height: 4, ascii: true });
  t.is(line, ['3.000 |*****', '      |     **********', '1.000 |               ******', '       step 0             10'].join('\n'));
  const one = lossCurve([{ step: 5, loss: 2 }], { width: 28, height: 4, ascii: true });
  t.is(one, ['2.100 |', '      |*', '1.900 |', '       step 5              5'].join('\n'));
  t.is(lossCurve([]), '(no losses yet)');
  t.is(lossCurve([{ step: 1, loss: Number.NaN }]), '(no losses yet)');
  t.regex(lossCurve([...points, { step: 200, loss: Number.NaN }]), /\(1 not finite\) 199$/);
  t.throws(() => lossCurve(points, { width: 10 }), { instanceOf: ArgumentError, message: /width must be an integer from 20, got 10/ });
  t.throws(() => lossCurve(points, { height: 2 }), { instanceOf: ArgumentError, message: /height/ });
  const many = Array.from({ length: 300_000 }, (_, step) => ({ step, loss: step % 7 }));
  t.is(lossCurve(many).split('\n').length, 12); // no argument list as long as the run
});

test('durations and counts', (t) => {
  const durations: [number, string][] = [
    [0.44, '0.4 s'],
    [9.96, '10 s'],
    [59.6, '1m 00s'],
    [185, '3m 05s'],
    [3599.7, '1h 00m'],
    [7500, '2h 05m'],
    [86399, '1d 0h'],
    [273600, '3d 4h'],
    [Number.NaN, '?'],
  ];
  for (const [seconds, text] of durations) t.is(formatDuration(seconds), text);
  const counts: [number, string][] = [
    [0, '0'],
    [0.5, '0.5'],
    [950, '950'],
    [999.6, '1.00k'],
    [12_345, '12.3k'],
    [999_950, '1.00M'],
    [124_439_808, '124M'],
    [1_557_611_200, '1.56B'],
    [3.5e16, '35000T'],
    [-1200, '-1.20k'],
    [Number.POSITIVE_INFINITY, '?'],
  ];
  for (const [count, text] of counts) t.is(formatCount(count), text);
});

function recorder(isTTY: boolean, columns = 80) {
  const written: string[] = [];
  return { stream: { isTTY, columns, write: (text: string) => written.push(text) }, written };
}

test('the progress line on a terminal rewrites itself and never wraps', (t) => {
  const { stream, written } = recorder(true, 70);
  let now = 100;
  const line = new ProgressLine({ label: 'pretrain', total: 100, stream, now: () => now });
  now = 110;
  line.update({ step: 10, loss: 2.5, tokensPerSecond: 12_345 });
  line.update({ step: 11, loss: 2.4 }); // too soon
  line.note('saved');
  line.update({ step: 12 });
  line.done();
  t.deepEqual(written, [
    '\r\x1b[Kpretrain 10/100 · loss 2.5000 · 12.3k tokens/s · 1m 30s left',
    '\r\x1b[Ksaved\n',
    '\r\x1b[Kpretrain 12/100 · 1m 13s left',
    '\n',
  ]);
  const narrow = recorder(true, 20);
  new ProgressLine({ label: 'pretrain', total: 100, stream: narrow.stream, now: () => now }).update({ step: 1, loss: 2, more: 'val 1.9' });
  t.is(narrow.written[0], '\r\x1b[Kpretrain 1/100 · lo');
});

test('the progress line elsewhere is a plain line now and then', (t) => {
  const { stream, written } = recorder(false);
  let now = 0;
  const line = new ProgressLine({ label: 'pretrain', total: 300, from: 200, stream, plainEvery: 10, now: () => now });
  for (let step = 201; step <= 300; step++) {
    now += 0.25;
    line.update({ step, loss: 1, more: step === 300 ? 'val 1.9' : undefined });
  }
  line.done();
  line.done();
  t.deepEqual(written, [
    'pretrain 201/300 · loss 1.0000 · 25 s left\n',
    'pretrain 241/300 · loss 1.0000 · 15 s left\n',
    'pretrain 281/300 · loss 1.0000 · 4.8 s left\n',
    'pretrain 300/300 · loss 1.0000 · in 25 s · val 1.9\n',
  ]);
});
