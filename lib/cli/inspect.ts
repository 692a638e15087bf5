import { dispatch, type Group } from './command.ts';

const INSPECT: Group = {
  name: 'heddle inspect',
  summary: 'look at what a model is given',
  entries: {
    batch: { summary: 'a batch of a run, as the model sees it', load: () => import('./inspect-batch.ts') },
  },
};

export const run = (args: readonly string[]): Promise<number> => dispatch(INSPECT, args);
