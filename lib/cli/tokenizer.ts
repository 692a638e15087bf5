import { dispatch, type Group } from './command.ts';

const TOKENIZER: Group = {
  name: 'heddle tokenizer',
  summary: 'train, use and look at tokenizers',
  entries: {
    train: { summary: 'learn a vocabulary from a text', load: async () => ({ run: (await import('./tokenizer-train.ts')).run }) },
    encode: { summary: 'text to token ids', load: async () => ({ run: (await import('./tokenizer-use.ts')).encode }) },
    decode: { summary: 'token ids to text', load: async () => ({ run: (await import('./tokenizer-use.ts')).decode }) },
    info: { summary: 'what a tokenizer is', load: async () => ({ run: (await import('./tokenizer-use.ts')).info }) },
  },
};

export const run = (args: readonly string[]): Promise<number> => dispatch(TOKENIZER, args);
