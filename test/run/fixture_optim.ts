// The optimizer cases of the golden fixtures: steps on given gradients, and clipping by the global norm.
import { backward } from '../../lib/autograd/index.ts';
import { Parameter } from '../../lib/nn/index.ts';
import { mul, sum } from '../../lib/ops/index.ts';
import { Adam, AdamW, Lion, Muon, type Optimizer, SGD } from '../../lib/optim/index.ts';
import { tensor } from '../../lib/tensor/create.ts';
import { scope, type Tensor } from '../../lib/tensor/tensor.ts';
import type { Attributes, FixtureCase, HostTensor } from './fixture_files.ts';

type Parameters = ReadonlyMap<string, Parameter>;

/** What the settings of a case are called in the library. */
interface Settings {
  lr: number;
  betas: readonly [number, number];
  eps: number;
  weightDecay: number;
  momentum: number;
  dampening: number;
  nesterov: boolean;
}

function settingsOf(a: Attributes): Settings {
  const number = (name: string): number => (typeof a[name] === 'number' ? (a[name] as number) : 0);
  return {
    lr: number('lr'),
    betas: (a.betas ?? [0, 0]) as [number, number],
    eps: number('eps'),
    weightDecay: number('weight_decay'),
    momentum: number('momentum'),
    dampening: number('dampening'),
    nesterov: a.nesterov === true,
  };
}

/** The cases decay parameters of every shape. */
const groups = { groups: ['decay'], groupOf: () => 'decay' };

function optimizerOf(parameters: Parameters, attrs: Attributes): Optimizer {
  const s = settingsOf(attrs);
  switch (attrs.kind) {
    case 'adamw':
      return new AdamW(parameters, { ...s, ...groups });
    case 'adam':
      return new Adam(parameters, { ...s, ...groups });
    case 'sgd':
      return new SGD(parameters, { ...s, ...groups });
    case 'lion':
      return new Lion(parameters, { ...s, ...groups });
    case 'muon':
      return new Muon(parameters, {
        ...s,
        adjust: attrs.adjust_lr_fn === 'match_rms_adamw' ? 'matchAdamW' : 'original',
        isMuon: () => true,
      });
    default:
      throw new Error(`no optimizer is called ${attrs.kind}`);
  }
}

/** Gives a parameter this gradient, through backward. */
function setGradient(p: Parameter, gradient: Float32Array): void {
  scope(() => backward(sum(mul(p, tensor(gradient, { shape: p.shape, device: p.device })))));
}

/** Names of the library's buffers and of the fixtures' states. */
const STATES: Readonly<Record<string, string>> = { exp_avg: 'm', exp_avg_sq: 'v', momentum_buffer: 'm' };

async function steps(attrs: Attributes, outputs: readonly string[], inputs: ReadonlyMap<string, HostTensor>, device: string) {
  const p0 = inputs.get('p0') as HostTensor;
  const grads = inputs.get('grads') as HostTensor;
  const n = p0.data.length;
  const p = new Parameter(tensor(p0.data, { shape: p0.shape, device }));
  const optimizer = optimizerOf(new Map([['blocks.p', p]]), attrs);
  const trajectory = new Float32Array(grads.data.length);
  for (let step = 0; step < (grads.shape[0] as number); step++) {
    optimizer.zeroGrad();
    setGradient(p, grads.data.slice(step * n, (step + 1) * n) as Float32Array);
    optimizer.step();
    trajectory.set(p.dataSync<'f32'>(), step * n);
  }
  const found = new Map<string, Float32Array>([['p', trajectory]]);
  for (const name of outputs) {
    const buffer = optimizer.buffers.get(STATES[name] ?? '');
    if (buffer) found.set(name, ((await buffer.data()) as Float32Array).slice(0, n));
  }
  optimizer.dispose();
  p.dispose();
  return found;
}

/** Clipping is a factor in the device's state that the next step applies: a step of plain descent with lr 1 shows the gradient. */
async function clip(attrs: Attributes, inputs: ReadonlyMap<string, HostTensor>, device: string) {
  const parameters = new Map(
    [...inputs].map(([name, { shape, data }]) => [name, new Parameter(tensor(new Float32Array(data.length), { shape, device }))]),
  );
  const optimizer = new SGD(parameters, { lr: 1 });
  for (const [name, p] of parameters) setGradient(p, inputs.get(name)?.data as Float32Array);
  optimizer.clipGradNorm(attrs.max_norm as number);
  optimizer.step();
  const found = new Map<string, Float32Array>([['norm', Float32Array.of((await optimizer.report()).gradNorm)]]);
  for (const [name, p] of parameters)
    found.set(
      `${name}_clipped`,
      p.dataSync<'f32'>().map((x) => -x),
    );
  optimizer.dispose();
  for (const p of parameters.values() as Iterable<Tensor>) p.dispose();
  return found;
}

/** The outputs of an optimizer case, by name. */
export function runOptimizer(
  row: FixtureCase,
  inputs: ReadonlyMap<string, HostTensor>,
  device: string,
): Promise<Map<string, Float32Array>> {
  return row.attrs.kind === 'clip_grad_norm' ? clip(row.attrs, inputs, device) : steps(row.attrs, row.outputs, inputs, device);
}
