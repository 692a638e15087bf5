// The tests whose results depend on what a kernel computes: run on every device and at every instruction-set level.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { root } from './tools.mjs';

const FOLDERS = ['test/cases', ...['tensor', 'autograd', 'ops', 'nn', 'optim'].map((name) => `test/unit/${name}`)];

export const kernelTests = FOLDERS.filter((folder) => existsSync(path.join(root, folder))).map((folder) => `${folder}/**/*.test.ts`);
