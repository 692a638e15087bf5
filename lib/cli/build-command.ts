import { runBuild } from './build.ts';
import { command } from './command.ts';

export const run = command(
  {
    name: 'build',
    summary: 'compile the native binary on this machine, for platforms without a prebuilt one',
    options: {},
    details: 'Needs a C++20 compiler; CMake is fetched through npm where it is missing. Python is never needed.',
    examples: [['npx heddle build', 'build in the folder in which heddle is installed']],
  },
  async () => runBuild(),
);
