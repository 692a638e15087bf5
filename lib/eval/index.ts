export { type Measured, type MeasureOptions, measure, type Sample } from './measure.ts';
export * as metrics from './metrics.ts';
export { Fields, readRecords } from './records.ts';
export type { Figure } from './tally.ts';
export {
  type ChoiceItem,
  type CompletionItem,
  type DocumentItem,
  type Item,
  type MetricRule,
  TASKS,
  type Task,
  type TaskName,
} from './tasks.ts';
