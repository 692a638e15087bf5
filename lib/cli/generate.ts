import { readFileSync } from 'node:fs';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { interruptible } from './interrupt.ts';
import { MODEL, MODEL_OPTIONS, openForUse } from './model.ts';
import { print, printJSON } from './output.ts';
import { SAMPLING_OPTIONS, samplingFrom, sectionOf } from './sample.ts';

export const run = command(
  {
    name: 'generate',
    summary: 'let a model write, on stdout',
    positionals: MODEL,
    options: {
      prompt: { kind: 'text', value: 'TEXT', help: 'what the model goes on from; - reads it from stdin' },
      ...SAMPLING_OPTIONS,
      'no-repeat-ngram': { kind: 'integer', value: 'N', min: 0, help: 'no N tokens in a row come twice; 0: they may' },
      'min-tokens': { kind: 'integer', value: 'N', min: 0, help: 'the text ends only after so many tokens' },
      'bad-word': { kind: 'text', value: 'TEXT', multiple: true, help: 'must not come' },
      beams: { kind: 'integer', value: 'N', min: 1, help: 'beam search in place of sampling: the likeliest texts, best first' },
      'length-penalty': { kind: 'number', value: 'X', help: 'of beam search: scores are ln p over length to this power; default 1' },
      samples: { kind: 'integer', value: 'N', min: 1, help: 'how many texts' },
      ...MODEL_OPTIONS,
      'log-probs': { kind: 'flag', help: 'with --json: ln p of each token' },
      json: { kind: 'flag', help: 'one JSON object: prompt, samples with text, tokens and finishReason' },
    },
    details: "What is not said here comes from the `generate` section of the model's own run.",
    examples: [
      ['heddle generate runs/quickstart --prompt "The whale"', 'the best checkpoint of a run goes on from a prompt'],
      [
        'heddle generate runs/quickstart/finetune --prompt "..." --temperature 0 --stop $\'\\n\'',
        'the likeliest answer of a finetuned model',
      ],
      ['heddle generate openai-community/gpt2 --prompt "Call me" --top-k 50', 'a model of the hub, fetched the first time'],
      ['heddle generate path/to/gpt2 --prompt "Call me" --samples 3 --top-k 50 --seed 7', 'three texts of a Hugging Face model'],
    ],
  },
  async ({ values, positionals: [path = ''] }) => {
    const { beamSearch, generate, streamText } = await import('../generate/index.ts');
    const opened = await openForUse('generate', path, values);
    const { tokenizer, device } = opened;
    const section = await sectionOf(opened.config, opened.checkpoint);
    const prompt = values.prompt === '-' ? readFileSync(0, 'utf8') : (values.prompt ?? section.prompt);
    const samples = values.samples ?? section.samples;
    const options = samplingFrom(values, section);
    const limits = {
      badWords: values['bad-word'],
      ...(values['no-repeat-ngram'] !== undefined && { noRepeatNgram: values['no-repeat-ngram'] }),
      ...(values['min-tokens'] !== undefined && { minTokens: values['min-tokens'] }),
    };
    const { beams, 'length-penalty': lengthPenalty } = values;
    if (beams !== undefined && options.stop.length > 0)
      throw new UsageError('generate: --beams and --stop contradict each other', 'heddle generate --help tells more.');
    await interruptible('Stopping.', async (signal) => {
      if (beams !== undefined) {
        const { maxTokens, repetitionPenalty } = options;
        const found = await beamSearch(opened.model, tokenizer, prompt, {
          ...{ ...limits, beams, maxTokens, repetitionPenalty, signal },
          ...(lengthPenalty !== undefined && { lengthPenalty }),
        });
        const best = found.slice(0, samples);
        if (values.json) printJSON({ command: 'generate', checkpoint: opened.checkpoint, device, prompt, beams, samples: best });
        else
          for (const [i, { text, score }] of best.entries())
            print(`${samples > 1 ? `--- ${i + 1}, score ${score.toFixed(4)}\n` : ''}${prompt}${text}`);
        return;
      }
      if (values.json || samples > 1) {
        const texts = await generate(opened.model, tokenizer, prompt, {
          ...options,
          ...limits,
          samples,
          signal,
          logProbs: values['log-probs'],
        });
        if (values.json)
          printJSON({ command: 'generate', checkpoint: opened.checkpoint, device, prompt, seed: options.seed, samples: texts });
        else for (const [i, { text }] of texts.entries()) print(`--- ${i + 1} of ${samples}\n${prompt}${text}`);
        return;
      }
      process.stdout.write(prompt);
      for await (const piece of streamText(opened.model, tokenizer, prompt, { ...options, ...limits, signal })) process.stdout.write(piece);
      print('');
    });
    return 0;
  },
);
