// The models of a folder of golden fixtures (test/fixtures/README.md): a Hugging Face folder and what it must compute.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { backward, noGrad } from '../../lib/autograd/index.ts';
import { loadPretrained, pieceOf } from '../../lib/checkpoint/pretrained.ts';
import { parsePretrainedConfig } from '../../lib/checkpoint/pretrained-config.ts';
import { readJSON } from '../../lib/checkpoint/pretrained-files.ts';
import { HEAD, type Piece, prefixOf, pretrainedPieces } from '../../lib/checkpoint/pretrained-names.ts';
import { generateRows } from '../../lib/generate/index.ts';
import type { GPT } from '../../lib/models/index.ts';
import type { Compute } from '../../lib/nn/index.ts';
import { tensor } from '../../lib/tensor/create.ts';
import { scope, type Tensor } from '../../lib/tensor/tensor.ts';
import { fillTrain as trainConfig } from '../../lib/train/config-defaults.ts';
import { toDevice } from '../../lib/train/evaluate.ts';
import { type BatchSource, Trainer } from '../../lib/train/trainer.ts';
import { scaledError } from './error.ts';
import { type FixtureModel, type HostTensor, readIndex, readTensors } from './fixture_files.ts';
import type { FixtureResult } from './fixture_suite.ts';

/** One compared quantity: as a result of an op case, with the model's folder as its case. */
type Report = (tensor: string, error: number, tol: number) => void;

/** Every tensor of a model under its name in Hugging Face's file. */
async function piecesOf(folder: string): Promise<Map<string, Piece>> {
  const file = path.join(folder, 'config.json');
  const pretrained = parsePretrainedConfig(file, await readJSON(file));
  return new Map([...pretrainedPieces(pretrained)].map((p) => [p.name === HEAD ? HEAD : `${prefixOf(pretrained.type)}${p.name}`, p]));
}

/** A piece of each parameter, or of its gradient, in the file's layout. */
function inTheirLayout(model: GPT, piece: Piece, what: 'value' | 'gradient'): Float32Array {
  return scope(() => {
    const p = model.namedParameters().get(piece.parameter);
    const t = what === 'value' ? p : p?.grad;
    if (!t) throw new Error(`${piece.parameter} has no ${what}`);
    return pieceOf(piece, t).dataSync<'f32'>();
  });
}

function idsOf(t: HostTensor, device: string): Tensor {
  return tensor(t.data as Int32Array, { shape: t.shape, device });
}

type Golden = (name: string) => HostTensor;

function checkGradients(
  model: GPT,
  pieces: ReadonlyMap<string, Piece>,
  row: FixtureModel,
  golden: Golden,
  tol: Tolerances,
  report: Report,
): void {
  const { device } = model;
  const factor = model.compute === 'f16' ? 4096 : 1; // small gradients vanish in f16
  scope(() => {
    const logits = noGrad(() => model.logits(idsOf(golden('eval_ids'), device)));
    report('logits', scaledError(logits.dataSync(), golden('logits').data), tol.logits);
    const targets = golden('eval_targets');
    const scale = tensor([factor / targets.data.length], { shape: [], device });
    const loss = model.loss(idsOf(golden('eval_ids'), device), idsOf(targets, device), { scale });
    report('loss', scaledError([loss.itemSync() / factor], [row.loss]), tol.loss);
    backward(loss);
  });
  for (const [name, piece] of pieces)
    report(
      `grad/${name}`,
      scaledError(
        inTheirLayout(model, piece, 'gradient').map((g) => g / factor),
        golden(`grad/${name}`).data,
      ),
      tol.grad,
    );
  for (const p of model.parameters()) p.zeroGrad();
}

async function checkGreedy(model: GPT, golden: Golden, report: Report): Promise<void> {
  const [prompt, want] = [golden('prompt'), golden('greedy')];
  const [B, T] = prompt.shape as [number, number];
  const rows = Array.from({ length: B }, (_, b) => Array.from(prompt.data.slice(b * T, (b + 1) * T)));
  for (const cache of [true, false]) {
    const found = await generateRows(model, rows, { temperature: 0, maxTokens: want.shape[1] as number, cache });
    const wrong = found.flatMap((r) => r.tokens).filter((id, i) => id !== want.data[i]).length;
    const missing = want.data.length - found.reduce((n, r) => n + r.tokens.length, 0);
    report(cache ? 'greedy with cache: wrong tokens' : 'greedy without cache: wrong tokens', wrong + missing, 0.5);
  }
}

/** The training batches of a model, used in turn. */
function batchesOf(golden: Golden): BatchSource {
  const [ids, targets] = [golden('train_ids'), golden('train_targets')];
  const [count, rows, length] = ids.shape as [number, number, number];
  const size = rows * length;
  let at = 0;
  return {
    next() {
      const part = (t: HostTensor) => t.data.slice(at * size, (at + 1) * size) as Int32Array;
      const batch = { rows, length, inputs: part(ids), targets: part(targets), targetCount: size };
      at = (at + 1) % count;
      return batch;
    },
    state: () => ({}),
    restore: () => undefined,
    epoch: 0,
  };
}

/** The optimizer's steps of the row, through the trainer. */
async function checkTraining(
  model: GPT,
  pieces: ReadonlyMap<string, Piece>,
  row: FixtureModel,
  golden: Golden,
  tol: Tolerances,
  report: Report,
) {
  const { lr, eps, weight_decay: weightDecay, steps } = row.optimizer as Record<string, number>;
  const data = batchesOf(golden);
  const train = trainConfig(
    {
      ...{ steps, learningRate: lr, epsilon: eps, weightDecay, betas: row.optimizer.betas as [number, number] },
      ...{ schedule: 'constant', warmup: 0, clip: 0, evalEvery: 0, saveEvery: 0 },
    },
    golden('train_ids').shape[2] as number,
  );
  // The scale with which PyTorch's own f16 was measured: a dynamic one may begin with steps that are skipped.
  const policy = { compute: model.compute, lossScale: model.compute === 'f16' ? 4096 : 1 };
  const trainer = new Trainer({ model, data, train, policy });
  for await (const event of trainer) {
    if (event.type !== 'step') continue;
    const i = event.step - 1;
    report(`train loss ${i}`, Math.abs(event.loss - (row.train_loss[i] as number)), tol.trainLoss);
    const norm = row.train_grad_norm[i] as number;
    report(`gradient norm ${i}`, Math.abs(event.gradNorm - norm) / norm, tol.gradNorm);
  }
  const batch = data.next();
  const loss = noGrad(() =>
    scope(() => {
      const { inputs, targets } = toDevice(batch, model.device);
      return model.loss(inputs, targets).itemSync();
    }),
  );
  report('final loss', Math.abs(loss - (row.train_loss[steps as number] as number)), tol.trainLoss);
  for (const [name, want] of Object.entries(row.final_param_l2)) {
    const piece = pieces.get(name);
    if (!piece) throw new Error(`final_param_l2: no tensor is called ${name}`);
    const norm = Math.sqrt(inTheirLayout(model, piece, 'value').reduce((sum, x) => sum + x * x, 0));
    // A bias of the keys adds the same to all scores of a query: its gradient is 0 but for rounding, which Adam blows up to whole steps.
    const walks = piece.parameter.endsWith('attn.qkv.bias');
    report(`final norm of ${name}`, Math.abs(norm - want) / want, walks ? 20 * tol.gradNorm : tol.finalNorm);
  }
  trainer.dispose();
}

interface Tolerances {
  logits: number;
  loss: number;
  grad: number;
  /** Of a loss, absolute. */
  trainLoss: number;
  gradNorm: number;
  finalNorm: number;
}

type HalfErrors = Readonly<Record<string, Readonly<Record<'bf16' | 'f16', Readonly<Record<string, number>>>>>>;

/**
 * In f32 (and on devices without TF32) those of the row. In half precision twice what PyTorch in that type errs, plus a rounding:
 * half_errors.json of the folder has that error, or ours has that of the most similar model. TF32 keeps as many bits as f16.
 */
async function tolerancesOf(folder: string, row: FixtureModel, compute: Compute): Promise<Tolerances> {
  if (compute === 'f32') {
    const { logits = 0, loss = 0, grad = 0, train_loss_abs: trainLoss = 0, grad_norm_rel: gradNorm = 0 } = row.tol;
    return { logits, loss, grad, trainLoss, gradNorm, finalNorm: gradNorm };
  }
  const [type, rounding] = compute === 'bf16' ? (['bf16', 2 ** -8] as const) : (['f16', 2 ** -11] as const);
  const read = async (name: string): Promise<HalfErrors> => JSON.parse(await readFile(name, 'utf8')) as HalfErrors;
  const own = await read(path.join(folder, 'half_errors.json')).catch((): HalfErrors => ({}));
  const ours = await read(OUR_HALF_ERRORS);
  const errors = (own[row.dir] ?? ours[row.model_type === 'gpt2' ? 'gpt2-tiny' : 'llama-tiny'])?.[type] ?? {};
  const most = (name: string): number => 2 * (errors[name] as number) + rounding;
  return {
    ...{ logits: most('logits'), loss: most('loss'), grad: most('grad') },
    ...{ trainLoss: most('train_loss_abs'), gradNorm: most('grad_norm_rel'), finalNorm: most('final_norm_rel') },
  };
}

const OUR_HALF_ERRORS = fileURLToPath(new URL('../fixtures/half_errors.json', import.meta.url));

export interface ModelFixtureOptions {
  /** Default `'cpu'`. */
  device?: string;
  /** Default f32. */
  compute?: Compute;
}

/**
 * Loads a model of a fixtures folder and compares logits, loss, every gradient, the greedy continuation (with cache and without;
 * in f32, where its choices are clear of rounding) and a short training (losses, gradient norms, final parameters).
 */
export async function runModelFixture(folder: string, row: FixtureModel, options: ModelFixtureOptions = {}): Promise<FixtureResult[]> {
  const { device = 'cpu', compute = 'f32' } = options;
  const results: FixtureResult[] = [];
  const head = { op: 'model', case: row.dir };
  const report: Report = (name, error, tol) => results.push({ ...head, tensor: name, error, tol, outcome: error <= tol ? 'pass' : 'fail' });
  const where = path.join(folder, row.dir);
  try {
    const tensors = await readTensors(path.join(where, 'golden.safetensors'));
    const golden: Golden = (name) => {
      const t = tensors.get(name);
      if (!t) throw new Error(`golden.safetensors holds no ${name}`);
      return t;
    };
    const pieces = await piecesOf(where);
    const compared = [...tensors.keys()].filter((name) => name.startsWith('grad/')).map((name) => name.slice(5));
    const unknown = compared.find((name) => !pieces.has(name));
    if (unknown !== undefined || compared.length !== pieces.size)
      throw new Error(`gradients of ${compared.length} tensors, the model has ${pieces.size}; unknown: ${unknown ?? 'none'}`);
    const tol = await tolerancesOf(folder, row, compute);
    using model = await loadPretrained(where, { device, compute });
    checkGradients(model, pieces, row, golden, tol, report);
    if (compute === 'f32') await checkGreedy(model, golden, report);
    await checkTraining(model, pieces, row, golden, tol, report);
  } catch (error) {
    results.push({
      ...head,
      tensor: '',
      error: Number.NaN,
      tol: 0,
      outcome: 'fail',
      message: error instanceof Error ? error.message : String(error),
    });
  }
  return results;
}

/** Runs every model of a folder. */
export async function runModels(folder: string, options: ModelFixtureOptions = {}): Promise<FixtureResult[]> {
  const results: FixtureResult[] = [];
  for (const row of (await readIndex(folder)).models) results.push(...(await runModelFixture(folder, row, options)));
  return results;
}
