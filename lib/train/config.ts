import { basename, join, resolve } from 'node:path';
import type { z } from 'zod';
import { meansHub } from '../hub/names.ts';
import { fillGPTConfig, type GPTConfig, type GPTConfigInput, gptConfig } from '../models/config.ts';
import type { LoRAConfig } from '../models/lora.ts';
import { LORA_TARGETS } from '../models/lora-targets.ts';
import { ArgumentError } from '../util/errors.ts';
import { yaml } from '../util/lazy.ts';
import { nearest } from '../util/nearest.ts';
import { fillFinetuneTrain, fillTrain, type TrainConfig, trainProblems } from './config-defaults.ts';
import { ConfigError, type ConfigIssue, showValue } from './config-error.ts';
import { HUB_KEYS, PATH_KEYS, type RunInput, runSchema, schemaBelow, sectionShape } from './config-schema.ts';
import {
  isObject,
  mergeSources,
  parseOverride,
  parseSource,
  placeOf,
  plainSource,
  readSource,
  type Source,
  valueAt,
} from './config-source.ts';
import { type FinetuneTask, HEAD_TASKS } from './finetune-tasks.ts';

export type { TrainConfig } from './config-defaults.ts';
export { ConfigError, type ConfigIssue } from './config-error.ts';

/** A GPT's configuration that may still wait for its tokenizer to know the vocabulary. */
export type ModelSection = Omit<GPTConfig, 'vocabSize'> & { readonly vocabSize?: number };

export interface TokenizerSection {
  /** Train one of these kinds on the run's text, or load one from `path`. */
  readonly kind: 'byte' | 'char' | 'bpe' | 'load';
  /** Tokens of a `bpe`. */
  readonly vocabSize?: number;
  /** Pairs that come less often are not merged by `bpe`. */
  readonly minFrequency?: number;
  /** File or folder of `load`. */
  readonly path?: string;
}

export interface DataSection {
  /** Name of a text that heddle fetches. Not together with `path`. */
  readonly corpus?: string;
  /** Text: a file or a folder. */
  readonly path?: string;
  /** Validation text of its own; else the last part of the text. */
  readonly valPath?: string;
  readonly valFraction: number;
  /** Tokens of a shard at most. */
  readonly shardTokens?: number;
  /** `epoch`: every window once an epoch, shuffled. `random`: windows begin at random tokens, as in nanoGPT. */
  readonly sampling: 'random' | 'epoch';
  /** Attention stays within a document. */
  readonly documents: boolean;
}

/** LoRA: the model's matrices freeze, and a change of low rank of each is learned. */
export interface LoRASection extends LoRAConfig {
  /** Write a model with the changes added to its matrices, in place of PEFT's files of the changes alone. */
  readonly merge: boolean;
}

/** GPT-1's numbers unless given. */
export interface HeadSection {
  /** λ. Default 0.5. */
  readonly lmWeight: number;
  /** Default 0.1. */
  readonly dropout: number;
}

export interface DPOSection {
  /** β. Default 0.1. */
  readonly beta: number;
}

export interface FinetuneSection {
  /** The checkpoint to start from: a run's folder or a checkpoint; without it, the run's own best one. */
  readonly from?: string;
  /**
   * What is learned: `completion`, answers to prompts; `chat`, what the assistant says in conversations; `classification`, labels of texts;
   * `choice`, the right one of several answers; `dpo`, the better one of two answers.
   */
  readonly task: FinetuneTask;
  /** What it is learned from, JSONL. */
  readonly path?: string;
  readonly valPath?: string;
  readonly valFraction: number;
  /** Several examples in a row, of `completion` and `chat`; rows of the other tasks hold one text each. */
  readonly packing: boolean;
  readonly tooLong: 'error' | 'truncate';
  /** Of `chat`: a Jinja file in place of the template that the model comes with. */
  readonly template?: string;
  /** Of `classification` and `choice`: λ, of the cross-entropy of the texts' own tokens; dropout before the head. */
  readonly head?: HeadSection;
  /** Of `dpo`: β; the smaller it is, the farther the model may leave what it was. */
  readonly dpo?: DPOSection;
  /** Without it all of the model is trained. */
  readonly lora?: LoRASection;
  /** As the run's `train`, but for what is said here. */
  readonly train: TrainConfig;
}

export interface GenerateSection {
  readonly prompt: string;
  readonly maxTokens: number;
  /** 0: always the likeliest token. */
  readonly temperature: number;
  /** 0: off. */
  readonly topK: number;
  /** 1: off. */
  readonly topP: number;
  /** 0: off. */
  readonly minP: number;
  /** 1: off. */
  readonly repetitionPenalty: number;
  readonly stop: readonly string[];
  readonly samples: number;
  readonly seed: number;
}

/** The resolved configuration of a run: complete, checked, plain data. */
export interface RunConfig {
  readonly name: string;
  /** Folder of everything that the run writes, relative to the working directory. */
  readonly out: string;
  /** Where to compute: `cpu`, `cuda` (the first card), `cuda:N`, or `auto`: a GPU where there is one. */
  readonly device: string;
  readonly model: ModelSection;
  readonly tokenizer: TokenizerSection;
  readonly data: DataSection;
  readonly train: TrainConfig;
  readonly finetune: FinetuneSection;
  readonly generate: GenerateSection;
}

const dotted = (path: readonly PropertyKey[]): string => path.map(String).join('.');

/** All dotted keys below a schema. */
function allKeys(schema: unknown, path: readonly string[] = []): string[] {
  const shape = sectionShape(schema);
  return shape === undefined ? [dotted(path)] : Object.entries(shape).flatMap(([key, inner]) => allKeys(inner, [...path, key]));
}

/** The key that was meant: a neighbour, else one of that name in another section. */
function meantKey(path: readonly PropertyKey[], key: string): string | undefined {
  let schema: unknown = runSchema();
  for (const part of path) schema = schemaBelow(schema, part);
  const neighbour = nearest(key, Object.keys(sectionShape(schema) ?? {}));
  if (neighbour !== undefined) return dotted([...path, neighbour]);
  const elsewhere = allKeys(runSchema());
  const last = nearest(key, new Set(elsewhere.map((k) => k.slice(k.lastIndexOf('.') + 1))));
  return elsewhere.find((k) => k.slice(k.lastIndexOf('.') + 1) === last);
}

/** A wrong value: its place, its key, what it must be, what it is. */
function wrongValue(source: Source, path: readonly (string | number)[], expected: string, got: unknown, near?: string): ConfigIssue {
  const meant = near === undefined ? '' : `; did you mean ${near}?`;
  const key = dotted(path);
  return {
    place: placeOf(source, path).label,
    key,
    message: `${key || 'the configuration'} must be ${expected}, got ${showValue(got)}${meant}`,
  };
}

/** The issues of a zod error in our words. */
function describeIssue(source: Source, issue: z.core.$ZodIssue, above: readonly PropertyKey[] = []): ConfigIssue[] {
  const path = [...above, ...issue.path].map((p) => (typeof p === 'symbol' ? String(p) : p));
  const got = valueAt(source, path);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const meant = meantKey(path, key);
      const full = dotted([...path, key]);
      const message = `${full} is not known${meant === undefined ? '' : `; did you mean ${meant}?`}`;
      return { place: placeOf(source, [...path, key], 'key').label, key: full, message };
    });
  }
  if (issue.code === 'invalid_union' && isObject(got)) {
    // Of the alternatives, the one that is a section is meant.
    const branch = issue.errors.find((errors) => errors.every((e) => e.path.length > 0 || e.code === 'unrecognized_keys'));
    if (branch !== undefined) return branch.flatMap((inner) => describeIssue(source, inner, path));
  }
  const near = issue.code === 'invalid_value' && typeof got === 'string' ? nearest(got, issue.values.map(String)) : undefined;
  return [wrongValue(source, path, issue.message, got, near)];
}

/** null means "as if it were not written": it takes back what an extended file says. */
function dropNull(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(dropNull);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== null && inner !== undefined)
      .map(([key, inner]) => [key, dropNull(inner)]),
  );
}

function validate(source: Source): RunInput {
  const parsed = runSchema().safeParse(source.value);
  if (!parsed.success) throw new ConfigError(parsed.error.issues.flatMap((issue) => describeIssue(source, issue)));
  const input = dropNull(parsed.data) as RunInput;
  for (const path of PATH_KEYS) {
    const parent = path.slice(0, -1).reduce<unknown>((value, key) => (isObject(value) ? value[key] : undefined), input);
    const key = path.at(-1) ?? '';
    const value = isObject(parent) ? parent[key] : undefined;
    if (!isObject(parent) || typeof value !== 'string') continue;
    const { folder } = placeOf(source, path);
    const isHub = HUB_KEYS.some((names) => names.join() === path.join()) && meansHub(value, folder);
    parent[key] = isHub ? value : resolve(folder, value);
  }
  return input;
}

/** Stands in for a vocabulary that only the tokenizer will know, so that all else can be checked. */
const UNKNOWN_VOCAB = 256;

/** PEFT's defaults; alpha is the rank unless given, so that the change of a matrix is B A. */
function fillLoRA(input: NonNullable<NonNullable<RunInput['finetune']>['lora']>): LoRASection {
  const rank = input.rank ?? 8;
  const targets = LORA_TARGETS.filter((target) => input.targets?.includes(target) ?? true);
  const { dropout = 0, dora = false, quantize = 'none', merge = false } = input;
  return { rank, alpha: input.alpha ?? rank, dropout, targets, dora, quantize, merge };
}

function resolveSource(source: Source, defaultName: string): RunConfig {
  const input = validate(source);
  const issues: ConfigIssue[] = [];
  const bad = (path: readonly string[], expected: string, got: unknown) => void issues.push(wrongValue(source, path, expected, got));

  const { preset, ...given } = input.model ?? {};
  const filled = fillGPTConfig({ ...given, vocabSize: given.vocabSize ?? UNKNOWN_VOCAB } as GPTConfigInput, preset);
  for (const { field, expected, got } of filled.problems) bad(['model', ...field.split('.')], expected, got);
  const { vocabSize, ...rest } = filled.config;
  const model: ModelSection = given.vocabSize === undefined ? rest : { ...rest, vocabSize };

  const train = fillTrain(input.train ?? {}, model.contextLength);
  const { train: finetuneTrain, lora, head, dpo, ...finetuneRest } = input.finetune ?? {};
  const { task = 'completion' } = finetuneRest;
  const finetune: FinetuneSection = {
    task,
    valFraction: 0.1,
    packing: true,
    tooLong: 'error',
    ...finetuneRest,
    ...(HEAD_TASKS.includes(task) && { head: { lmWeight: 0.5, dropout: 0.1, ...head } }),
    ...(task === 'dpo' && { dpo: { beta: 0.1, ...dpo } }),
    ...(lora && { lora: fillLoRA(lora) }),
    train: fillFinetuneTrain(input.train ?? {}, finetuneTrain ?? {}, model.contextLength),
  };
  for (const { field, expected, got } of trainProblems(train, model.contextLength)) bad(['train', ...field.split('.')], expected, got);
  if (issues.length === 0) {
    for (const { field, expected, got } of trainProblems(finetune.train, model.contextLength))
      bad(['finetune', 'train', ...field.split('.')], expected, got);
  }

  const tokenizer: TokenizerSection = { kind: input.tokenizer?.path === undefined ? 'bpe' : 'load', ...input.tokenizer };
  if (tokenizer.kind === 'load' && tokenizer.path === undefined) bad(['tokenizer', 'path'], 'given for kind load', undefined);
  for (const [key, kind] of [
    ['path', 'load'],
    ['vocabSize', 'bpe'],
    ['minFrequency', 'bpe'],
  ] as const) {
    if (tokenizer[key] !== undefined && tokenizer.kind !== kind) bad(['tokenizer', key], `left out unless kind is ${kind}`, tokenizer[key]);
  }
  if (tokenizer.kind === 'bpe' && (tokenizer.vocabSize ?? 257) < 257) {
    bad(['tokenizer', 'vocabSize'], 'at least 257 (256 bytes and the end of text)', tokenizer.vocabSize);
  }
  const data: DataSection = { valFraction: 0.1, sampling: 'epoch', documents: false, ...input.data };
  if (data.corpus !== undefined && data.path !== undefined) bad(['data', 'corpus'], 'left out where data.path is given', data.corpus);
  if (head !== undefined && finetune.head === undefined)
    bad(['finetune', 'head'], `left out unless finetune.task is ${HEAD_TASKS.join(' or ')}`, head);
  // They are of the cross-entropy of text, which is not what these tasks minimise.
  for (const key of ['labelSmoothing', 'zLoss'] as const)
    if (task !== 'completion' && task !== 'chat' && finetune.train[key] !== 0)
      bad(['finetune', 'train', key], `0 for finetune.task ${task}`, finetune.train[key]);
  if (dpo !== undefined && finetune.dpo === undefined) bad(['finetune', 'dpo'], 'left out unless finetune.task is dpo', dpo);
  if (finetune.template !== undefined && finetune.task !== 'chat')
    bad(['finetune', 'template'], 'left out unless finetune.task is chat', finetune.template);
  if (issues.length > 0) throw new ConfigError(issues);

  const name = input.name ?? defaultName;
  return {
    name,
    out: input.out ?? join('runs', name),
    device: input.device ?? 'auto',
    model,
    tokenizer: tokenizer.kind === 'bpe' ? { vocabSize: 8192, minFrequency: 2, ...tokenizer } : tokenizer,
    data,
    train,
    finetune,
    generate: {
      prompt: '\n',
      maxTokens: 200,
      temperature: 0.8,
      topK: 0,
      topP: 1,
      minP: 0,
      repetitionPenalty: 1,
      stop: [],
      samples: 1,
      seed: train.seed,
      ...input.generate,
    },
  };
}

/** What the command line lays over a configuration; later ones here over earlier ones. */
export interface LoadOptions {
  /** `--data`: the text, in place of the one that the configuration names. */
  readonly data?: string;
  /** `--seed`. */
  readonly seed?: number;
  /** `--device`. */
  readonly device?: string;
  /** `--set`: overrides `a.b=c`, the value in YAML, each over all before it. */
  readonly set?: readonly string[];
}

function withOverrides(source: Source, { data, seed, device, set = [] }: LoadOptions): Source {
  const over: Source[] = [];
  if (data !== undefined) over.push(plainSource({ data: { path: data, corpus: null, valPath: null } }, '--data'));
  if (seed !== undefined) over.push(plainSource({ train: { seed } }, '--seed'));
  if (device !== undefined) over.push(plainSource({ device }, '--device'));
  return [...over, ...set.map(parseOverride)].reduce(mergeSources, source);
}

const nameOf = (file: string): string => basename(file).replace(/\.(ya?ml|json)$/i, '');

/**
 * Reads a run's configuration from a YAML file, with the files it `extends`, and fills in the defaults.
 * @throws ConfigError with one line for each thing wrong: its place, its key, what was expected and what came; FileError for a
 * file that cannot be read.
 */
export function loadRunConfig(file: string, options: LoadOptions = {}): RunConfig {
  return resolveSource(withOverrides(readSource(file), options), nameOf(file));
}

/** The same from a text; `file` names it in errors and is where relative paths start. `extends` is not looked up. */
export function parseRunConfig(text: string, file: string, options: LoadOptions = {}): RunConfig {
  return resolveSource(withOverrides(parseSource(text, file), options), nameOf(file));
}

/** A configuration from plain data, such as that saved in a checkpoint; `name` says in errors where it comes from. */
export function runConfigFromJSON(value: unknown, name: string, options: LoadOptions = {}): RunConfig {
  return resolveSource(withOverrides(plainSource(value, name), options), 'run');
}

/** A resolved configuration as YAML that `loadRunConfig` reads back to the same. */
export function formatRunConfig(config: RunConfig): string {
  return yaml().stringify(config, { flowCollectionPadding: true, lineWidth: 0, aliasDuplicateObjects: false });
}

/**
 * The model's configuration once the tokenizer is known.
 * @throws ArgumentError where the configuration names a vocabulary that is too small for the tokenizer.
 */
export function modelConfig(run: RunConfig, tokenizerVocabSize: number): GPTConfig {
  const { vocabSize = tokenizerVocabSize } = run.model;
  if (vocabSize < tokenizerVocabSize) {
    throw new ArgumentError(`model.vocabSize must be at least the tokenizer's ${tokenizerVocabSize} tokens, got ${vocabSize}`);
  }
  return gptConfig({ ...run.model, vocabSize });
}
