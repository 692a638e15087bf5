/** What a finetuning learns. */
export const FINETUNE_TASKS = ['completion', 'chat', 'classification', 'choice', 'dpo'] as const;
export type FinetuneTask = (typeof FINETUNE_TASKS)[number];

/** Those that put a head on the model. */
export const HEAD_TASKS: readonly FinetuneTask[] = ['classification', 'choice'];

/** Small tasks with data of their own. */
export const EXAMPLES = ['classify', 'translate', 'chat', 'dpo'] as const;
export type ExampleName = (typeof EXAMPLES)[number];
