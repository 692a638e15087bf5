// Trains a small run as `heddle pretrain --resume` does: the project's folder, the run's folder. Prints a line for every event, so that
// the parent knows how far it is.
import { train } from '../../../disk/run.ts';

const [project = '', out = ''] = process.argv.slice(2);
const set = [
  ...['train.steps=24', 'train.gradientAccumulation=2', 'train.evalEvery=4', 'train.saveEvery=3', 'train.keep=2'],
  ...['model.dropout=0.1', 'data.documents=true'],
];
console.log('start');
await train(project, { out, seed: 5, set, resume: true, onEvent: ({ type, step }) => console.log(`${type} ${step}`) });
