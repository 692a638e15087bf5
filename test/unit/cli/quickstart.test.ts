import test from 'ava';
import { quickstartFor } from '../../../lib/cli/quickstart.ts';
import { countParameters } from '../../../lib/models/index.ts';
import { loadRunConfig, modelConfig } from '../../../lib/train/config.ts';

const gpu = { card: 'a card', memory: 1, free: 1, multiprocessors: 1, problem: '', simulated: false };

test('on a GPU the model is larger, and lands in the same folder', (t) => {
  const load = (device: string, gpus: Parameters<typeof quickstartFor>[1]) => {
    const { file, set } = quickstartFor(device, gpus);
    const run = loadRunConfig(file, { set });
    return { out: run.out, compute: run.train.policy.compute, parameters: countParameters(modelConfig(run, 1024)).total };
  };
  const small = load('auto', []);
  const large = load('auto', [{ ...gpu, name: 'cuda:0', capability: 90 }]);
  t.is(small.compute, 'f32');
  t.is(large.compute, 'bf16');
  t.is(large.out, small.out);
  t.true(small.parameters < 2.1e6 && large.parameters > 10e6, `${small.parameters}, ${large.parameters}`);
});

test('which one it is', (t) => {
  const older = { ...gpu, name: 'cuda:0', capability: 75 };
  const name = (device: string, ...gpus: Parameters<typeof quickstartFor>[1]) => quickstartFor(device, gpus);
  t.regex(name('auto', older).file, /quickstart-gpu\.yaml$/);
  t.deepEqual(name('cuda', older).set, ['train.policy.compute=f16']);
  t.deepEqual(name('cuda:1', older, { ...older, name: 'cuda:1', capability: 80 }).set, ['train.policy.compute=bf16']);
  for (const { file, set } of [
    name('cpu', older),
    name('auto', { ...older, problem: 'its driver is too old' }),
    name('cuda', { ...older, simulated: true }),
    name('cuda:7', older),
  ]) {
    t.regex(file, /quickstart\.yaml$/);
    t.deepEqual(set, []);
  }
});
