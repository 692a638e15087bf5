import { join } from 'node:path';
import { loadNanoGPT } from '../../../lib/checkpoint/nanogpt.ts';
import { type NanoGPTOptions, nanoGPT } from '../../unit/checkpoint/nanogpt_support.ts';
import { type Format, filesOf } from '../format.ts';
import { type Mutator, mutateBytes, NUMBERS, oneOf } from '../mutate_bytes.ts';
import { tinyModel } from './support.ts';

const FILE = 'ckpt.pt';

/** The pickle stands at the beginning, the directory at the end: most of the file are numbers, which may be any. */
const changeEnds: Mutator = (draw, bytes) => {
  if (bytes.length < 64) return bytes;
  const out = bytes.slice();
  const view = new DataView(out.buffer);
  for (let changes = 1 + draw.below(3); changes > 0; changes--) {
    const reach = Math.min(out.length, 4096) - 8;
    const at = draw.oneIn(2) ? draw.below(reach) : out.length - 8 - draw.below(reach);
    const kind = draw.below(4);
    if (kind < 2) view.setUint8(at, draw.below(256));
    else if (kind === 2) view.setUint32(at, draw.pick(NUMBERS), true);
    else view.setBigUint64(at, BigInt.asUintN(64, BigInt(draw.pick(NUMBERS))), true);
  }
  return out;
};

export const nanogpt: Format = {
  name: 'nanogpt',
  seeds: async () =>
    ([{}, { bias: false, prefix: '_orig_mod.', type: 'BFloat16Storage' }, { zip64: true }] satisfies NanoGPTOptions[]).map((options) => {
      const { bias = true } = options as NanoGPTOptions;
      const model = tinyModel({ activation: 'gelu_erf', bias, normBias: bias, ffnWidth: 16 });
      const bytes = new Uint8Array(nanoGPT(model, options));
      model.dispose();
      return filesOf({ [FILE]: bytes });
    }),
  mutators: { [FILE]: { weight: 1, mutate: oneOf([2, changeEnds], [1, mutateBytes]) } },
  async read(folder) {
    (await loadNanoGPT(join(folder, FILE), { device: 'cpu' })).dispose();
  },
  allowance: 512 << 10,
};
