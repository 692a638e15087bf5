// Prints a digest of products of a simulated Hopper card, forward and backward, a gradient in chunks and one in fp8 among them: for
// test/unit/ops/tiles.test.ts, which forces their tile.
import { createHash } from 'node:crypto';
import { native } from '../../lib/native/addon.ts';
import * as ops from '../../lib/ops/index.ts';
import '../../lib/ops/methods.ts';
import { full, randn, type Tensor } from '../../lib/tensor/index.ts';

const CARD = 'cuda';
const draw = (seed: number, ...shape: number[]): Tensor => randn(shape, { seed, device: 'cpu' }).to('bf16').to(CARD);

const [x, w, dy] = [draw(1, 200, 136), draw(2, 328, 136), draw(3, 200, 328)];
const gradient = full([136, 72], 0, { device: CARD });
native.startLaunchLog();
native.matmulInto(draw(4, 4104, 136).handle, draw(5, 4104, 72).handle, true, false, gradient.handle, false, 'full');
const codes = ops.linearFP8(ops.quantizeFP8(draw(6, 200, 272)), ops.quantizeFP8(draw(7, 328, 272)), { dtype: 'bf16' });
const results = [ops.matmul(x, w, { transB: true }), ops.matmul(dy, w), gradient, codes];
const digest = createHash('sha256');
for (const y of results) digest.update(new Uint8Array(y.dataSync().buffer));
const names = native.takeLaunchLog().map(({ kernel }) => kernel);
const tiles = (name: RegExp): string[] => [...new Set(names.flatMap((kernel) => name.exec(kernel)?.[0] ?? []))];
const found = { tiles: tiles(/\d+x\d+(?=x64 wgmma)/), fp8Tiles: tiles(/\d+x\d+(?=x128 wgmma)/), digest: digest.digest('hex') };
console.log(JSON.stringify(found));
