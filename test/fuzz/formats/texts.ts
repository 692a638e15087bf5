import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { join } from 'node:path';
import {
  CONVERSATION,
  ExamplesLoader,
  encodeConversations,
  encodeExamples,
  openSource,
  planSplit,
  readRecords,
  splitItems,
} from '../../../lib/data/index.ts';
import { ByteTokenizer, defaultChatTemplate } from '../../../lib/tokenizer/index.ts';
import { completion } from '../../../lib/train/tasks/completion.ts';
import { type Files, type Format, filesOf } from '../format.ts';
import { mutateBytes } from '../mutate_bytes.ts';
import { mutateLines } from '../mutate_json.ts';
import { SENTENCE } from './support.ts';

const lines = (...objects: readonly object[]): string => `${objects.map((o) => JSON.stringify(o)).join('\n')}\n`;
const byte = new ByteTokenizer();

/** As prepare does: once for the plan, once for each part. */
async function readSource(path: string): Promise<void> {
  const source = openSource(path);
  const plan = await planSplit(source, 0.2);
  assert(Number.isSafeInteger(plan.bytes) && Number.isSafeInteger(plan.cut) && plan.cut <= plan.bytes);
  let bytes = 0;
  for (const part of ['train', 'validation'] as const)
    for (const item of splitItems(source, plan, part)) {
      assert(item.line >= 1);
      if (item.kind === 'text') {
        assert(item.bytes.length > 0 && isUtf8(item.bytes));
        bytes += item.bytes.length;
        byte.encodeBytes(item.bytes);
      } else {
        assert(item.completion !== '');
        bytes += Buffer.byteLength(item.prompt) + Buffer.byteLength(item.completion);
      }
    }
  assert.equal(bytes, plan.bytes);
}

const text = (name: string, seeds: readonly string[], mutate: typeof mutateBytes, file: string): Format => ({
  name,
  seeds: async (): Promise<Files[]> => seeds.map((content) => filesOf({ [file]: content })),
  mutators: { [file]: { weight: 1, mutate } },
  read: (folder) => readSource(join(folder, file)),
});

export const plainText = text('text', [SENTENCE, 'å\r\n人工智能\r\n', `${'a'.repeat(3000)} b`], mutateBytes, 'a.txt');

export const jsonLines = text(
  'jsonl',
  [
    lines({ text: 'the whale' }, { text: 'the sea\n', id: 3, meta: { a: [1, null] } }, { text: '' }, { text: '名 é' }),
    lines({ text: 'a' }, { prompt: 'p', completion: 'c' }),
  ],
  mutateLines,
  'a.jsonl',
);

export const supervised: Format = {
  name: 'supervised',
  seeds: async () => [
    filesOf({
      'a.jsonl': lines(
        { prompt: 'where is the whale?\n', completion: ' in the sea' },
        { prompt: '', completion: 'x' },
        { prompt: 'é', completion: '名' },
      ),
    }),
  ],
  mutators: { 'a.jsonl': { weight: 1, mutate: mutateLines } },
  async read(folder) {
    const { train, validation } = await completion.read({ path: join(folder, 'a.jsonl'), valFraction: 0.3 });
    for (const part of [train, validation]) {
      if (part.length === 0) continue;
      const data = encodeExamples(part, byte);
      const loader = new ExamplesLoader(data, { batch: 2, length: 8, tooLong: 'truncate' });
      const { inputs, targets, targetCount } = loader.next();
      assert(inputs.every((id) => id >= 0 && id < byte.vocabSize));
      assert.equal(targets.filter((id) => id >= 0).length, targetCount);
    }
  },
};

export const conversations: Format = {
  name: 'conversations',
  seeds: async () => [
    filesOf({
      'a.jsonl': lines(
        {
          messages: [
            { role: 'user', content: 'where?' },
            { role: 'assistant', content: 'in the sea' },
          ],
        },
        {
          messages: [
            { role: 'system', content: 'é' },
            { role: 'user', content: '名', name: 'x' },
            { role: 'assistant', content: '' },
            { role: 'user', content: '<|endoftext|>' },
            { role: 'assistant', content: 'b' },
          ],
        },
      ),
    }),
  ],
  mutators: { 'a.jsonl': { weight: 1, mutate: mutateLines } },
  async read(folder) {
    const data = encodeConversations(readRecords(join(folder, 'a.jsonl'), CONVERSATION), byte, defaultChatTemplate(byte));
    const { inputs, targetCount } = new ExamplesLoader(data, { batch: 2, length: 16, tooLong: 'truncate' }).next();
    assert(inputs.every((id) => id >= 0 && id < byte.vocabSize) && targetCount > 0);
  },
};
