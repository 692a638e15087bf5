// Results and operands of more than 2^31 elements on the simulated card: prints, as JSON, how far the last elements are from the CPU's. For
// test/unit/ops/large.test.ts, which sets what makes it quick: of a large grid only the last blocks start (SIM_LAST), and memory that nobody
// touches takes none of the host's.
import { native } from '../../lib/native/addon.ts';
import * as ops from '../../lib/ops/index.ts';
import '../../lib/ops/methods.ts';
import { empty, gpuInfo, randn, scope, Tensor, tensor, zeros } from '../../lib/tensor/index.ts';
import { scaledError } from './error.ts';

type Float = 'f32' | 'bf16';

const CARD = 'cuda';
const errors: Record<string, number> = {};
let seed = 0;

/** Values on the CPU, and on the card. */
function draw(dtype: Float, ...shape: number[]): [cpu: Tensor, card: Tensor] {
  const cpu = ops.cast(randn(shape, { seed: ++seed, device: 'cpu' }), dtype);
  return [cpu, cpu.to(CARD)];
}

/** Memory that nobody has touched. */
const reserve = (dtype: Float, ...shape: number[]): Tensor => empty(shape, { dtype, device: CARD });

/** The bits of floats that `dtype` holds exactly. */
function bitsOf(x: Float32Array, dtype: Float): Uint16Array | Float32Array {
  return dtype === 'f32' ? x : Uint16Array.from(new Uint32Array(x.buffer, x.byteOffset, x.length), (bits) => bits >>> 16);
}

/** Rows [first, last) of columns [0, count). */
const part = (t: Tensor, first: number, last: number, count: number): Tensor => ops.slice(ops.slice(t, 0, first, last), 1, 0, count);

/** Copies rows past the kernels, of which only the last blocks would run. */
function write(to: Tensor, first: number, values: Tensor): void {
  const [rows, columns] = values.shape as [number, number];
  const host = values.dataSync<'f32'>();
  for (let i = 0; i < rows; i++) {
    const row = host.slice(i * columns, (i + 1) * columns);
    native.write(part(to, first + i, first + i + 1, columns).handle, bitsOf(row, to.dtype as Float));
  }
}

const TAIL = 64; // columns that every tile has

/** The last columns of the last rows. */
function tail(t: Tensor, rows: number): Float32Array {
  const [all, columns] = t.shape as [number, number];
  return ops.clone(ops.slice(ops.slice(t, 0, all - rows, all), 1, columns - TAIL, columns)).dataSync<'f32'>();
}

function compare(name: string, rows: number, make: () => [got: Tensor, want: Tensor][]): void {
  errors[name] = scope(() => Math.max(...make().map(([got, want]) => scaledError(tail(got, rows), tail(want, rows)))));
}

/** The logits of GPT-2's head at 64 x 1024 tokens. */
const [ROWS, V, K] = [65_536, 50_304, 8];
const lastOf = (x: Tensor, rows: number): Tensor => ops.slice(x, 0, (x.shape[0] as number) - rows, x.shape[0] as number);

function linears(dtype: Float): void {
  for (const kept of [true, false])
    compare(`linear into (${ROWS}, ${V})${kept ? ', its input kept' : ''}, ${dtype}`, 2, () => {
      const [[x, onCard], [w, wOnCard], [r]] = [draw(dtype, ROWS, K), draw(dtype, V, K), draw(dtype, 2, V)];
      const residual = reserve(dtype, ROWS, V);
      write(residual, ROWS - 2, r);
      const [y, pre] = native.linear(onCard.handle, wOnCard.handle, null, residual.handle, 'silu', false, kept, 'full');
      const [wantY, wantPre] = native.linear(lastOf(x, 2).handle, w.handle, null, r.handle, 'silu', false, kept, 'full');
      const pairs: [Tensor, Tensor][] = [[new Tensor(y), new Tensor(wantY)]];
      if (pre && wantPre) pairs.push([new Tensor(pre), new Tensor(wantPre)]);
      return pairs;
    });
}

/** Rows that lie so far apart that the last ones are beyond 2^31 elements. */
const [SIDE, PITCH] = [TAIL, 2 ** 26 + 8];

function strided(dtype: Float, precision: 'full' | 'tf32'): void {
  for (const transA of [false, true])
    for (const transB of [false, true])
      compare(
        `matmul of distant rows${transA ? ', aᵀ' : ''}${transB ? ', bᵀ' : ''}, ${precision === 'tf32' ? 'tf32' : dtype}`,
        SIDE,
        () => {
          const [[a], [b]] = [draw(dtype, SIDE, SIDE), draw(dtype, SIDE, SIDE)];
          const far = (type: Float, values: Tensor): Tensor => {
            const all = reserve(type, SIDE, PITCH);
            write(all, 0, values);
            return part(all, 0, SIDE, SIDE);
          };
          const [start] = draw('f32', SIDE, SIDE);
          const out = far('f32', start);
          const want = ops.add(ops.matmul(ops.cast(a, 'f32'), ops.cast(b, 'f32'), { transA, transB }), start);
          native.matmulInto(far(dtype, a).handle, far(dtype, b).handle, transA, transB, out.handle, true, precision);
          return [[out, want]];
        },
      );
}

function rows(): void {
  compare(`crossEntropy of (${ROWS}, ${V}), in place`, 1, () => {
    const logits = reserve('bf16', ROWS, V);
    const [x] = draw('bf16', 1, V);
    write(logits, ROWS - 1, x);
    const targets = tensor(new Int32Array(ROWS).fill(V - 3), { device: CARD });
    native.crossEntropy(logits.handle, targets.handle, tensor([0.5], { shape: [], device: CARD }).handle, logits.handle, 0, -100, 0, 0);
    const gradient = zeros([1, V], { device: 'cpu' });
    const target = tensor(Int32Array.of(V - 3), { device: 'cpu' });
    const half = tensor([0.5], { shape: [], device: 'cpu' });
    native.crossEntropy(x.handle, target.handle, half.handle, gradient.handle, 0, -100, 0, 0);
    return [[logits, gradient]];
  });
  const [count, C] = [2_900_000, 768];
  compare(`embedding of a table (${count}, ${C})`, 1, () => {
    const table = reserve('bf16', count, C);
    const [x] = draw('bf16', 1, C);
    write(table, count - 1, x);
    return [[ops.embedding(table, tensor(Int32Array.of(count - 1), { device: CARD })), x]];
  });
  compare(`embedding into (${count}, ${C})`, 1, () => {
    const [x, table] = draw('bf16', 5, C);
    const ids = tensor(new Int32Array(count).fill(4), { device: CARD });
    return [[ops.embedding(table, ids), lastOf(x, 1)]];
  });
  compare(`the gradient of a table (${count}, ${C})`, 1, () => {
    const table = reserve('f32', count, C);
    const [[dy, onCard], [start]] = [draw('bf16', 1, C), draw('f32', 1, C)];
    write(table, count - 1, start);
    native.embeddingBackward(onCard.handle, tensor(Int32Array.of(count - 1), { device: CARD }).handle, table.handle, true);
    return [[table, ops.add(ops.cast(dy, 'f32'), start)]];
  });
  for (const [name, f] of Object.entries({ softmax: ops.softmax, layerNorm: ops.layerNorm, gelu: ops.gelu }))
    compare(`${name} of (${count}, ${C})`, 1, () => {
      const x = reserve('bf16', count, C);
      const [last] = draw('bf16', 1, C);
      write(x, count - 1, last);
      return [[f(x), f(last)]];
    });
}

linears('bf16');
strided('bf16', 'full');
strided('f32', 'full');
if ((gpuInfo(CARD)?.capability ?? 0) >= 80) strided('f32', 'tf32');
linears('f32');
rows();
console.log(JSON.stringify(errors));
