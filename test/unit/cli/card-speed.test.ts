import test from 'ava';
import { expectedTokensPerSecond } from '../../../lib/cli/card-speed.ts';
import { deviceFindings } from '../../../lib/cli/doctor-devices.ts';
import { type CardPeak, cardPeak } from '../../../lib/util/cards.ts';

test('peaks go by the names of the driver', (t) => {
  for (const [card, tensor, memory] of [
    ['NVIDIA H100 80GB HBM3', 989e12, 3350e9],
    ['NVIDIA H100 PCIe', 756e12, 2039e9],
    ['NVIDIA H200', 989e12, 4800e9],
    ['NVIDIA A100-SXM4-80GB', 312e12, 2039e9],
    ['NVIDIA A100 80GB PCIe', 312e12, 1935e9],
    ['NVIDIA A100-PCIE-40GB', 312e12, 1555e9],
    ['NVIDIA L40S', 362e12, 864e9],
    ['NVIDIA L4', 121e12, 300e9],
    ['Tesla T4', 65e12, 320e9],
    ['NVIDIA GeForce RTX 4090', 165.2e12, 1008e9],
  ] as const)
    t.deepEqual(cardPeak(card), { tensor, memory }, card);
  for (const card of ['NVIDIA GeForce RTX 4090 Laptop GPU', 'simulated sm_80', '']) t.is(cardPeak(card), undefined, card);
});

test('what a card should reach lies between what others have measured and its peaks', (t) => {
  const h100 = expectedTokensPerSecond(cardPeak('NVIDIA H100 80GB HBM3') as CardPeak);
  t.true(h100 > 640e3 && h100 < 760e3, `${h100}`);
});

test('the doctor says so of a card that it knows, and of no simulated one', (t) => {
  const device = { name: 'cuda:0', capability: 90, memory: 80 * 2 ** 30, free: 79 * 2 ** 30, multiprocessors: 132, problem: '' };
  const speeds = (card: string, simulated: boolean) =>
    deviceFindings(undefined, [{ ...device, card, simulated }], []).filter(({ name }) => name === 'cuda:0 speed');
  const [said] = speeds('NVIDIA H100 80GB HBM3', false);
  t.is(said?.status, 'ok');
  t.regex(said?.value ?? '', /^GPT-2 124M should train at about 7\d\dk tokens\/s in bf16 \(70 % of 989 TFLOP\/s, 80 % of 3350 GB\/s\)/);
  const [t4] = deviceFindings(undefined, [{ ...device, card: 'Tesla T4', capability: 75, simulated: false }], []).slice(1);
  t.regex(t4?.value ?? '', /tokens\/s in f16 \(70 % of 65 TFLOP/);
  t.deepEqual(speeds('simulated sm_90', true), []);
  t.deepEqual(speeds('a card of next year', false), []);
});
