import test from 'ava';
import { Chat, type ChatFormat, plainChatFormat, type Said, streamText } from '../../../lib/generate/index.ts';
import { ByteTokenizer, tokenizerFromJSON } from '../../../lib/tokenizer/index.ts';
import { build } from '../models/support.ts';

const bytes = new ByteTokenizer();
const model = build({ vocabSize: 257, contextLength: 96 });

async function answer(chat: Chat, text: string, options: Parameters<Chat['say']>[1] = {}): Promise<string> {
  let all = '';
  for await (const piece of chat.say(text, { seed: 3, maxTokens: 12, ...options })) all += piece;
  return all;
}

/** A format that writes down what it is asked for. */
function recording(asked: string[]): ChatFormat {
  return {
    render(messages, { addGenerationPrompt = false } = {}) {
      const prompt = `${messages.map(({ role, content }) => `<${role[0]}>${content}`).join('')}${addGenerationPrompt ? '<a>' : ''}`;
      asked.push(prompt);
      return prompt;
    },
  };
}

test('the plain format', (t) => {
  const said: Said[] = [
    { role: 'system', content: 'Be short.' },
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: 'Hello' },
  ];
  t.is(plainChatFormat.render(said), 'Be short.\nUser: Hi\nAssistant: Hello\n');
  t.is(plainChatFormat.render(said.slice(1, 2), { addGenerationPrompt: true }), 'User: Hi\nAssistant:');
});

test('an answer is the text that follows the rendered conversation, and is remembered', async (t) => {
  const chat = new Chat(model, bytes, { system: 'S' });
  const first = await answer(chat, 'one');
  let want = '';
  for await (const piece of streamText(model, bytes, 'S\nUser: one\nAssistant:', {
    seed: 3,
    maxTokens: 12,
    stop: ['\nUser:', '\nAssistant:'],
  }))
    want += piece;
  t.is(first, want.trimStart());
  const second = await answer(chat, 'two');
  t.deepEqual(chat.messages, [
    { role: 'system', content: 'S' },
    { role: 'user', content: 'one' },
    { role: 'assistant', content: first.trimEnd() },
    { role: 'user', content: 'two' },
    { role: 'assistant', content: second.trimEnd() },
  ]);
  chat.reset();
  t.deepEqual(chat.messages, [{ role: 'system', content: 'S' }]);
  t.is(await answer(chat, 'one'), first, 'as if for the first time');
});

test('what no longer fits is left out, the oldest turns first, never the system or the question', async (t) => {
  const asked: string[] = [];
  const chat = new Chat(model, bytes, { format: recording(asked), system: 'sys' });
  for (let i = 0; i < 8; i++) await answer(chat, `question ${i}`);
  const last = asked.at(-1) as string;
  t.true(last.startsWith('<s>sys<u>question ') && last.endsWith('<u>question 7<a>'), last);
  t.true(Buffer.byteLength(last) + 12 <= 96, last);
  t.false(last.includes('question 0'));
  t.is(chat.messages.length, 17, 'all of it is remembered');
  const long = 'x'.repeat(200);
  await answer(chat, long);
  t.is(asked.at(-1), `<s>sys<u>${long}<a>`, 'a question that is too long alone is cut by the window of the model');
});

test('a format of the model may spell out special tokens, the plain one may not', async (t) => {
  const special = { id: 257, content: '<end>', special: true, single_word: false, lstrip: false, rstrip: false, normalized: false };
  const json = bytes.toJSON() as { added_tokens: object[] };
  const tokenizer = tokenizerFromJSON({ ...json, added_tokens: [...json.added_tokens, special] });
  using larger = build({ vocabSize: 258 });
  const seen: number[][] = [];
  const processors = [
    (_: unknown, { tokens, generated }: { tokens: readonly number[]; generated: number }): void => {
      if (generated === 0) seen.push([...tokens]);
    },
  ];
  await answer(new Chat(larger, tokenizer, { format: { render: () => 'a<end>' } }), 'x', { processors });
  await answer(new Chat(larger, tokenizer), '<end>', { processors });
  t.true(seen[0]?.includes(257));
  t.false(seen[1]?.includes(257), 'what somebody types stays text');
});

test('an answer that is stopped is remembered as far as it came', async (t) => {
  const chat = new Chat(model, bytes);
  const controller = new AbortController();
  let tokens = 0;
  const onToken = (): void => {
    if (++tokens === 5) controller.abort(new Error('enough'));
  };
  await t.throwsAsync(answer(chat, 'go on', { maxTokens: 500, signal: controller.signal, onToken }), { message: 'enough' });
  t.is(tokens, 5);
  t.is(chat.messages.length, 2);
  t.is(chat.messages[1]?.role, 'assistant');
  for await (const _ of chat.say('again', { seed: 1 })) break;
  t.is(chat.messages.length, 4);
  await t.throwsAsync(answer(chat, '  '), { message: 'say: text must not be empty' });
  t.is(chat.messages.length, 4);
});
