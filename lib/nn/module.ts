import { full, normal } from '../tensor/create.ts';
import type { Device } from '../tensor/device.ts';
import { nextSeed } from '../tensor/random.ts';
import type { Shape } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';

/** A tensor that is learned. It lives until its module is disposed of, whatever scope it was made in. */
export class Parameter extends Tensor {
  /** Takes over the tensor's memory. */
  constructor(initial: Tensor) {
    super(initial.take());
    this.keep();
    this.requiresGrad = true;
  }
}

/** How parameters begin: where, and from which sequence of seeds. */
export interface InitOptions {
  device?: Device;
  /** Gives each parameter a seed of its own; default: the sequence that `manualSeed` starts. */
  seeds?: () => number;
}

/** A parameter drawn from a normal distribution with mean 0. */
export function normalParameter(shape: Shape, std: number, options: InitOptions = {}): Parameter {
  return new Parameter(normal(shape, 0, std, { seed: (options.seeds ?? nextSeed)(), ...(options.device && { device: options.device }) }));
}

/** A parameter of one value. */
export function constantParameter(shape: Shape, value: number, options: InitOptions = {}): Parameter {
  return new Parameter(full(shape, value, options.device ? { device: options.device } : {}));
}

/**
 * A part of a model. Its parameters are the Parameters among its properties and those of the Modules there (alone or in
 * arrays), named by the path of properties: `blocks.0.mlp.up.weight`.
 */
export abstract class Module {
  /** False while evaluating: dropout is off. */
  training = true;

  #children(): [string, Parameter | Module][] {
    const found: [string, Parameter | Module][] = [];
    for (const [key, value] of Object.entries(this)) {
      if (value instanceof Parameter || value instanceof Module) found.push([key, value]);
      else if (Array.isArray(value)) {
        value.forEach((item, i) => {
          if (item instanceof Parameter || item instanceof Module) found.push([`${key}.${i}`, item]);
        });
      }
    }
    return found;
  }

  /** Every parameter once (a shared one under its first name), in the order of the properties. */
  namedParameters(): Map<string, Parameter> {
    const names = new Map<Parameter, string>();
    const visit = (module: Module, prefix: string): void => {
      for (const [key, child] of module.#children()) {
        if (child instanceof Module) visit(child, `${prefix}${key}.`);
        else if (!names.has(child)) names.set(child, `${prefix}${key}`);
      }
    };
    visit(this, '');
    return new Map([...names].map(([p, name]) => [name, p]));
  }

  parameters(): Parameter[] {
    return [...this.namedParameters().values()];
  }

  /** Number of learned numbers. */
  parameterCount(): number {
    return this.parameters().reduce((n, p) => n + p.size, 0);
  }

  /** Training mode, here and in all parts. */
  train(on = true): this {
    this.training = on;
    for (const [, child] of this.#children()) if (child instanceof Module) child.train(on);
    return this;
  }

  eval(): this {
    return this.train(false);
  }

  /** Frees all parameters. */
  dispose(): void {
    for (const p of this.parameters()) p.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
