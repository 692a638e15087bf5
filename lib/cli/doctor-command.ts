import { UsageError } from './args.ts';
import { command } from './command.ts';
import { runDoctor } from './doctor.ts';

export const run = command(
  {
    name: 'doctor',
    summary: 'tell whether heddle works here: Node, binary, instruction sets, threads, memory, CUDA',
    positionals: [{ name: 'FILE', help: 'with --report: where it goes, - for stdout; default heddle-report.md', optional: true }],
    options: {
      json: { kind: 'flag', help: 'the findings as one JSON object' },
      report: { kind: 'flag', help: 'write what a bug report needs, without private paths or data, as Markdown' },
      force: { kind: 'flag', help: 'with --report: write over FILE where it is there' },
    },
    details: 'Exit code 0 when heddle works here, 1 when it does not. Every trouble comes with its remedy.',
    examples: [
      ['heddle doctor', 'look at this machine and this installation'],
      ['heddle doctor --json', 'the same for a program'],
      ['heddle doctor --report', 'a file to read through and attach to a bug report'],
    ],
  },
  async ({ values: { json, report, force }, positionals: [file] }) => {
    if (json && report) throw new UsageError('doctor: --report and --json contradict each other');
    if (file !== undefined && !report) throw new UsageError('doctor: FILE goes with --report', `heddle doctor --report ${file}`);
    if (force && !report) throw new UsageError('doctor: --force goes with --report', 'heddle doctor --help tells more.');
    if (!report) return runDoctor({ json });
    const { runReport } = await import('./doctor-report.ts');
    return runReport({ file, force });
  },
);
