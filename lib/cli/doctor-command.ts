import { command } from './command.ts';
import { runDoctor } from './doctor.ts';

export const run = command(
  {
    name: 'doctor',
    summary: 'tell whether heddle works here: Node, binary, instruction sets, threads, memory, CUDA',
    options: { json: { kind: 'flag', help: 'the report as one JSON object' } },
    details: 'Exit code 0 when heddle works here, 1 when it does not. Every trouble comes with its remedy.',
    examples: [
      ['heddle doctor', 'look at this machine and this installation'],
      ['heddle doctor --json', 'the same for a program'],
    ],
  },
  ({ values }) => runDoctor({ json: values.json }),
);
