import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import {
  applyChatTemplate,
  ByteTokenizer,
  type ChatMessage,
  chatTemplate,
  chatTemplateConfig,
  chatTemplateOfConfig,
  defaultChatTemplate,
  loadChatTemplate,
} from '../../../lib/index.ts';

const byte = new ByteTokenizer();
const TALK: readonly ChatMessage[] = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'Hi' },
  { role: 'assistant', content: 'Hello' },
  { role: 'user', content: 'Sum?' },
  { role: 'assistant', content: '4' },
];
const learned = (template: ReturnType<typeof chatTemplate>, messages = TALK): string[] =>
  template.pieces(messages).flatMap((piece) => (piece.learned ? [piece.text] : []));

// Templates of the forms that published models have.
const CHATML = `{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}`;
const LLAMA3 = `{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}`;
const LLAMA2 = `{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}`;

test('templates of published models: text, generation prompt, what is learned', (t) => {
  const chatml = chatTemplate(CHATML);
  t.is(
    chatml.render(TALK.slice(0, 2), { addGenerationPrompt: true }),
    '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n',
  );
  t.deepEqual(learned(chatml), ['Hello<|im_end|>\n', '4<|im_end|>\n']);
  const llama3 = chatTemplate(LLAMA3, { bos: '<s>' });
  t.true(llama3.render(TALK).startsWith('<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>'));
  t.deepEqual(learned(llama3), ['Hello<|eot_id|>', '4<|eot_id|>']);
  const llama2 = chatTemplate(LLAMA2, { bos: '<s>', eos: '</s>' });
  t.is(llama2.render(TALK.slice(1)), '<s>[INST] Hi [/INST] Hello</s>[INST] Sum? [/INST] 4</s>');
  t.deepEqual(learned(llama2, TALK.slice(1)), [' Hello</s>', ' 4</s>']);
  t.throws(() => llama2.render(TALK), { code: 'ERR_HEDDLE_ARGUMENT', message: 'chat template: Roles must alternate' });
  for (const template of [chatml, llama3])
    t.is(
      template
        .pieces(TALK)
        .map(({ text }) => text)
        .join(''),
      template.render(TALK),
    );
});

test('{% generation %} marks what is learned, where prefixes do not tell', (t) => {
  // Earlier answers are left out: the conversation does not begin with what it was before.
  const body = (open: string, close: string) =>
    `{% for m in messages %}\n{% if m.role == 'assistant' %}\nA:${open}{% if loop.last %}{{ m.content }}{% else %}-{% endif %}${close}\n{% else %}\n{{ m.content + '|' }}\n{% endif %}\n{% endfor %}`;
  const bare = chatTemplate(body('', ''));
  t.throws(() => bare.pieces(TALK), { message: /a conversation must begin with what it was before, .*answer 2/s });
  for (const [open, close] of [
    ['{% generation %}', '{% endgeneration %}'],
    ['{%- generation -%}', '{%- endgeneration -%}'],
  ] as const) {
    const marked = chatTemplate(body(open, close));
    t.is(marked.render(TALK), bare.render(TALK).replace(/\n(?=A:)/g, '\n'));
    t.deepEqual(learned(marked), ['-', '4']);
    t.is(
      marked
        .pieces(TALK)
        .map(({ text }) => text)
        .join(''),
      marked.render(TALK),
    );
  }
});

test('the default template; ids with special tokens', (t) => {
  const template = defaultChatTemplate(byte);
  t.is(template.render(TALK.slice(1, 3)), '<|user|>\nHi<|endoftext|>\n<|assistant|>\nHello<|endoftext|>\n');
  const ids = [...applyChatTemplate(byte, TALK.slice(1, 2), { addGenerationPrompt: true })];
  t.deepEqual(ids, [...byte.encode('<|user|>\nHi'), byte.endOfText as number, ...byte.encode('\n<|assistant|>\n')]);
  t.deepEqual(learned(defaultChatTemplate(new ByteTokenizer([]))), ['Hello\n', '4\n']);
});

test("a model's folder: chat_template.jinja, tokenizer_config.json, named templates, nothing", (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-chat-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  t.is(loadChatTemplate(folder, byte), null);
  const config = join(folder, 'tokenizer_config.json');
  const write = (value: object) => writeFileSync(config, JSON.stringify(value));
  write({ chat_template: LLAMA2, bos_token: { content: '<s>' }, eos_token: '</s>' });
  const loaded = loadChatTemplate(folder, byte);
  t.is(loaded?.render(TALK.slice(1, 3)), '<s>[INST] Hi [/INST] Hello</s>');
  const again = chatTemplateOfConfig('x', chatTemplateConfig(loaded as never) as never, byte);
  t.deepEqual([again?.source, again?.tokens], [loaded?.source, loaded?.tokens]);
  write({
    chat_template: [
      { name: 'tool_use', template: 'x' },
      { name: 'default', template: '{{ eos_token }}' },
    ],
  });
  t.is(loadChatTemplate(folder, byte)?.render(TALK), '<|endoftext|>');
  write({ chat_template: 3 });
  t.throws(() => loadChatTemplate(folder, byte), {
    message: `${config}: chat_template must be a text, or a list with one named default, got 3`,
  });
  write({ chat_template: '{% for %}' });
  t.throws(() => loadChatTemplate(folder, byte), {
    code: 'ERR_HEDDLE_FILE',
    message: /tokenizer_config\.json: .*must be a Jinja template/,
  });
  write({ chat_template: '{{ x | nothing }}' });
  t.throws(() => loadChatTemplate(folder, byte)?.render(TALK), {
    code: 'ERR_HEDDLE_FILE',
    message: /tokenizer_config\.json: chat template: /,
  });
  writeFileSync(join(folder, 'chat_template.jinja'), 'own');
  write({});
  t.is(loadChatTemplate(folder, byte)?.render(TALK), 'own');
});
