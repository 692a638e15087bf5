import type { GenerateSection, RunConfig } from '../train/config.ts';
import type { Trainer } from '../train/trainer.ts';

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
