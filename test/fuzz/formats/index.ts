import type { Format } from '../format.ts';
import { corpusArchive } from './archive.ts';
import { best, checkpoint, resume } from './checkpoint.ts';
import { config } from './config.ts';
import { benchmarks, report } from './evaluation.ts';
import { gguf } from './gguf.ts';
import { llmcModel, llmcTokens } from './llmc.ts';
import { metrics } from './metrics.ts';
import { nanogpt } from './nanogpt.ts';
import { parquet } from './parquet.ts';
import { plantedFormats } from './planted.ts';
import { gpt2Folder, index, llamaFolder, openaiFolder, qwenFolder } from './pretrained.ts';
import { safetensors } from './safetensors.ts';
import { preparedFolder, shards } from './shards.ts';
import { conversations, jsonLines, plainText, supervised } from './texts.ts';
import { foreignTokenizer, pair, tokenizerFile } from './tokenizers.ts';

const all: readonly Format[] = [
  ...[safetensors, index, checkpoint, resume, best, shards, preparedFolder, tokenizerFile, foreignTokenizer, pair],
  ...[
    gpt2Folder,
    llamaFolder,
    openaiFolder,
    qwenFolder,
    gguf,
    nanogpt,
    parquet,
    llmcModel,
    llmcTokens,
    config,
    plainText,
    jsonLines,
    supervised,
    conversations,
    metrics,
    corpusArchive,
    ...benchmarks,
    report,
  ],
  ...plantedFormats,
];

export const formats: Readonly<Record<string, Format>> = Object.fromEntries(all.map((format) => [format.name, format]));
