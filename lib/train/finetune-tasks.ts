/** What a finetuning learns. */
export const FINETUNE_TASKS = ['completion', 'chat'] as const;
export type FinetuneTask = (typeof FINETUNE_TASKS)[number];
