import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  ByteTokenizer,
  type ChatMessage,
  chatTemplate,
  data,
  defaultChatTemplate,
  finetune,
  GPT,
  generate,
  gptConfig,
  openModel,
  parseRunConfig,
  pretrain,
  type RunConfig,
} from '../../../lib/index.ts';
import { toDevice } from '../../../lib/train/evaluate.ts';
import { temporaryFolder } from './run_support.ts';

const byte = new ByteTokenizer();
const ask = (question: string, answer: string): data.Conversation => ({
  messages: [
    { role: 'user', content: question },
    { role: 'assistant', content: answer },
  ],
});
const TWO_TURNS: data.Conversation = { messages: [...ask('a', 'b').messages, ...ask('c', 'dd').messages] };

test('tokens and mask: the answers alone, their end with them', (t) => {
  const tokens = data.encodeConversations([TWO_TURNS, ask('x', 'y')], byte, defaultChatTemplate(byte));
  const [ids, mask] = [new Int32Array(tokens.length), new Uint8Array(tokens.length)];
  tokens.read(0, tokens.length, ids, 0);
  tokens.readMask(0, tokens.length, mask, 0);
  t.is(tokens.documents, 2);
  t.is(byte.decode(ids.subarray(0, tokens.documentStart(1))), defaultChatTemplate(byte).render(TWO_TURNS.messages));
  const learned = [...ids].map((id, i) => (mask[i] ? byte.decode([id]) : '_')).join('');
  t.is(learned.replace(/_+/g, '_'), '_b<|endoftext|>\n_dd<|endoftext|>\n_y<|endoftext|>\n');
});

test('packed into a row, no conversation sees another: loss and gradient are those of each alone', async (t) => {
  const conversations = [TWO_TURNS, ask('q', 'r'), ask('what?', 'no')];
  const model = new GPT(gptConfig({ vocabSize: 257, contextLength: 128, layers: 2, heads: 2, width: 16, positions: 'rotary' }), {
    seed: 1,
  });
  const lossOf = async (list: readonly data.Conversation[]): Promise<{ loss: number; gradient: Float32Array }> => {
    const tokens = data.encodeConversations(list, byte, defaultChatTemplate(byte));
    const batch = new data.ExamplesLoader(tokens, { batch: 1, length: 128, once: true }).next();
    const b = toDevice(batch, 'cpu');
    const loss = model.loss(b.inputs, b.targets, { documents: b.documents, reduction: 'sum' });
    loss.backward();
    const gradient = model.headWeight.grad?.dataSync() as Float32Array;
    for (const p of model.parameters()) p.zeroGrad();
    return { loss: await loss.item(), gradient };
  };
  const packed = await lossOf(conversations);
  const alone: Awaited<ReturnType<typeof lossOf>>[] = [];
  for (const c of conversations) alone.push(await lossOf([c]));
  t.true(Math.abs(packed.loss - alone.reduce((sum, { loss }) => sum + loss, 0)) < 1e-3, `${packed.loss}`);
  const sum = packed.gradient.map((_, i) => alone.reduce((s, { gradient }) => s + (gradient[i] as number), 0));
  const worst = packed.gradient.reduce((most, g, i) => Math.max(most, Math.abs(g - (sum[i] as number))), 0);
  t.true(worst < 1e-4, `${worst}`);
  model.dispose();
});

test('records: what is wrong has file, line and field; a split by records', (t) => {
  const file = join(temporaryFolder(t), 'chat.jsonl');
  const wrong = (...lines: readonly unknown[]): string => {
    writeFileSync(file, lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'));
    return t.throws(() => data.readRecords(file, data.CONVERSATION), { code: 'ERR_HEDDLE_FILE' })?.message ?? '';
  };
  const good = ask('a', 'b');
  t.regex(wrong(good, '{'), /chat\.jsonl: line 2: must be JSON/);
  t.regex(wrong(good, `{"messages": ${'['.repeat(300)}${']'.repeat(300)}}`), /chat\.jsonl: line 2: must be JSON nested at most 200 deep/);
  t.regex(wrong({ prompt: 'a' }), /line 1: must have "messages", a list of \{"role", "content"\}, got an object with \{prompt: string\}/);
  t.regex(wrong({ messages: [] }), /line 1: must have "messages"/);
  t.regex(wrong(good, '', { messages: [{ role: 'user', content: 1 }] }), /line 3: messages\[0\] must have strings "role" and "content"/);
  t.regex(wrong({ messages: [{ role: 'user', content: 'x' }] }), /line 1: messages must hold one of the assistant/);
  t.regex(wrong(''), /must hold lines with|is empty/);
  const { train, validation } = data.splitRecords([1, 2, 3, 4, 5], 0.2);
  t.deepEqual([train, validation], [[1, 2, 3, 4], [5]]);
});

test('data whose every label is masked is an error', (t) => {
  const silent = chatTemplate(`{% for m in messages %}{{ m.content }}{% endfor %}{% generation %}{% endgeneration %}`);
  const tokens = data.encodeConversations([ask('a', 'b')], byte, silent);
  t.throws(() => new data.ExamplesLoader(tokens, { batch: 1, length: 8 }), {
    code: 'ERR_HEDDLE_ARGUMENT',
    message: 'ExamplesLoader: data must have a token that is learned, got all of them masked',
  });
});

function config(t: ExecutionContext, more: string): RunConfig {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'text.txt'), 'The whale swims. Is the sea deep? The ship sails by night. '.repeat(60));
  const questions = ['whale', 'sea', 'ship', 'night'];
  const lines = Array.from({ length: 40 }, (_, i) => JSON.stringify(ask(`${questions[i % 4]}?`, i % 2 ? 'blue' : 'red')));
  writeFileSync(join(folder, 'chat.jsonl'), lines.join('\n'));
  writeFileSync(
    join(folder, 'own.jinja'),
    `{% for m in messages %}{{ m.role[0] + ':' + m.content + ';' }}{% endfor %}{% if add_generation_prompt %}a:{% endif %}`,
  );
  const yaml = `
out: ${join(folder, 'run')}
model: { layers: 1, heads: 2, width: 32, contextLength: 64 }
tokenizer: { kind: byte }
data: { path: text.txt }
train: { steps: 40, batchSize: 4, learningRate: 0.01, evalEvery: 0 }
finetune: { task: chat, path: chat.jsonl, train: { steps: 250, batchSize: 8, learningRate: 0.01, evalEvery: 250 }${more} }
`;
  return parseRunConfig(yaml, join(folder, 'run.yaml'));
}

test.serial('a model learns to answer; its checkpoint knows the template', async (t) => {
  const run = config(t, ', template: own.jinja');
  await pretrain(run);
  const result = await finetune(run);
  t.true(result.valLoss < 0.1, `${result.valLoss}`);
  const { model, tokenizer, chatTemplate: template } = await openModel(join(run.out, 'finetune'));
  const messages: ChatMessage[] = [{ role: 'user', content: 'sea?' }];
  const prompt = template?.render(messages, { addGenerationPrompt: true }) as string;
  t.is(prompt, 'u:sea?;a:');
  const [{ text: said } = { text: '' }] = await generate(model, tokenizer as never, prompt, { maxTokens: 5, temperature: 0 });
  t.true(said.startsWith('blue;'), said);
  model.dispose();
  t.is((await openModel(run.out)).chatTemplate, null);
});

test('the configuration: template is for chat alone; a file that is no Jinja is named', async (t) => {
  t.throws(() => parseRunConfig('finetune: { template: x.jinja }', 'a.yaml'), {
    message: /finetune\.template must be left out unless finetune\.task is chat/,
  });
  t.throws(() => parseRunConfig('finetune: { task: chta }', 'a.yaml'), {
    message: /finetune\.task must be one of completion, chat.*did you mean chat\?/,
  });
});
