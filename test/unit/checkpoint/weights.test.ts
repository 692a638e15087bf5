import { join } from 'node:path';
import test from 'ava';
import { openSafetensors, writeSafetensors } from '../../../lib/checkpoint/safetensors.ts';
import { loadWeights, saveWeights, weightEntries } from '../../../lib/checkpoint/weights.ts';
import { widen } from '../../../lib/checkpoint/weights-half.ts';
import { Embedding, Linear } from '../../../lib/nn/index.ts';
import { AdamW } from '../../../lib/optim/index.ts';
import { FileError } from '../../../lib/util/errors.ts';
import { build, changed, families, logitsOf, someIds } from '../models/support.ts';
import { temporaryFolder } from './support.ts';

test('what was saved is loaded bit for bit, also into the flat buffers of an optimizer', async (t) => {
  const folder = temporaryFolder(t);
  for (const [i, input] of Object.values(families).entries()) {
    using saved = build(input, 1);
    using loaded = build(input, 2);
    const optimizer = new AdamW(loaded);
    const file = join(folder, `${i}.safetensors`);
    await saveWeights(file, saved);
    t.not(changed(logitsOf(loaded, someIds(9)), logitsOf(saved, someIds(9))).length, 0);
    await loadWeights(file, loaded);
    t.deepEqual(changed(logitsOf(loaded, someIds(9)), logitsOf(saved, someIds(9))), []);
    optimizer.dispose();
  }
});

test('the file holds the parameters by their names, F32', async (t) => {
  const file = join(temporaryFolder(t), 'model.safetensors');
  using model = build();
  await saveWeights(file, model);
  const opened = await openSafetensors(file);
  const named = model.namedParameters();
  t.deepEqual([...opened.tensors.keys()].sort(), [...named.keys()].sort());
  for (const [name, { dtype, shape }] of opened.tensors) t.deepEqual([dtype, shape], ['F32', [...(named.get(name)?.shape ?? [])]]);
  t.is(opened.metadata.get('format'), 'heddle');
  await opened.close();
});

test('half precision is widened without loss', (t) => {
  const f16 = [0, -0, 1, -2, 65504, 2 ** -24, 2 ** -14, Number.POSITIVE_INFINITY, 1 / 3];
  const halves = Uint16Array.of(0, 0x8000, 0x3c00, 0xc000, 0x7bff, 1, 0x0400, 0x7c00, 0x3555);
  const got = widen('F16', new Uint8Array(halves.buffer));
  t.deepEqual([...got.slice(0, 8)], f16.slice(0, 8));
  t.is(got[8], 0.333251953125);
  t.true(Number.isNaN(widen('F16', new Uint8Array(Uint16Array.of(0x7e00).buffer))[0]));
  t.deepEqual([...widen('BF16', new Uint8Array(Uint16Array.of(0x3f80, 0xc000, 0x7f80).buffer))], [1, -2, Number.POSITIVE_INFINITY]);
});

test('missing, unexpected and misshapen tensors are named, and nothing is overwritten', async (t) => {
  const file = join(temporaryFolder(t), 'model.safetensors');
  using layer = new Linear(3, 2);
  const before = layer.weight.dataSync();
  const fails = async (message: RegExp): Promise<void> => {
    const error = await t.throwsAsync(loadWeights(file, layer), { instanceOf: FileError, message });
    t.is(error?.file, file);
    t.deepEqual(layer.weight.dataSync(), before);
  };
  const [weight, bias] = weightEntries(new Linear(3, 2)) as [ReturnType<typeof weightEntries>[0], ReturnType<typeof weightEntries>[0]];
  await writeSafetensors(file, [weight]);
  await fails(/tensor "bias" is missing$/);
  await writeSafetensors(file, [weight, { ...bias, name: 'bais' }]);
  await fails(/tensor "bias" is missing\n {2}The file holds "bais"\.$/);
  await writeSafetensors(file, [weight, bias, { ...bias, name: 'bias2' }]);
  await fails(/tensor "bias2" is not expected: the model has no parameter of this name$/);
  await writeSafetensors(file, [{ ...weight, shape: [3, 2] }, bias]);
  await fails(/tensor "weight": shape must be \(2, 3\), got \(3, 2\)$/);
  await writeSafetensors(file, [weight, { ...bias, dtype: 'I32' }]);
  await fails(/tensor "bias": dtype must be one of F32, F16, BF16, got I32$/);
  using other = new Embedding(2, 3);
  await saveWeights(file, other);
  await fails(/tensor "bias" is missing/);
});
