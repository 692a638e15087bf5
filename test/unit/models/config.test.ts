import test from 'ava';
import { attentionOfLayer, type GPTConfigInput, gptConfig, paddedVocabSize } from '../../../lib/models/config.ts';
import { presetNames } from '../../../lib/models/presets.ts';
import { countParameters, flopsPerToken } from '../../../lib/models/size.ts';
import { ArgumentError } from '../../../lib/util/errors.ts';
import { editDistance, nearest } from '../../../lib/util/nearest.ts';

const total = (preset: string, input: GPTConfigInput = {}) => countParameters(gptConfig(input, preset)).total;

test('parameter counts equal the published ones', (t) => {
  t.is(total('gpt1'), 116_534_784);
  t.is(total('gpt2'), 124_439_808);
  t.is(total('gpt2-medium'), 354_823_168);
  t.is(total('gpt2-large'), 774_030_080);
  t.is(total('gpt2-xl'), 1_557_611_200);
  t.is(total('qwen3-0.6b'), 596_049_920);
  t.is(total('char-cpu'), 804_096); // nanoGPT prints 0.80M, positions (8,192) left out: 795,904
});

for (const [name, nominal] of Object.entries({
  'gpt3-125m': 125e6,
  'gpt3-350m': 350e6,
  'gpt3-760m': 760e6,
  'gpt3-1.3b': 1.3e9,
  'gpt3-2.7b': 2.7e9,
  'gpt3-6.7b': 6.7e9,
  'gpt3-13b': 13e9,
  'gpt3-175b': 175e9,
})) {
  test(`${name} is within 3 % of its nominal size and alternates dense and banded layers`, (t) => {
    const config = gptConfig({}, name);
    t.true(Math.abs(countParameters(config).total / nominal - 1) <= 0.03);
    t.is(attentionOfLayer(config, 0).window, undefined);
    t.is(attentionOfLayer(config, 1).window, 256);
    t.is(attentionOfLayer(config, config.layers - 2).window, undefined);
  });
}

test('the parts of a count add up', (t) => {
  for (const name of presetNames) {
    const config = gptConfig({ tiedHead: false }, name);
    const n = countParameters(config);
    t.is(n.total, n.embedding + n.positions + config.layers * n.perLayer + n.finalNorm + n.head, name);
    t.is(n.nonEmbedding, config.layers * n.perLayer + n.finalNorm);
    t.is(n.head, n.embedding);
  }
  const gpt2 = gptConfig({}, 'gpt2');
  t.is(paddedVocabSize(gpt2), 50304);
  t.is(countParameters(gpt2).padding, 47 * 768);
  const quickstart = total('quickstart');
  t.true(quickstart >= 1e6 && quickstart <= 3e6, `${quickstart}`);
});

test('FLOPs per token follow the two formulas', (t) => {
  const config = gptConfig({}, 'gpt2');
  const n = 124_439_808 - 1024 * 768;
  t.is(flopsPerToken(config, 1024), 6 * n + 12 * 12 * 768 * 1024);
  t.is(flopsPerToken(config, 1024, 'llmc'), 6 * n + 6 * 12 * 768 * 1024);
  t.throws(() => flopsPerToken(config, 0), { instanceOf: ArgumentError, message: /T must be a positive integer, got 0/ });
});

test('every preset survives JSON and is complete', (t) => {
  for (const name of presetNames) {
    const config = gptConfig({}, name);
    t.deepEqual(JSON.parse(JSON.stringify(config)), config, name);
    t.deepEqual(gptConfig(config), config, name);
    t.false(Object.values(config).includes(undefined as never), name);
  }
});

test('defaults follow what is given', (t) => {
  const swiglu = gptConfig({ width: 384, heads: 6, activation: 'swiglu', norm: 'rmsnorm' });
  t.is(swiglu.ffnWidth, 1024);
  t.is(swiglu.headSize, 64);
  t.is(swiglu.kvHeads, 6);
  t.false(swiglu.normBias);
  t.false(gptConfig({ bias: false }).normBias);
  t.false(gptConfig({ normPosition: 'post' }).finalNorm);
  t.deepEqual(gptConfig({ dropout: 0.2 }).dropout, { embedding: 0.2, attention: 0.2, residual: 0.2 });
  t.deepEqual(gptConfig({ dropout: { attention: 0 } }, 'gpt2').dropout, { embedding: 0.1, attention: 0, residual: 0.1 });
  const narrow = gptConfig({ width: 384 }, 'gpt2'); // derived anew, not inherited from width 768
  t.is(narrow.headSize, 32);
  t.is(narrow.ffnWidth, 1536);
  t.is(gptConfig({ heads: 4 }, 'modern').kvHeads, 4);
  t.is(gptConfig({ layers: 2 }, 'modern').kvHeads, 4);
  t.is(gptConfig({ layers: undefined }, 'gpt2-xl').layers, 48);
});

const wrong: readonly [GPTConfigInput, RegExp][] = [
  [{ width: 100, heads: 12 }, /^gptConfig: width must be divisible by heads \(12\) unless headSize is given, got 100$/],
  [{ heads: 12, kvHeads: 5 }, /kvHeads must be a divisor of heads \(12\), got 5/],
  [{ width: 4096, heads: 8 }, /headSize must be at most 256, got 512/],
  [{ positions: 'rotary', width: 34, heads: 2, headSize: 17 }, /rotaryFraction must be such that an even number .* 17 elements/],
  [{ positions: 'rotary', rotaryFraction: 0 }, /rotaryFraction must be above 0 and at most 1, got 0/],
  [{ positions: 'sinusoidal', width: 51, heads: 3 }, /width must be even/],
  [{ layers: 0 }, /layers must be a positive integer, got 0/],
  [{ layers: 2.5 }, /layers must be a positive integer, got 2.5/],
  [{ vocabSize: Number.NaN }, /vocabSize must be a positive integer/],
  [{ dropout: 1 }, /dropout.embedding must be at least 0 and below 1, got 1/],
  [{ dropout: { residual: -0.1 } }, /dropout.residual must be/],
  [{ attention: [] }, /attention must be a list of one pattern or more/],
  [{ attention: [{}, { window: 0 }] }, /attention.1.window must be a positive integer, got 0/],
  [{ layers: 1, attention: [{}, {}] }, /attention must be at most as long as there are layers \(1\), got "2 patterns"/],
  [{ norm: 'rmsnorm', normBias: true }, /normBias must be false for rmsnorm/],
  [{ norm: 'batchnorm' as 'rmsnorm' }, /norm must be one of layernorm, rmsnorm, got "batchnorm"/],
  [{ activation: 'gelu' as 'gelu_tanh' }, /activation must be one of gelu_tanh, .*, got "gelu"/],
  [{ bias: 'no' as unknown as boolean }, /bias must be true, false or one of qkv, attention, mlp, got "no"/],
  [{ layer: 3 } as GPTConfigInput, /layer is not known; did you mean layers\?/],
];
for (const [input, message] of wrong) {
  test(`refuses ${JSON.stringify(input)}`, (t) => {
    t.throws(() => gptConfig(input), { instanceOf: ArgumentError, message });
  });
}

test('an unknown preset names the nearest one', (t) => {
  t.throws(() => gptConfig({}, 'gpt2_medum'), {
    instanceOf: ArgumentError,
    message: /preset must be one of gpt1, .*\n {2}Did you mean gpt2-medium\?/,
  });
  t.throws(() => gptConfig({}, 'toString'), { instanceOf: ArgumentError });
});

test('nearest names', (t) => {
  t.is(editDistance('kitten', 'sitting'), 3);
  t.is(editDistance('ab', 'ba'), 1);
  t.is(nearest('learning_rate', ['steps', 'learningRate']), 'learningRate');
  t.is(nearest('learningRat', ['minLearningRate', 'learningRate']), 'learningRate');
  t.is(nearest('zzz', ['steps', 'warmup']), undefined);
});
