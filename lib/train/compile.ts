// compile, fit, evaluate and predict, as Keras has them: a thin face over the Trainer, for rows of tokens that a program has in hand.
// Importing this file adds them to GPT. Defaults are Keras's, but for the order, the loss and the labels: see `fit`.
import { noGrad } from '../autograd/index.ts';
import { type Batch, RowsLoader, type TokenRows } from '../data/index.ts';
import { GPT } from '../models/index.ts';
import { argmax, cast, eq, sum } from '../ops/index.ts';
import { full, scope, type Tensor, tensor } from '../tensor/index.ts';
import { ArgumentError } from '../util/errors.ts';
import type { TrainConfig } from './config.ts';
import { fillTrain } from './config-defaults.ts';
import { toDevice } from './evaluate.ts';
import { Trainer } from './trainer.ts';

type TrainInput = Parameters<typeof fillTrain>[0];
export type CompiledOptimizer = Exclude<TrainConfig['optimizer'], 'muon'>;

export interface CompileOptions {
  /** A name, with Keras's settings of it, or with settings of your own. Default `'adam'`. */
  optimizer?:
    | CompiledOptimizer
    | ({ name: CompiledOptimizer } & Pick<TrainInput, 'learningRate' | 'betas' | 'epsilon' | 'momentum' | 'weightDecay' | 'clip'>);
  /** Cross-entropy of the next token: the one loss that there is. */
  loss?: 'sparseCategoricalCrossentropy';
  /** `'accuracy'`: the share of targets that the model holds for the most likely. In `fit` it costs a forward pass more. */
  metrics?: readonly 'accuracy'[];
}

export interface FitOptions {
  /** Passes over the rows. Default 1. */
  epochs?: number;
  /** Rows of a step. Default 32. */
  batchSize?: number;
  /** A new order in each epoch. Default true. */
  shuffle?: boolean;
  /** Of the order. Default 0. */
  seed?: number;
  /** Of the shape of the rows: the token that is to stand in each place; -100: none is learned. Default: the rows themselves. */
  labels?: TokenRows;
  /** Rows that are evaluated after each epoch: `valLoss`, `valAccuracy`. */
  validation?: TokenRows;
  /** Called after each epoch, with its number from 0 and its figures. */
  onEpoch?: (epoch: number, figures: Readonly<Record<string, number>>) => void;
}

/** What `fit` gives: the epochs, and of each figure one value an epoch. */
export interface History {
  epoch: number[];
  history: Record<string, number[]>;
}

export interface RowsEvaluation {
  /** Mean cross-entropy of a target, in nats. */
  loss: number;
  /** With the metric `'accuracy'`. */
  accuracy?: number;
}

declare module '../models/gpt.ts' {
  interface GPT {
    /** Says what `fit` trains with. Called again it starts anew, with a fresh optimizer; the weights stay. */
    compile(options?: CompileOptions): this;
    /**
     * Trains on rows of token ids. The labels are the rows themselves, shifted by one: each token is predicted from those before it.
     * Keras's `fit(ids)` without labels has no targets at all. A row longer than the context is cut. The optimizer goes on where the
     * last `fit` stopped.
     */
    fit(rows: TokenRows, options?: FitOptions): Promise<History>;
    /** The loss (and metrics) over all rows, each target once. */
    evaluate(rows: TokenRows, options?: Pick<FitOptions, 'batchSize' | 'labels'>): Promise<RowsEvaluation>;
    /** Logits (B, T, V) of rows of equal length. */
    predict(rows: TokenRows): Tensor;
  }
}

const KERAS: Readonly<Record<CompiledOptimizer, TrainInput>> = {
  adam: { learningRate: 1e-3, betas: [0.9, 0.999], epsilon: 1e-7, weightDecay: 0 },
  adamw: { learningRate: 1e-3, betas: [0.9, 0.999], epsilon: 1e-7, weightDecay: 4e-3 },
  lion: { learningRate: 1e-3, betas: [0.9, 0.99], weightDecay: 0 },
  sgd: { learningRate: 1e-2, momentum: 0, weightDecay: 0 },
};

/** The rows of the `fit` that runs: the trainer is made once, its data come and go. */
class Feed {
  rows: RowsLoader | null = null;
  get #current(): RowsLoader {
    if (!this.rows) throw new ArgumentError('fit: no rows');
    return this.rows;
  }
  get epoch(): number {
    return this.#current.epoch;
  }
  next(): Batch {
    return this.#current.next();
  }
  state(): object {
    return this.#current.state();
  }
  restore(state: { step: number }): void {
    this.#current.restore(state);
  }
}

interface Compiled {
  accuracy: boolean;
  feed: Feed;
  trainer: Trainer;
}

const compiled = new WeakMap<GPT, Compiled>();

function compile(model: GPT, options: CompileOptions): void {
  const { optimizer = 'adam', loss = 'sparseCategoricalCrossentropy', metrics = [] } = options;
  const { name, ...own } = typeof optimizer === 'string' ? { name: optimizer } : optimizer;
  if (!Object.hasOwn(KERAS, name))
    throw new ArgumentError(`compile: optimizer must be one of ${Object.keys(KERAS).join(', ')}, got ${JSON.stringify(name)}`);
  if (loss !== 'sparseCategoricalCrossentropy')
    throw new ArgumentError(`compile: loss must be 'sparseCategoricalCrossentropy', got ${JSON.stringify(loss)}`);
  for (const metric of metrics)
    if (metric !== 'accuracy') throw new ArgumentError(`compile: metrics must be 'accuracy', got ${JSON.stringify(metric)}`);
  compiled.get(model)?.trainer.dispose();
  compiled.delete(model);
  const settings: TrainInput = { clip: 0, ...KERAS[name], ...own, optimizer: name, schedule: 'constant', warmup: 0 };
  const train = fillTrain({ ...settings, steps: Number.MAX_SAFE_INTEGER, evalEvery: 0, logEvery: 1 }, model.config.contextLength);
  const feed = new Feed();
  compiled.set(model, { accuracy: metrics.includes('accuracy'), feed, trainer: new Trainer({ model, train, data: feed }) });
}

function compiledOf(model: GPT, what: string): Compiled {
  const found = compiled.get(model);
  if (!found) throw new ArgumentError(`${what}: compile the model first, as in model.compile({ optimizer: 'adam' })`);
  return found;
}

/** Sums over batches, of numbers that the device still computes: read one at a time, without holding it up. */
class Total {
  #sum = 0;
  #pending: Tensor | null = null;

  async add(next: Tensor): Promise<void> {
    const before = this.#pending;
    this.#pending = next;
    await this.#read(before);
  }
  async #read(t: Tensor | null): Promise<void> {
    if (!t) return;
    try {
      this.#sum += await t.item();
    } finally {
      t.dispose();
    }
  }
  async value(): Promise<number> {
    await this.#read(this.#pending);
    this.#pending = null;
    return this.#sum;
  }
}

/** How many targets of a batch are the most likely tokens. */
function correct(model: GPT, batch: Batch): Tensor {
  return noGrad(() =>
    scope(() => {
      const { inputs, targets } = toDevice(batch, model.device);
      return sum(cast(eq(argmax(model.logits(inputs), -1), targets), 'f32')).keep();
    }),
  );
}

/** Works in evaluation mode: without dropout. */
async function evaluating<T>(model: GPT, work: () => Promise<T>): Promise<T> {
  const { training } = model;
  model.eval();
  try {
    return await work();
  } finally {
    model.train(training);
  }
}

async function evaluateRows(model: GPT, loader: RowsLoader, accuracy: boolean): Promise<RowsEvaluation> {
  const [nats, right] = [new Total(), new Total()];
  let targets = 0;
  await evaluating(model, async () => {
    const one = full([], 1, { device: model.device }).keep();
    try {
      for (let i = 0; i < loader.batches; i++) {
        const batch = loader.next();
        targets += batch.targetCount;
        const loss = noGrad(() =>
          scope(() => {
            const b = toDevice(batch, model.device);
            return model.loss(b.inputs, b.targets, { scale: one }).keep();
          }),
        );
        await nats.add(loss);
        if (accuracy) await right.add(correct(model, batch));
      }
    } finally {
      one.dispose();
    }
  });
  const loss = (await nats.value()) / targets;
  return accuracy ? { loss, accuracy: (await right.value()) / targets } : { loss };
}

function rowsFor(model: GPT, what: string, rows: TokenRows, o: FitOptions): RowsLoader {
  const { batchSize = 32, shuffle = false, seed = 0, labels } = o;
  const { contextLength, vocabSize } = model.config;
  return new RowsLoader(what, rows, { batch: batchSize, length: contextLength, vocabSize, shuffle, seed, ...(labels && { labels }) });
}

async function fitRows(model: GPT, rows: TokenRows, options: FitOptions): Promise<History> {
  const { epochs = 1, validation, onEpoch } = options;
  if (!(Number.isSafeInteger(epochs) && epochs >= 0))
    throw new ArgumentError(`fit: epochs must be an integer of at least 0, got ${epochs}`);
  const { accuracy, feed, trainer } = compiledOf(model, 'fit');
  const loader = rowsFor(model, 'fit', rows, { shuffle: true, ...options });
  const { batchSize } = options;
  const held =
    validation === undefined ? null : rowsFor(model, 'fit: validation', validation, batchSize === undefined ? {} : { batchSize });
  feed.rows = loader;
  const steps = trainer[Symbol.asyncIterator]();
  const result: History = { epoch: [], history: {} };
  for (let epoch = 0; epoch < epochs; epoch++) {
    const right = new Total();
    let [nats, targets] = [0, 0];
    for (let i = 0; i < loader.batches; i++) {
      const batch = loader.peek();
      if (accuracy) await evaluating(model, () => right.add(correct(model, batch)));
      const { value } = await steps.next();
      if (value?.type === 'step') nats += value.loss * batch.targetCount;
      targets += batch.targetCount;
    }
    const figures: Record<string, number> = { loss: nats / targets };
    if (accuracy) figures.accuracy = (await right.value()) / targets;
    if (held) {
      const found = await evaluateRows(model, held, accuracy);
      figures.valLoss = found.loss;
      if (found.accuracy !== undefined) figures.valAccuracy = found.accuracy;
    }
    result.epoch.push(epoch);
    for (const [name, figure] of Object.entries(figures)) result.history[name] = [...(result.history[name] ?? []), figure];
    onEpoch?.(epoch, figures);
  }
  return result;
}

function predict(model: GPT, rows: TokenRows): Tensor {
  const list = (rows.length === 0 || typeof rows[0] === 'number' ? [rows] : rows) as readonly ArrayLike<number>[];
  const T = list[0]?.length ?? 0;
  const wrong = list.find((row) => row.length !== T);
  if (wrong) throw new ArgumentError(`predict: rows must be of equal length, got ${T} and ${wrong.length} tokens`);
  const { vocabSize } = model.config;
  const ids = Int32Array.from(list.flatMap((row) => Array.from(row)));
  const id = ids.find((id) => !(id >= 0 && id < vocabSize));
  if (id !== undefined) throw new ArgumentError(`predict: a token must be an id from 0 to ${vocabSize - 1}, got ${id}`);
  const { training } = model;
  model.eval();
  try {
    return noGrad(() => scope(() => model.logits(tensor(ids, { shape: [list.length, T], device: model.device }))));
  } finally {
    model.train(training);
  }
}

const methods: Pick<GPT, 'compile' | 'fit' | 'evaluate' | 'predict'> & ThisType<GPT> = {
  compile(options = {}) {
    compile(this, options);
    return this;
  },
  fit(rows, options = {}) {
    return fitRows(this, rows, options);
  },
  async evaluate(rows, options = {}) {
    const { accuracy } = compiledOf(this, 'evaluate');
    return evaluateRows(this, rowsFor(this, 'evaluate', rows, options), accuracy);
  },
  predict(rows) {
    return predict(this, rows);
  },
};

for (const [name, value] of Object.entries(methods))
  Object.defineProperty(GPT.prototype, name, { value, writable: true, configurable: true, enumerable: false });
