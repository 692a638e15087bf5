import { command } from './command.ts';
import { grid, print, printJSON } from './output.ts';
import { loadConfig, RUN_OPTIONS } from './training.ts';

/** The presets with their sizes. */
async function presetRows() {
  const { gptConfig } = await import('../models/config.ts');
  const { presetNames } = await import('../models/presets.ts');
  const { countParameters } = await import('../models/size.ts');
  return presetNames.map((name) => {
    const { layers, heads, width, contextLength, vocabSize, ...rest } = gptConfig({}, name);
    const parameters = countParameters({ layers, heads, width, contextLength, vocabSize, ...rest }).total;
    return { name, parameters, layers, heads, width, contextLength, vocabSize };
  });
}

async function listPresets(json: boolean): Promise<void> {
  const rows = await presetRows();
  if (json) return printJSON({ command: 'config', presets: rows });
  const head = ['preset', 'parameters', 'layers', 'heads', 'width', 'context', 'vocabulary'];
  const cells = rows.map((r) => [
    r.name,
    ...[r.parameters, r.layers, r.heads, r.width, r.contextLength, r.vocabSize].map((n) => n.toLocaleString('en-US')),
  ]);
  print(grid([head, ...cells], ''));
}

export const run = command(
  {
    name: 'config',
    summary: 'show a complete configuration as YAML, or list the presets of models',
    positionals: [{ name: 'CONFIG.yaml', help: 'without it, the presets with their numbers of parameters', optional: true }],
    options: {
      data: RUN_OPTIONS.data,
      seed: RUN_OPTIONS.seed,
      set: RUN_OPTIONS.set,
      json: { kind: 'flag', help: 'JSON instead of YAML' },
    },
    details: 'The YAML has every key, defaults included, and is itself a configuration that gives the same run.',
    examples: [
      ['heddle config', 'the presets: --set model.preset=NAME takes one'],
      ['heddle config configs/quickstart.yaml --set train.steps=3000', 'what a command line would train'],
      ['heddle config configs/char-cpu.yaml --data input.txt > mine.yaml', 'keep it as a configuration of its own'],
    ],
  },
  async ({ values, positionals: [file] }) => {
    if (file === undefined) {
      await listPresets(values.json);
      return 0;
    }
    const config = await loadConfig(file, values);
    const { formatRunConfig } = await import('../train/config.ts');
    if (values.json) printJSON(config);
    else process.stdout.write(formatRunConfig(config));
    return 0;
  },
);
