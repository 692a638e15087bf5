export { type ComparedFigure, type CompareOptions, type Comparison, compareReports } from './compare.ts';
export { Fields, readDataset } from './dataset.ts';
export { type Measured, type MeasureOptions, measure, type Sample } from './measure.ts';
export * as metrics from './metrics.ts';
export { type Report, ReportWriter } from './report.ts';
export type { Figure, Histogram } from './tally.ts';
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
