// Tensors and models on several devices; what needs a second one runs where there is a GPU, simulated ones included.
import test from 'ava';
import { AdamW, backward, describeDevice, type GPT, gpuInfo, memory, scope, type Tensor, tensor } from '../../../lib/index.ts';
import { DEVICES, EVERY_DEVICE, onDevice } from '../../run/devices.ts';
import { build, idsOf, someIds } from '../models/support.ts';

const values = (t: Tensor): number[] => [...t.dataSync()];
const lossOf = (model: GPT, device: string): Tensor =>
  scope(() => model.loss(idsOf(someIds(9)).to(device), idsOf(someIds(9, 1)).to(device)));

for (const device of DEVICES) {
  test(`to() moves and casts, and the gradient comes back${onDevice(device)}`, (t) => {
    const x = tensor([1, -2, 3], { device: 'cpu', requiresGrad: true });
    const there = x.to(device);
    t.is(there.device, device);
    t.is(x.to('bf16').dtype, 'bf16');
    t.deepEqual(values(there.mul(2).to('cpu')), [2, -4, 6]);
    backward(there.square().sum());
    t.is(x.grad?.device, 'cpu');
    t.deepEqual(values(x.grad as Tensor), [2, -4, 6]);
    t.throws(() => x.to('abacus'), { message: /'abacus'/ });
  });

  test(`a model that moved computes the same there${onDevice(device)}`, (t) => {
    using model = build({ positions: 'sinusoidal' }).to('cpu');
    const want = lossOf(model, 'cpu').itemSync();
    t.is(model.to(device), model);
    t.true(model.parameters().every((p) => p.device === device));
    const loss = lossOf(model, device);
    t.is(loss.device, device);
    t.true(Math.abs(loss.itemSync() - want) < 1e-5);
    backward(loss);
    t.true(model.parameters().every((p) => p.grad?.device === device));
    const optimizer = new AdamW(model);
    optimizer.step();
    optimizer.dispose();
    model.computeIn('f16').to('cpu');
    t.true(model.parameters().every((p) => p.device === 'cpu' && p.compute.device === 'cpu' && p.compute.dtype === 'f16'));
    t.is(model.parameters()[0]?.grad, null);
  });

  test(`reading back is counted${onDevice(device)}`, (t) => {
    const x = tensor([1, 2, 3], { device });
    const before = memory(device).copiesOut;
    x.add(1).mul(2).dispose();
    t.is(memory(device).copiesOut, before);
    x.dataSync();
    t.is(memory(device).copiesOut, before + 1);
  });

  test(`a device has a name for people${onDevice(device)}`, (t) => {
    const gpu = gpuInfo(device);
    t.is(gpu === undefined, device === 'cpu');
    t.is(describeDevice(device), gpu ? `${device} (${gpu.card})` : 'cpu');
  });
}

const [other] = EVERY_DEVICE.filter((device) => device !== 'cpu');
if (other !== undefined)
  test('tensors on different devices: the error names both', (t) => {
    const [a, b] = [tensor([1], { device: 'cpu' }), tensor([1], { device: other })];
    t.throws(() => a.add(b), { message: `add: a and b must be on one device, got cpu and ${other}` });
    const x = tensor([1, 2], { device: other, requiresGrad: true });
    t.throws(() => x.mul(2).backward({ gradient: tensor([1, 1], { device: 'cpu' }) }), {
      message: `backward: gradient must be on ${other}, got cpu`,
    });
  });
