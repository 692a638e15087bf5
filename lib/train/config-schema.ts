import type { z } from 'zod';
import { listCorpora } from '../data/corpora.ts';
import { ACTIVATIONS, BIASES, NORM_POSITIONS, NORMS, POSITIONS } from '../models/config.ts';
import { LORA_TARGETS, QUANTIZATIONS } from '../models/lora-targets.ts';
import { presetNames } from '../models/presets.ts';
import { COMPUTES, OFFLOADS, RECOMPUTES, STORAGES } from '../nn/policy.ts';
import { lazy, zod } from '../util/lazy.ts';
import { FINETUNE_TASKS } from './finetune-tasks.ts';

// What may stand in a run's configuration. Each leaf's error is what was expected of it; the path and what came instead are added
// by whoever reports it. Everything may be missing or null, which means the default: those are filled in by config.ts.

function build({ z }: typeof import('zod')) {
  const count = z.number({ error: 'a positive integer' }).int({ error: 'a positive integer' }).min(1, { error: 'a positive integer' });
  const countOrNone = z.number({ error: 'an integer from 0' }).int({ error: 'an integer from 0' }).min(0, { error: 'an integer from 0' });
  const positive = z.number({ error: 'a positive number' }).gt(0, { error: 'a positive number' });
  const notNegative = z.number({ error: 'a number from 0' }).min(0, { error: 'a number from 0' });
  const fraction = z
    .number({ error: 'at least 0 and below 1' })
    .min(0, { error: 'at least 0 and below 1' })
    .lt(1, { error: 'at least 0 and below 1' });
  const share = z.number({ error: 'from 0 to 1' }).min(0, { error: 'from 0 to 1' }).max(1, { error: 'from 0 to 1' });
  const flag = z.boolean({ error: 'true or false' });
  const text = z.string({ error: 'a text' });
  const DEVICE = 'cpu, cuda, cuda:N or auto';
  const path = z
    .string({ error: 'a path' })
    .min(1, { error: 'a path' })
    .refine((name) => !name.includes('\0'), { error: 'a path' });
  const choice = <const T extends readonly [string, ...string[]]>(names: T) => z.enum(names, { error: `one of ${names.join(', ')}` });

  function section<const T extends Record<string, z.ZodType>>(shape: T) {
    const optional = Object.fromEntries(Object.entries(shape).map(([key, schema]) => [key, schema.nullish()]));
    return z.strictObject(optional as { [K in keyof T]: z.ZodOptional<z.ZodNullable<T[K]>> }, { error: 'a section of keys' });
  }

  const model = section({
    preset: choice(presetNames as [string, ...string[]]),
    vocabSize: count,
    paddedVocab: count,
    contextLength: count,
    layers: count,
    heads: count,
    kvHeads: count,
    width: count,
    headSize: count,
    ffnWidth: count,
    norm: choice(NORMS),
    normEps: positive,
    normPosition: choice(NORM_POSITIONS),
    finalNorm: flag,
    bias: z.union([flag, choice(BIASES)], { error: `true, false or one of ${BIASES.join(', ')}` }),
    normBias: flag,
    activation: choice(ACTIVATIONS),
    positions: choice(POSITIONS),
    ropeTheta: positive,
    ropeScaling: section({ factor: positive, context: count, low: positive, high: positive }),
    ropeInterleaved: flag,
    rotaryFraction: share,
    qkNorm: flag,
    tiedHead: flag,
    causal: flag,
    attention: z.array(section({ window: count }), { error: 'a list such as [{}, { window: 256 }]' }),
    dropout: z.union([fraction, section({ embedding: fraction, attention: fraction, residual: fraction })], {
      error: 'at least 0 and below 1, or a section with embedding, attention, residual',
    }),
    initStd: positive,
    scaledInit: flag,
  });

  const tokenizer = section({ kind: choice(['byte', 'char', 'bpe', 'load']), vocabSize: count, minFrequency: count, path });

  const data = section({
    corpus: choice(listCorpora().map((c) => c.name) as [string, ...string[]]),
    path,
    valPath: path,
    valFraction: fraction,
    shardTokens: count,
    sampling: choice(['random', 'epoch']),
    documents: flag,
  });

  const train = section({
    steps: count,
    batchSize: count,
    gradientAccumulation: count,
    contextLength: count,
    learningRate: positive,
    minLearningRate: notNegative,
    warmup: countOrNone,
    schedule: choice(['cosine', 'linear', 'wsd', 'constant']),
    decaySteps: count,
    optimizer: choice(['adamw', 'adam', 'sgd', 'lion', 'muon']),
    betas: z.tuple([fraction, fraction], { error: 'two numbers at least 0 and below 1, such as [0.9, 0.95]' }),
    epsilon: positive,
    momentum: fraction,
    nesterov: flag,
    dampening: share,
    weightDecay: notNegative,
    muon: section({ learningRate: positive, momentum: fraction, nesterov: flag, iterations: count, weightDecay: notNegative }),
    clip: notNegative,
    labelSmoothing: fraction,
    zLoss: notNegative,
    evalEvery: countOrNone,
    evalTokens: countOrNone,
    earlyStop: countOrNone,
    saveEvery: countOrNone,
    keep: count,
    sampleEvery: countOrNone,
    logEvery: count,
    seed: countOrNone,
    policy: section({
      compute: choice(COMPUTES),
      lossScale: z.union([positive, z.literal('dynamic')], { error: 'a positive number or dynamic' }),
      recompute: choice(RECOMPUTES),
      graph: flag,
      headRows: countOrNone,
      moments: choice(STORAGES),
      weights: choice(STORAGES),
      offload: choice(OFFLOADS),
    }),
  });

  const finetune = section({
    from: path,
    task: choice(FINETUNE_TASKS),
    template: path,
    path,
    valPath: path,
    valFraction: fraction,
    packing: flag,
    tooLong: choice(['error', 'truncate']),
    lora: section({
      rank: count,
      alpha: positive,
      dropout: fraction,
      targets: z.array(choice(LORA_TARGETS), { error: `a list of ${LORA_TARGETS.join(', ')}` }).min(1, { error: 'a list of at least one' }),
      dora: flag,
      quantize: choice(QUANTIZATIONS),
      merge: flag,
    }),
    head: section({ lmWeight: notNegative, dropout: fraction }),
    dpo: section({ beta: positive }),
    train,
  });

  const generate = section({
    prompt: text,
    maxTokens: count,
    temperature: notNegative,
    topK: countOrNone,
    topP: share,
    minP: share,
    repetitionPenalty: positive,
    stop: z.array(text, { error: 'a list of texts' }),
    samples: count,
    seed: countOrNone,
  });

  const device = z.string({ error: DEVICE }).regex(/^(auto|cpu|cuda(:\d+)?)$/, { error: DEVICE });

  return section({ name: text, out: path, device, model, tokenizer, data, train, finetune, generate });
}

/** Built when the first configuration is read. */
export const runSchema = lazy(() => build(zod()));

type WithoutNull<T> = T extends readonly unknown[]
  ? { [K in keyof T]: WithoutNull<T[K]> }
  : T extends object
    ? { [K in keyof T]: WithoutNull<NonNullable<T[K]>> | Extract<T[K], undefined> }
    : T;

/** What a configuration may say, before defaults are filled in. */
export type RunInput = WithoutNull<z.infer<ReturnType<typeof runSchema>>>;

/** Keys whose relative paths start at the file that names them. */
export const PATH_KEYS: readonly (readonly string[])[] = [
  ['tokenizer', 'path'],
  ['data', 'path'],
  ['data', 'valPath'],
  ['finetune', 'from'],
  ['finetune', 'path'],
  ['finetune', 'template'],
  ['finetune', 'valPath'],
];

/** Those of them that may name a model of the hub, too. */
export const HUB_KEYS: readonly (readonly string[])[] = [
  ['tokenizer', 'path'],
  ['finetune', 'from'],
];

/** What a schema wraps: that of the value where it is written. */
function unwrap(schema: unknown): unknown {
  const { z } = zod();
  return schema instanceof z.ZodOptional || schema instanceof z.ZodNullable ? unwrap(schema.unwrap()) : schema;
}

/** The keys of a section, with their schemas; undefined for what is no section. */
export function sectionShape(schema: unknown): Readonly<Record<string, unknown>> | undefined {
  const { z } = zod();
  const inner = unwrap(schema);
  if (inner instanceof z.ZodUnion) return inner.options.map(sectionShape).find((shape) => shape !== undefined);
  return inner instanceof z.ZodObject ? inner.shape : undefined;
}

/** The schema of a key of a section, or of an item of a list. */
export function schemaBelow(schema: unknown, key: PropertyKey): unknown {
  const inner = unwrap(schema);
  return inner instanceof zod().z.ZodArray ? inner.element : sectionShape(inner)?.[String(key)];
}
