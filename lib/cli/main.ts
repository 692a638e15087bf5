#!/usr/bin/env node
// The program `heddle`. Commands are loaded when they are called: help, doctor and build work where the binary does not load.
import { version } from '../util/version.ts';
import { UsageError } from './args.ts';
import { dispatch, type Group } from './command.ts';
import { Interrupted } from './interrupt.ts';
import { endQuietlyOnClosedPipe, print, reportError } from './output.ts';

const HEDDLE: Group = {
  name: 'heddle',
  summary: `train GPT models (${version})`,
  entries: {
    quickstart: { summary: 'from nothing to a model that writes, in minutes', load: () => import('./quickstart.ts') },
    prepare: { summary: "turn a run's text into tokens", load: () => import('./prepare.ts') },
    pretrain: { summary: 'train a model from scratch', load: () => import('./pretrain.ts') },
    finetune: { summary: 'train a model further, for a task', load: () => import('./finetune.ts') },
    evaluate: { summary: "measure a run's model on its validation text", load: () => import('./evaluate.ts') },
    measure: { summary: 'measure a model on a benchmark', load: () => import('./measure.ts') },
    compare: { summary: 'compare two models by their reports', load: () => import('./compare.ts') },
    generate: { summary: 'let a model write', load: () => import('./generate.ts') },
    inspect: { summary: 'look at what a model is given', load: () => import('./inspect.ts') },
    chat: { summary: 'talk with a model', load: () => import('./chat.ts') },
    serve: { summary: 'answer requests over HTTP', load: () => import('./serve.ts') },
    tokenizer: { summary: 'train, use and look at tokenizers', load: () => import('./tokenizer.ts') },
    config: { summary: 'show a complete configuration, or the presets', load: () => import('./config.ts') },
    data: { summary: 'list and fetch texts to start with', load: () => import('./data.ts') },
    'verify-resume': { summary: 'prove that a stopped and resumed run is equal bit for bit', load: () => import('./verify-resume.ts') },
    bench: { summary: 'measure what this machine reaches, and estimate what presets take', load: () => import('./bench.ts') },
    doctor: { summary: 'tell whether heddle works here, and what to do where not', load: () => import('./doctor-command.ts') },
    build: { summary: 'compile the native binary on this machine', load: () => import('./build-command.ts') },
  },
  details: 'Options:\n  -v, --version  the version\n  -h, --help     this text, or that of a command',
};

async function main(args: readonly string[]): Promise<number> {
  if (args[0] === '--version' || args[0] === '-v') {
    print(version);
    return 0;
  }
  return dispatch(HEDDLE, args);
}

endQuietlyOnClosedPipe();
try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  reportError(error);
  process.exitCode = error instanceof UsageError ? 2 : error instanceof Interrupted ? error.exitCode : 1;
}
