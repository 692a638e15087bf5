// Measures of answers: numbers in, numbers out. None needs a model.
export { type AnswerOptions, answerF1, exactMatch, normalizeAnswer } from './answers.ts';
export { Bleu, type BleuOptions, type BleuScore, bleu } from './bleu.ts';
export type { BleuTokenizer } from './bleu_words.ts';
export { Calibration, type CalibrationBin } from './calibration.ts';
export { Chrf, type ChrfOptions, chrf } from './chrf.ts';
export { type Average, accuracy, Classification, f1, type Label } from './classification.ts';
export { Mean } from './statistics.ts';
