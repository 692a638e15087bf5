import { dispatch, type Group } from './command.ts';

const INSPECT: Group = {
  name: 'heddle inspect',
  summary: 'look at what a model is given, and what its training takes',
  entries: {
    batch: { summary: 'a batch of a run, as the model sees it', load: () => import('./inspect-batch.ts') },
    memory: { summary: 'how much memory a training run takes, and what makes it fit', load: () => import('./inspect-memory.ts') },
  },
};

export const run = (args: readonly string[]): Promise<number> => dispatch(INSPECT, args);
