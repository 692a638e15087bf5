import type { GenerateSection, RunConfig } from '../train/config.ts';
import type { Trainer } from '../train/trainer.ts';
import type { OptionTable, Values } from './args.ts';

/** How tokens are drawn, of the commands that let a model write. */
export const SAMPLING_OPTIONS = {
  'max-tokens': { kind: 'integer', value: 'N', min: 1, help: 'the most tokens to write' },
  temperature: { kind: 'number', value: 'X', min: 0, help: '0 always takes the likeliest token; more than 1 is wilder' },
  'top-k': { kind: 'integer', value: 'N', min: 0, help: 'only the N likeliest tokens; 0: all' },
  'top-p': { kind: 'number', value: 'X', above: 0, max: 1, help: 'only the likeliest tokens that together reach this probability' },
  'min-p': { kind: 'number', value: 'X', min: 0, max: 1, help: 'only tokens at least this likely beside the likeliest' },
  'repetition-penalty': { kind: 'number', value: 'X', above: 0, help: 'above 1: tokens that came before become less likely' },
  stop: { kind: 'text', value: 'TEXT', multiple: true, help: 'end before this text' },
  seed: { kind: 'integer', value: 'N', min: 0, help: 'the same seed gives the same text' },
} as const satisfies OptionTable;

const NO_CONFIG: GenerateSection = {
  ...{ prompt: '', maxTokens: 200, temperature: 0.8, topK: 0, topP: 1, minP: 0 },
  ...{ repetitionPenalty: 1, stop: [], samples: 1, seed: 1337 },
};

/** The `generate` section of the run that a checkpoint belongs to. */
export async function sectionOf(config: unknown, checkpoint: string): Promise<GenerateSection> {
  if (typeof config !== 'object' || config === null || !('generate' in config)) return NO_CONFIG;
  const { runConfigFromJSON } = await import('../train/config.ts');
  return runConfigFromJSON(config, checkpoint).generate;
}

/** What a command line says of sampling, over what the section says. */
export function samplingFrom(values: Values<typeof SAMPLING_OPTIONS>, section: GenerateSection) {
  return samplingOf({
    maxTokens: values['max-tokens'] ?? section.maxTokens,
    temperature: values.temperature ?? section.temperature,
    topK: values['top-k'] ?? section.topK,
    topP: values['top-p'] ?? section.topP,
    minP: values['min-p'] ?? section.minP,
    repetitionPenalty: values['repetition-penalty'] ?? section.repetitionPenalty,
    stop: values.stop.length > 0 ? values.stop : section.stop,
    seed: values.seed ?? section.seed,
  });
}

/** What the configuration says of generation, as the options of `generate`. */
export function samplingOf(section: Omit<GenerateSection, 'prompt' | 'samples'>) {
  const { maxTokens, temperature, topK, topP, minP, repetitionPenalty, stop, seed } = section;
  return { maxTokens, temperature, topK, topP, minP, repetitionPenalty, stop, seed };
}

/** Lets the model in training write every so many steps (0: never), as the run's `generate` section says; else gives undefined. */
export function sampler(run: RunConfig, every: number): (step: number, trainer: Trainer) => Promise<string | undefined> {
  let before = 0;
  return async (step, trainer) => {
    // Step events need not come at every step: what counts is that a multiple was passed.
    const due = every > 0 && Math.floor(step / every) > Math.floor(before / every);
    before = step;
    if (!due || trainer.tokenizer === undefined) return undefined;
    const { generate } = await import('../generate/index.ts');
    const { prompt } = run.generate;
    const [sample] = await generate(trainer.model, trainer.tokenizer, prompt, samplingOf(run.generate));
    return `step ${step}, a sample:\n${`${prompt}${sample?.text ?? ''}`.trim().replace(/^/gm, '  │ ')}`;
  };
}
