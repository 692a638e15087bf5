import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { TILES } from '../../../bench/tune.ts';
import { gpuInfo } from '../../../lib/tensor/index.ts';
import { DEVICES, isSimulated, onDevice } from '../../run/devices.ts';
import { needs } from '../../run/needs.ts';

const run = promisify(execFile);

for (const device of needs(
  'a simulated card of compute capability 9.0',
  DEVICES.filter((d) => isSimulated(d) && gpuInfo(d)?.capability === 90),
))
  test(`Hopper's products have the same bits in every tile${onDevice(device)}`, async (t) => {
    t.timeout(300_000, 'a simulated card is slow');
    const digests = new Set<string>();
    for (const tile of TILES) {
      const env = { ...process.env, HEDDLE_CPU: '', HEDDLE_TEST_DEVICE: '', SIM_CARDS: '90', HEDDLE_MATMUL_TILE: tile };
      const { stdout } = await run(process.execPath, ['--import=tsx', 'test/run/tiles.ts'], { env });
      const { tiles, fp8Tiles, digest } = JSON.parse(stdout) as { tiles: string[]; fp8Tiles: string[]; digest: string };
      t.deepEqual(tiles, [tile]);
      if (tile === '128x256') t.not(fp8Tiles[0], tile, 'for which there are no registers');
      else t.deepEqual(fp8Tiles, [tile]);
      digests.add(digest);
    }
    t.is(digests.size, 1);
  });
