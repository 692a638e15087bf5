import { join } from 'node:path';
import { EXAMPLES, type ExampleName, FINETUNE_TASKS } from '../train/finetune-tasks.ts';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { loadConfig, runTraining, TRAINING_OPTIONS } from './training.ts';

export const run = command(
  {
    name: 'finetune',
    summary: 'train a model further, for a task',
    positionals: [{ name: 'CONFIG.yaml', help: "the run's configuration; none with --example", optional: true }],
    options: {
      ...TRAINING_OPTIONS,
      data: { kind: 'text', value: 'FILE', help: 'the examples, JSONL, in place of finetune.path' },
      from: {
        kind: 'text',
        value: 'MODEL',
        help: 'a run, checkpoint, Hugging Face folder or id of the hub to start from, in place of finetune.from',
      },
      example: { kind: 'text', value: 'NAME', choices: EXAMPLES, help: 'learn a small task of its own instead, without a configuration' },
      task: { kind: 'text', value: 'TASK', choices: FINETUNE_TASKS, help: 'what is learned, in place of finetune.task' },
      lora: {
        kind: 'flag',
        help: 'learn a change of low rank of the matrices alone (LoRA): finetune.lora, with its defaults where it is missing',
      },
      qlora: { kind: 'flag', help: 'the same with the matrices that are changed kept in 4 bits (QLoRA): finetune.lora.quantize=nf4' },
      seed: { kind: 'integer', value: 'N', min: 0, help: 'train.seed and finetune.train.seed' },
    },
    details: [
      'Examples are lines {"prompt": "...", "completion": "..."}, with --task chat {"messages": [{"role": "...", "content": "..."}]};',
      'loss counts only on the completions, and on what the assistant says. Starts from the best',
      "checkpoint of the run's own folder unless told otherwise. All goes into OUT/finetune: checkpoints/, metrics.jsonl, tensorboard/;",
      'with LoRA also adapter/, the changes in the files of PEFT, or merged/ with finetune.lora.merge, a model that has them in its matrices.',
    ].join('\n'),
    examples: [
      ['heddle finetune configs/finetune.yaml --data pairs.jsonl', "finetune the quickstart's model"],
      ['heddle finetune --example translate', "teach the quickstart's model a small language, and see what it beats"],
      ['heddle finetune configs/finetune.yaml --data pairs.jsonl --lora --set finetune.lora.rank=4', 'the same with LoRA of rank 4'],
      ['heddle finetune configs/finetune.yaml --data pairs.jsonl --from runs/other --set finetune.train.steps=100', 'finetune another run'],
    ],
  },
  async ({ values, positionals: [file = ''] }) => {
    if (values.example !== undefined) {
      if (file !== '') throw new UsageError('finetune: --example takes no configuration; its keys are set with --set');
      const { finetuneExample } = await import('./finetune-example.ts');
      return finetuneExample(values.example as ExampleName, values, values.from);
    }
    if (file === '') throw new UsageError('finetune: CONFIG.yaml is missing', 'Or name a task of its own: --example.');
    if (values.resume && values.fresh) throw new UsageError('finetune: --resume and --fresh contradict each other');
    const { data, device, from, lora, qlora, seed, set, task } = values;
    // JSON is YAML: any path can stand in an override.
    const over = [
      ...(data === undefined ? [] : [`finetune.path=${JSON.stringify(data)}`, 'finetune.valPath=null']),
      ...(from === undefined ? [] : [`finetune.from=${JSON.stringify(from)}`]),
      ...(task === undefined ? [] : [`finetune.task=${task}`]),
      ...(lora || qlora ? ['finetune.lora={}'] : []),
      ...(qlora ? ['finetune.lora.quantize=nf4'] : []),
      ...(seed === undefined ? [] : [`finetune.train.seed=${seed}`]),
    ];
    const config = await loadConfig(file, { data: undefined, device, seed, set: [...over, ...set] });
    const { finetune } = await import('../train/session.ts');
    const out = join(config.out, 'finetune');
    return runTraining({
      command: 'finetune',
      run: config,
      values,
      steps: config.finetune.train.steps,
      sampleEvery: config.finetune.train.sampleEvery,
      metrics: out,
      work: (hooks) => finetune(config, hooks),
      next: () => [`heddle generate ${out} --prompt "..."`],
    });
  },
);
