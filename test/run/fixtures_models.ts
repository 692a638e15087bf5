// The models of a folder of golden fixtures (test/fixtures/README.md): a Hugging Face folder and what it must compute.
import path from 'node:path';
import { backward, noGrad } from '../../lib/autograd/index.ts';
import { loadPretrained, pieceOf } from '../../lib/checkpoint/pretrained.ts';
import { parsePretrainedConfig } from '../../lib/checkpoint/pretrained-config.ts';
import { readJSON } from '../../lib/checkpoint/pretrained-files.ts';
import { HEAD, type Piece, PREFIX, pretrainedPieces } from '../../lib/checkpoint/pretrained-names.ts';
import { generateRows } from '../../lib/generate/index.ts';
import type { GPT } from '../../lib/models/index.ts';
import { AdamW } from '../../lib/optim/index.ts';
import { tensor } from '../../lib/tensor/create.ts';
import { scope, type Tensor } from '../../lib/tensor/tensor.ts';
import { scaledError } from './error.ts';
import { type FixtureModel, type HostTensor, readIndex, readTensors } from './fixture_files.ts';
import type { FixtureResult } from './fixture_suite.ts';

/** One compared quantity: as a result of an op case, with the model's folder as its case. */
type Report = (tensor: string, error: number, tol: number) => void;

/** Every tensor of a model under its name in Hugging Face's file. */
async function piecesOf(folder: string): Promise<Map<string, Piece>> {
  const file = path.join(folder, 'config.json');
  const pretrained = parsePretrainedConfig(file, await readJSON(file));
  return new Map(pretrainedPieces(pretrained).map((p) => [p.name === HEAD ? HEAD : `${PREFIX[pretrained.type]}${p.name}`, p]));
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

function idsOf(t: HostTensor, device: string, batch?: number): Tensor {
  const size = t.data.length / (batch === undefined ? 1 : (t.shape[0] as number));
  const [shape, at] = batch === undefined ? [t.shape, 0] : [t.shape.slice(1), batch * size];
  return tensor(t.data.slice(at, at + size) as Int32Array, { shape, device });
}

type Golden = (name: string) => HostTensor;

function checkGradients(
  model: GPT,
  pieces: ReadonlyMap<string, Piece>,
  row: FixtureModel,
  golden: Golden,
  device: string,
  report: Report,
): void {
  scope(() => {
    const logits = noGrad(() => model.logits(idsOf(golden('eval_ids'), device)));
    report('logits', scaledError(logits.dataSync(), golden('logits').data), row.tol.logits as number);
    const loss = model.loss(idsOf(golden('eval_ids'), device), idsOf(golden('eval_targets'), device));
    report('loss', scaledError([loss.itemSync()], [row.loss]), row.tol.loss as number);
    backward(loss);
  });
  for (const [name, piece] of pieces)
    report(`grad/${name}`, scaledError(inTheirLayout(model, piece, 'gradient'), golden(`grad/${name}`).data), row.tol.grad as number);
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

async function checkTraining(
  model: GPT,
  pieces: ReadonlyMap<string, Piece>,
  row: FixtureModel,
  golden: Golden,
  device: string,
  report: Report,
) {
  const { lr, betas, eps, weight_decay: weightDecay, steps } = row.optimizer as Record<string, number> & { betas: [number, number] };
  const optimizer = new AdamW(model, { lr: lr as number, betas, eps: eps as number, weightDecay: weightDecay as number });
  const [ids, targets] = [golden('train_ids'), golden('train_targets')];
  const lossTol = row.tol.train_loss_abs as number;
  const normTol = row.tol.grad_norm_rel as number;
  for (let step = 0; step <= (steps as number); step++) {
    optimizer.zeroGrad();
    const batch = step % (ids.shape[0] as number);
    const last = step === steps;
    const loss = scope(() => {
      const l = model.loss(idsOf(ids, device, batch), idsOf(targets, device, batch));
      if (!last) backward(l);
      return l.itemSync();
    });
    report(last ? 'final loss' : `train loss ${step}`, Math.abs(loss - (row.train_loss[step] as number)), lossTol);
    if (last) break;
    optimizer.clipGradNorm(0); // only measures
    optimizer.step();
    const norm = row.train_grad_norm[step] as number;
    report(`gradient norm ${step}`, Math.abs((await optimizer.report()).gradNorm - norm) / norm, normTol);
  }
  for (const [name, want] of Object.entries(row.final_param_l2)) {
    const piece = pieces.get(name);
    if (!piece) throw new Error(`final_param_l2: no tensor is called ${name}`);
    const norm = Math.sqrt(inTheirLayout(model, piece, 'value').reduce((sum, x) => sum + x * x, 0));
    // A bias of the keys adds the same to all scores of a query: its gradient is 0 but for rounding, which Adam blows up to whole steps.
    const walks = piece.parameter.endsWith('attn.qkv.bias');
    report(`final norm of ${name}`, Math.abs(norm - want) / want, walks ? 20 * normTol : normTol);
  }
  optimizer.dispose();
}

/**
 * Loads a model of a fixtures folder and compares logits, loss, every gradient, the greedy continuation (with cache and without)
 * and a short training (losses, gradient norms, final parameters) at the tolerances of its row. Always in f32.
 */
export async function runModelFixture(folder: string, row: FixtureModel, options: { device?: string } = {}): Promise<FixtureResult[]> {
  const { device = 'cpu' } = options;
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
    using model = await loadPretrained(where, { device });
    checkGradients(model, pieces, row, golden, device, report);
    await checkGreedy(model, golden, report);
    await checkTraining(model, pieces, row, golden, device, report);
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
export async function runModels(folder: string, options: { device?: string } = {}): Promise<FixtureResult[]> {
  const results: FixtureResult[] = [];
  for (const row of (await readIndex(folder)).models) results.push(...(await runModelFixture(folder, row, options)));
  return results;
}
