// node --import ./test/run/fake_gpu.mjs ...: as on a machine with an NVIDIA GPU, but no driver and no CUDA compiler. What a program is told,
// not what it can do: for tests of the messages.
import processes from 'node:child_process';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const { readdirSync } = fs;
fs.readdirSync = (folder, ...rest) => [...readdirSync(folder, ...rest), ...(folder === '/dev' ? ['nvidia0'] : [])];

const { spawnSync } = processes;
processes.spawnSync = (command, ...rest) =>
  /(^|\/)nvcc$/.test(command) ? { status: null, stdout: null, stderr: null, error: new Error('ENOENT') } : spawnSync(command, ...rest);

syncBuiltinESMExports();
