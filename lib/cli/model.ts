// What the commands that use a finished model share.
import type { HubProgress } from '../hub/index.ts';
import { COMPUTES, type Compute } from '../nn/policy.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import type { OpenModel } from '../train/open.ts';
import { ArgumentError } from '../util/errors.ts';
import type { OptionTable, Positional } from './args.ts';
import { note } from './output.ts';
import { markSimulated } from './training.ts';
import { RunView } from './view.ts';

export const MODEL: readonly Positional[] = [
  {
    name: 'MODEL',
    help: "a run's folder, a checkpoint, a Hugging Face folder, a .gguf file, nanoGPT's .pt, or the id of a model of the hub (owner/name)",
  },
];

export const MODEL_OPTIONS = {
  revision: { kind: 'text', value: 'REV', help: 'branch, tag or commit of a model of the hub; default main' },
  device: { kind: 'text', value: 'D', help: 'where to compute: cpu, cuda, cuda:N or auto (default)' },
  compute: { kind: 'text', value: 'TYPE', choices: COMPUTES, help: 'what to compute in; default f32' },
  tokenizer: { kind: 'text', value: 'PATH', help: 'a tokenizer, in place of that beside the model' },
} as const satisfies OptionTable;

export interface ModelValues {
  readonly revision: string | undefined;
  readonly device: string | undefined;
  readonly compute: string | undefined;
  readonly tokenizer: string | undefined;
}

export interface UsableModel extends OpenModel {
  readonly tokenizer: Tokenizer;
  /** Where it computes, for people. */
  readonly device: string;
}

/** Opens a model with its tokenizer, says on the way what is fetched and where it computes. @throws ArgumentError where there is no tokenizer */
export async function openForUse(command: string, path: string, values: ModelValues): Promise<UsableModel> {
  const { openModel } = await import('../train/open.ts');
  const { describeDevice } = await import('../tensor/device.ts');
  await markSimulated(values.device ?? 'auto');
  const view = new RunView(command, 0);
  const hub = {
    onMessage: (line: string) => view.say(line),
    onProgress: (progress: HubProgress) => view.download(progress),
    ...(values.revision !== undefined && { revision: values.revision }),
  };
  const opened = await openModel(path, {
    hub,
    ...(values.device !== undefined && { device: values.device }),
    ...(values.compute !== undefined && { compute: values.compute as Compute }),
  }).finally(() => view.end());
  const device = describeDevice(opened.model.device);
  if (opened.model.device !== 'cpu') note(`computing on ${device} in ${opened.model.compute}`);
  const { loadTokenizer } = await import('../tokenizer/load.ts');
  const { tokenizerFolder } = await import('../hub/index.ts');
  const tokenizer = values.tokenizer === undefined ? opened.tokenizer : loadTokenizer(await tokenizerFolder(values.tokenizer, hub));
  if (tokenizer === null) throw new ArgumentError(`${command}: ${path} holds no tokenizer`, { hint: 'Name one: --tokenizer PATH' });
  return { ...opened, tokenizer, device };
}
