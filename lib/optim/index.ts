export { Adam, type AdamOptions, AdamW, Lion, SGD, type SGDOptions } from './fused.ts';
export { Muon, type MuonOptions, newtonSchulz } from './muon.ts';
export { type Optimized, Optimizer, type OptimizerOptions } from './optimizer.ts';
export { type ScheduleOptions, schedule } from './schedule.ts';
