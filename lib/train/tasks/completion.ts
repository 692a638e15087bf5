// Answers to prompts, and conversations: loss on what the model is to say, several examples in a row without seeing each other.
import { readFileSync } from 'node:fs';
import {
  CONVERSATION,
  type Conversation,
  type Example,
  ExamplesLoader,
  encodeConversations,
  encodeExamples,
  openSource,
  planSplit,
  splitItems,
  type TokenData,
} from '../../data/index.ts';
import { chatTemplate, defaultChatTemplate } from '../../tokenizer/index.ts';
import { ArgumentError, FileError } from '../../util/errors.ts';
import type { RunConfig } from '../config.ts';
import { readFiles, requirePath } from './read.ts';
import type { PreparedTask, Task, TaskContext } from './task.ts';

async function readExamples(path: string, fraction: number, part: 'train' | 'validation'): Promise<Example[]> {
  const source = openSource(path);
  const examples: Example[] = [];
  for (const item of splitItems(source, await planSplit(source, fraction), part)) {
    if (item.kind !== 'example') throw new ArgumentError(`${item.file}:${item.line}: must have prompt and completion, got text`);
    examples.push({ prompt: item.prompt, completion: item.completion });
  }
  return examples;
}

function loaderOf({ finetune }: RunConfig, data: TokenData): ExamplesLoader {
  const { train, packing, tooLong } = finetune;
  return new ExamplesLoader(data, { batch: train.batchSize, length: train.contextLength, seed: train.seed, packing, tooLong });
}

export const completion: Task<Example> = {
  async read(files) {
    const [path, { valPath, valFraction }] = [requirePath(files, 'prompts and completions'), files];
    if (valPath !== undefined) return { train: await readExamples(path, 0, 'train'), validation: await readExamples(valPath, 0, 'train') };
    return { train: await readExamples(path, valFraction, 'train'), validation: await readExamples(path, valFraction, 'validation') };
  },
  prepare({ train, validation }, { run, tokenizer, chatTemplate: template }): PreparedTask {
    return {
      data: loaderOf(run, encodeExamples(train, tokenizer)),
      validation: validation.length > 0 ? encodeExamples(validation, tokenizer) : null,
      chatTemplate: template,
    };
  },
};

/** The template of the configuration, of the model, or the default one. */
function templateOf({ run, tokenizer, chatTemplate: own }: TaskContext) {
  const file = run.finetune.template;
  if (file === undefined) return own ?? defaultChatTemplate(tokenizer);
  const { tokens } = own ?? defaultChatTemplate(tokenizer);
  let source: string;
  try {
    source = readFileSync(file, 'utf8');
  } catch (error) {
    throw new FileError(file, `cannot be read: ${(error as Error).message}`, { cause: error });
  }
  try {
    return chatTemplate(source, tokens);
  } catch (error) {
    throw new FileError(file, (error as Error).message, { cause: error });
  }
}

export const chat: Task<Conversation> = {
  read: async (files) => readFiles(files, CONVERSATION, 'conversations'),
  prepare({ train, validation }, context): PreparedTask {
    const { run, tokenizer } = context;
    const template = templateOf(context);
    return {
      data: loaderOf(run, encodeConversations(train, tokenizer, template)),
      validation: validation.length > 0 ? encodeConversations(validation, tokenizer, template) : null,
      chatTemplate: template,
    };
  },
};
