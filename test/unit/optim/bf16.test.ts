// Moments and parameters in bf16, over more elements than a block of threads takes on any device: which way an element is rounded goes by its
// place alone. The cases' sizes end within one.
import test from 'ava';
import fc from 'fast-check';
import { setDefaultDevice } from '../../../lib/index.ts';
import { optimizerInBf16, optimizerStep } from '../../cases/optim.ts';
import { forwardProblem, runInstance } from '../../run/compare.ts';
import { DEVICE, DEVICES, onDevice } from '../../run/devices.ts';

// A block of the CUDA kernel takes 1024 elements and the 1024 after them, whole pieces of 4 by vectors.
const SIZES = [1025, 2047, 2048, 2052, 5003, 12_288];

for (const device of DEVICES)
  test(`rounding at random in every block${onDevice(device)}`, (t) => {
    setDefaultDevice(device);
    try {
      fc.assert(
        fc.property(optimizerInBf16(fc.constantFrom(...SIZES)), (instance) => {
          const problem = forwardProblem(instance, runInstance(instance, { backwards: 0 }), optimizerStep);
          if (problem !== undefined) throw new Error(problem);
        }),
        { seed: 5, numRuns: 24, endOnFailure: true },
      );
    } finally {
      setDefaultDevice(DEVICE);
    }
    t.pass();
  });
