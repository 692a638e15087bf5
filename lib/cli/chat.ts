import { createInterface, type Interface } from 'node:readline';
import type { Chat } from '../generate/index.ts';
import { command } from './command.ts';
import { MODEL, MODEL_OPTIONS, openForUse } from './model.ts';
import { note, print } from './output.ts';
import { SAMPLING_OPTIONS, samplingFrom, sectionOf } from './sample.ts';

const HELP = '/reset forgets what was said, /exit ends; Ctrl-C stops an answer, or ends.';

/** Where the model is told to stop: Ctrl-C, which the terminal gives to the line editor, and signals. */
class Interrupts {
  /** Of the answer that is being given. */
  controller: AbortController | undefined;
  readonly #lines: Interface;
  readonly #stop = (): void => {
    if (this.controller) this.controller.abort(new Stopped());
    else this.#lines.close();
  };

  /** The line editor has ended: nothing more can be asked. */
  closed = false;

  constructor(lines: Interface) {
    this.#lines = lines;
    lines.on('close', () => {
      this.closed = true;
    });
    lines.on('SIGINT', this.#stop);
    process.on('SIGINT', this.#stop);
  }

  end(): void {
    process.off('SIGINT', this.#stop);
    this.#lines.close();
  }
}

class Stopped extends Error {}

/** Writes an answer as it comes, and what it cost on stderr. */
async function answer(chat: Chat, text: string, options: Parameters<Chat['say']>[1], interrupts: Interrupts): Promise<void> {
  interrupts.controller = new AbortController();
  let tokens = 0;
  const started = performance.now();
  const onToken = (): void => {
    tokens++;
  };
  try {
    for await (const piece of chat.say(text, { ...options, onToken, signal: interrupts.controller.signal })) process.stdout.write(piece);
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
  } finally {
    interrupts.controller = undefined;
  }
  print('');
  const seconds = (performance.now() - started) / 1000;
  note(`[${tokens} tokens, ${(tokens / seconds).toFixed(1)} tokens/s]`);
}

export const run = command(
  {
    name: 'chat',
    summary: 'talk with a model',
    positionals: MODEL,
    options: {
      system: { kind: 'text', value: 'TEXT', help: 'what stands above the conversation' },
      ...SAMPLING_OPTIONS,
      ...MODEL_OPTIONS,
    },
    details: `Reads a line from stdin for each turn; answers go to stdout. ${HELP}`,
    examples: [
      ['heddle chat runs/quickstart', 'a conversation in the terminal'],
      ['heddle chat Qwen/Qwen3-0.6B --system "Be short." --temperature 0.7', 'a model of the hub, in the format that it comes with'],
      ['heddle chat runs/quickstart --temperature 0 < questions.txt', 'one conversation, a question a line'],
    ],
  },
  async ({ values, positionals: [path = ''] }) => {
    const { Chat, plainChatFormat } = await import('../generate/index.ts');
    const opened = await openForUse('chat', path, values);
    const options = samplingFrom(values, await sectionOf(opened.config, opened.checkpoint));
    const chat = new Chat(opened.model, opened.tokenizer, {
      format: opened.chatTemplate ?? plainChatFormat, // the one that a model comes with
      ...(values.system !== undefined && { system: values.system }),
    });
    const isTerminal = process.stdin.isTTY === true && process.stderr.isTTY === true;
    const lines = createInterface({ input: process.stdin, output: process.stderr, terminal: isTerminal, prompt: '> ' });
    const interrupts = new Interrupts(lines);
    if (isTerminal) note(HELP);
    let turn = 0;
    try {
      if (isTerminal) lines.prompt();
      for await (const line of lines) {
        const text = line.trim();
        if (text === '/exit') break;
        if (text === '/reset') chat.reset();
        else if (text.startsWith('/')) note(`${text} is not known. ${HELP}`);
        else if (text !== '') await answer(chat, text, { ...options, seed: options.seed + turn++ }, interrupts);
        if (isTerminal && !interrupts.closed) lines.prompt();
      }
    } finally {
      interrupts.end();
      opened.model.dispose();
    }
    return 0;
  },
);
