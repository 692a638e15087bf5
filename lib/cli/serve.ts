import { existsSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { command } from './command.ts';
import { interruptible } from './interrupt.ts';
import { MODEL, MODEL_OPTIONS, openForUse } from './model.ts';
import { note, print } from './output.ts';

const KEY = 'HEDDLE_API_KEY';

export const run = command(
  {
    name: 'serve',
    summary: 'answer requests over HTTP, as OpenAI does',
    positionals: MODEL,
    options: {
      host: { kind: 'text', value: 'ADDRESS', help: 'where to listen; default 127.0.0.1, this machine alone' },
      port: { kind: 'integer', value: 'N', min: 0, help: 'default 8000; 0: one that is free' },
      rows: { kind: 'integer', value: 'N', min: 1, help: 'texts that are computed together; default 4' },
      'max-waiting': { kind: 'integer', value: 'N', min: 0, help: 'texts that may wait before requests are refused; default 64' },
      'max-tokens': {
        kind: 'integer',
        value: 'N',
        min: 1,
        help: "tokens that a text may have; default the model's context, at least 4096",
      },
      name: { kind: 'text', value: 'NAME', help: "what clients call the model; default its folder's name, or its id" },
      ...MODEL_OPTIONS,
    },
    details: `Prints its address once it listens. Ctrl-C ends it. Where ${KEY} is set, requests must bring it as "Authorization: Bearer KEY".`,
    examples: [
      ['heddle serve runs/quickstart', 'http://127.0.0.1:8000/v1/completions, /v1/chat/completions, /v1/models, /health'],
      ['heddle serve Qwen/Qwen3-0.6B --rows 8 --port 8080', 'a model of the hub, eight texts at a time'],
    ],
  },
  async ({ values, positionals: [path = ''] }) => {
    const { serve } = await import('../serve/index.ts');
    const opened = await openForUse('serve', path, values);
    const apiKey = process.env[KEY];
    try {
      const server = await serve(opened.model, opened.tokenizer, {
        name: values.name ?? (existsSync(path) ? basename(resolve(path)) : path),
        ...(values.host !== undefined && { host: values.host }),
        ...(values.port !== undefined && { port: values.port }),
        ...(values.rows !== undefined && { rows: values.rows }),
        ...(values['max-waiting'] !== undefined && { maxWaiting: values['max-waiting'] }),
        ...(values['max-tokens'] !== undefined && { maxTokens: values['max-tokens'] }),
        ...(opened.chatTemplate && { chatFormat: opened.chatTemplate }), // the one that a model comes with
        ...(apiKey && { apiKey }),
        onAnswer: ({ method, path: url, status, promptTokens, completionTokens, seconds, error }) =>
          note(
            `${method} ${url} ${status}, ${promptTokens} + ${completionTokens} tokens, ${seconds.toFixed(2)} s${error ? `: ${error.stack}` : ''}`,
          ),
      });
      print(server.url);
      await interruptible('Stopping.', async (signal) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        await server.close();
      });
    } finally {
      opened.model.dispose();
    }
    return 0;
  },
);
