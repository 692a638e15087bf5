// Attention over several tiles of queries and keys, which the cases' small shapes do not reach: what the masks leave of tiles, ends within
// them, more tiles than run at once, heads of every size that a kernel is made for.
import test from 'ava';
import { native } from '../../../lib/native/addon.ts';
import * as ops from '../../../lib/ops/index.ts';
import '../../../lib/ops/methods.ts';
import { gpuInfo, randn, scope, type Tensor } from '../../../lib/tensor/index.ts';
import { RandomSource } from '../../../lib/tensor/random.ts';
import { agrees, type Maker, withGradients } from '../../run/agree.ts';
import { DEVICES, onDevice } from '../../run/devices.ts';
import { needs } from '../../run/needs.ts';

interface Problem {
  B?: number;
  Tq?: number;
  Tk?: number;
  H?: number;
  Hkv?: number;
  D: number;
  causal?: boolean;
  window?: number;
  /** Tokens of a document. */
  document?: number;
  dropout?: number;
  scale?: number;
}

function attend(m: Maker, q: Tensor, k: Tensor, v: Tensor, { causal, window, document, dropout, scale }: Problem): Tensor {
  const ids = (x: Tensor): Tensor => m.documents(document as number, x.shape[0] as number, x.shape[1] as number);
  const random = new RandomSource(7, q.device);
  try {
    return ops.attention(q, k, v, {
      causal: causal ?? false,
      window: window ?? 0,
      documents: document ? [ids(q), ids(k)] : null,
      dropout: dropout ?? 0,
      random,
      ...(scale === undefined ? {} : { scale }),
    });
  } finally {
    random.dispose();
  }
}

function attention(title: string, problem: Problem): void {
  const { B = 1, Tq = 300, Tk = Tq, H = 2, Hkv = H, D } = problem;
  agrees(
    `attention, ${title}`,
    (m) => {
      const [q, k, v] = [m.draw(B, Tq, H, D), m.draw(B, Tk, Hkv, D), m.draw(B, Tk, Hkv, D)];
      return withGradients(attend(m, q, k, v, problem), q, k, v);
    },
    { dtypes: ['bf16', 'f16'] },
  );
}

for (const D of [64, 128]) {
  attention(`causal, heads of ${D}`, { D, causal: true });
  attention(`all keys, more than queries, in groups, heads of ${D}`, { D, B: 2, Tq: 130, Tk: 520, H: 4, Hkv: 2 });
  attention(`queries that see nothing, heads of ${D}`, { D, Tq: 400, Tk: 150, causal: true });
  attention(`a window, heads of ${D}`, { D, causal: true, window: 100, H: 1 });
  attention(`a window to both sides, heads of ${D}`, { D, Tq: 260, Tk: 450, window: 70, H: 1 });
  attention(`documents, heads of ${D}`, { D, causal: true, document: 77 });
  attention(`dropout, heads of ${D}`, { D, causal: true, dropout: 0.3, H: 3, Hkv: 1, Tq: 210, Tk: 211 });
  attention(`scores of hundreds, heads of ${D}`, { D, causal: true, scale: 3, Tq: 200 });
  attention(`more tiles than run at once, heads of ${D}`, { D, B: 35, H: 4, Tq: 10 });
  agrees(
    `attention, packed, gradients added, heads of ${D}`,
    (m) => {
      const packed = m.draw(2, 150, 3, 2, D);
      const [q, k, v] = [0, 1, 2].map((i) => ops.reshape(ops.slice(packed, 2, i, i + 1), [2, 150, 2, D]));
      const parts = [q, k, v] as [Tensor, Tensor, Tensor];
      return withGradients(ops.add(attend(m, ...parts, { D, causal: true }), attend(m, ...parts, { D })), packed);
    },
    { dtypes: ['bf16'] },
  );
}

// Otherwise all of the above would be shown of other kernels.
for (const device of needs(
  'a card of compute capability 9.0',
  DEVICES.filter((d) => gpuInfo(d)?.capability === 90),
))
  test(`attention with heads of 64 and 128 has kernels of its own${onDevice(device)}`, (t) => {
    for (const D of [64, 128]) {
      native.synchronizeSync(device);
      native.startLaunchLog();
      scope(() => {
        const x = ops.cast(randn([1, 9, 2, D], { seed: 1, device }), 'bf16').detach();
        x.requiresGrad = true;
        withGradients(ops.attention(x, x, x, { causal: true }), x);
      });
      native.synchronizeSync(device);
      const names = native.takeLaunchLog().map((r) => r.kernel);
      t.is(names.filter((name) => /^attention .*wgmma$/.test(name)).length, 3, names.join(', '));
    }
  });
