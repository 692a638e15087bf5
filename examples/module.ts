// A model of one's own: modules hold parameters and other modules; forward is plain TypeScript.
import { AdamW, manualSeed, nn, noGrad, ops, rand, scope, type Tensor } from 'heddle';

/** x + down(silu(gate(n)) · up(n)) with n = RMSNorm(x): a gated residual block on (..., C). */
class GatedBlock extends nn.Module {
  readonly norm: nn.RMSNorm;
  readonly gate: nn.Linear;
  readonly up: nn.Linear;
  readonly down: nn.Linear;

  constructor(width: number, hidden: number) {
    super();
    this.norm = new nn.RMSNorm(width);
    this.gate = new nn.Linear(width, hidden, { std: 0.2 });
    this.up = new nn.Linear(width, hidden, { std: 0.2 });
    this.down = new nn.Linear(hidden, width);
  }

  forward(x: Tensor): Tensor {
    const n = this.norm.forward(x);
    const gated = this.gate.forward(n, { activation: 'silu' }).mul(this.up.forward(n));
    return this.down.forward(gated, { residual: x }); // the addition is part of the matrix product's kernel
  }
}

class Curve extends nn.Module {
  readonly input = new nn.Linear(1, 32, { std: 1 });
  readonly blocks = [new GatedBlock(32, 64), new GatedBlock(32, 64)];
  readonly output = new nn.Linear(32, 1, { std: 0.1 });

  forward(x: Tensor): Tensor {
    let h = ops.tanh(this.input.forward(x));
    for (const block of this.blocks) h = block.forward(h);
    return this.output.forward(h);
  }
}

manualSeed(1);
using model = new Curve();
const optimizer = new AdamW(model, { lr: 3e-3, weightDecay: 0 });
const x = rand([256, 1], { seed: 2 }).mul(6).sub(3);
const y = x.sin();
const error = (): Tensor => model.forward(x).sub(y).square().mean();

console.log(`${model.parameterCount()} parameters, the first ones ${[...model.namedParameters().keys()].slice(0, 4).join(', ')}`);
for (let step = 1; step <= 200; step++) {
  scope(() => {
    error().backward();
    optimizer.step();
    optimizer.zeroGrad();
  });
  if (step % 50 === 0) console.log(`step ${step}: mean squared error ${(await noGrad(() => scope(error)).item()).toFixed(5)}`);
}
