// Ops that are captured: nothing runs before the replay, replays read what tensors hold then, their memory is nobody else's until they go.
import test, { type ExecutionContext } from 'ava';
import {
  backward,
  type CapturedGraph,
  capture,
  type Device,
  full,
  memory,
  memoryHolders,
  ops,
  RandomSource,
  releaseMemory,
  scope,
  setDefaultDevice,
  synchronize,
  type Tensor,
  tensor,
  zeros,
} from '../../../lib/index.ts';
import { native } from '../../../lib/native/addon.ts';
import { DEVICE, DEVICES, onDevice } from '../../run/devices.ts';

const CAPTURING = { code: 'ERR_HEDDLE_CAPTURING' };

/** A test on each device, where tensors are made by default. */
function onEach(title: string, body: (t: ExecutionContext, device: Device) => Promise<void> | void): void {
  for (const device of DEVICES)
    test.serial(`${title}${onDevice(device)}`, async (t) => {
      setDefaultDevice(device);
      t.teardown(() => setDefaultDevice(DEVICE));
      await body(t, device);
      await synchronize(device);
    });
}

onEach('nothing runs before the replay; a replay reads what tensors hold then', async (t, device) => {
  const x = tensor([1, 2, 3]).keep();
  const y = tensor([0, 0, 0]).keep();
  const { graph, result } = capture(() => {
    const z = ops.add(ops.mul(x, 2), 1);
    ops.copyInto(y, z);
    return { z };
  });
  t.deepEqual([...(await y.data())], [0, 0, 0]);
  graph.replay();
  t.deepEqual([...(await y.data())], [3, 5, 7]);
  t.deepEqual([...(await result.z.data())], [3, 5, 7]);
  x.set([10, 20, 30]);
  graph.replay();
  x.set([-1, -2, -3]);
  const last = y.data();
  graph.replay();
  t.deepEqual([...(await last)], [21, 41, 61]);
  t.deepEqual([...(await result.z.data())], [-1, -3, -5]);
  const { tasks, captured, problem } = graph.state();
  t.true(tasks >= 3);
  t.is(captured, device !== 'cpu');
  t.is(problem, '');
  graph.dispose();
  graph.dispose();
  t.throws(() => graph.replay(), { code: 'ERR_HEDDLE_DISPOSED', message: 'this captured graph was disposed' });
  t.deepEqual([...(await result.z.data())], [-1, -3, -5], 'a tensor outlives its graph');
  for (const v of [x, y, result.z]) v.dispose();
});

onEach('a gradient, dropout and a product: the bits of the same ops one by one', async (t, device) => {
  const shape = [33, 40];
  const x = ops.sin(ops.reshape(ops.cast(tensor(Int32Array.from({ length: 33 * 40 }, (_, i) => i)), 'f32'), ...shape)).keep();
  const w = ops.cos(ops.reshape(ops.cast(tensor(Int32Array.from({ length: 40 * 24 }, (_, i) => i)), 'f32'), 40, 24)).keep();
  w.requiresGrad = true;
  const random = new RandomSource(7, device);
  const step = (): Tensor => {
    const loss = ops.sum(ops.square(ops.softmax(ops.matmul(ops.dropout(x, 0.3, random), w))));
    backward(loss);
    return loss.detach();
  };
  const results = async (loss: Tensor): Promise<unknown> => [
    [...(await loss.data())],
    [...((await (w.grad as Tensor).data()) as Float32Array)],
  ];
  const expected: unknown[] = [];
  for (let i = 0; i < 3; i++) {
    random.begin(i);
    if (w.leaf) w.leaf.filled = false;
    const loss = scope(step);
    expected.push(await results(loss));
    loss.dispose();
  }
  t.notDeepEqual(expected[0], expected[1]);
  random.begin(0);
  if (w.leaf) w.leaf.filled = false;
  const { graph, result } = capture(step);
  for (let i = 0; i < 3; i++) {
    random.begin(i);
    graph.replay();
    t.deepEqual(await results(result), expected[i]);
  }
  graph.dispose();
  for (const v of [x, w, result]) v.dispose();
  random.dispose();
});

onEach('memory: what a graph uses is its own until it goes, and said so', async (t, device) => {
  const at = (graphs: number, other: number): void => {
    const { bytes, underway } = memoryHolders(device);
    t.is(bytes['captured graphs'], graphs);
    t.is(memory(device).graphs, graphs);
    t.is(memory(device).used, graphs + other);
    t.is(underway, 0);
  };
  const [one, three] = [full([], 1).keep(), full([], 3).keep()];
  await synchronize(device);
  releaseMemory(device);
  const before = memory(device).used;
  const x = full([1 << 16], 1).keep();
  const own = 1 << 18; // bytes of such a tensor
  at(0, before + own);
  const { graph, result } = capture(() => ops.mul(ops.add(x, one), three)); // the sum lives in the graph alone
  at(own, before + 2 * own);
  // Others come and go, as large as it: none of them gets what the graph writes to.
  const others = Array.from({ length: 4 }, (_, i) => full([1 << 16], 10 + i).keep());
  graph.replay();
  for (const [i, other] of others.entries()) t.true((await other.data()).every((v) => v === 10 + i));
  t.true((await result.data()).every((v) => v === 6));
  for (const other of others) other.dispose();
  result.dispose();
  at(2 * own, before + own);
  releaseMemory(device);
  graph.replay();
  await synchronize(device);
  graph.dispose();
  at(0, before + own);
  for (const v of [x, one, three]) v.dispose();
});

onEach('graphs that share memory keep what lives between them', async (t, device) => {
  const x = full([1 << 14], 2).keep();
  const sum = zeros([1 << 14]).keep();
  const first = capture(() => ops.square(ops.add(x, 1)));
  const used = memory(device).used;
  const second = capture(() => ops.copyInto(sum, ops.mul(ops.add(first.result, 1), 2)), { sharing: first.graph });
  t.true(memory(device).used <= used + (1 << 16), 'most of it is what the first one had');
  for (const value of [2, 5]) {
    x.set(new Float32Array(1 << 14).fill(value));
    first.graph.replay();
    second.graph.replay();
    t.true((await sum.data()).every((v) => v === ((value + 1) ** 2 + 1) * 2));
  }
  first.graph.dispose(); // the memory is the second one's, too
  t.true(memory(device).graphs > 0);
  second.graph.dispose();
  t.is(memory(device).graphs, 0);
  for (const v of [x, sum, first.result]) v.dispose();
});

onEach('what waits or copies from the host cannot be captured, and leaves nothing behind', async (t, device) => {
  const x = tensor([1, 2]).keep();
  await synchronize(device);
  const { used, tensors } = memory(device);
  const refused: Record<string, () => unknown> = {
    'from the host': () => tensor([3, 4]),
    set: () => x.set([3, 4]),
    'from a file': () => native.readFile(x.handle, 0, 0),
    read: () => x.dataSync(),
    'to come': () => void native.read(x.handle),
    synchronize: () => void native.synchronize(device),
    nested: () => capture(() => ops.neg(x)),
  };
  for (const [name, fn] of Object.entries(refused)) {
    const within = (): unknown => {
      ops.neg(ops.neg(x));
      return fn();
    };
    t.throws(() => capture(within), CAPTURING, name);
    t.deepEqual([memory(device).used, memory(device).tensors, memory(device).graphs], [used, tensors, 0], name);
  }
  const error = t.throws(() => capture(() => x.dataSync()));
  t.is(
    error.message,
    `readSync: not while ops are captured on ${device}: what it waits for, or copies from the host, has its place before or after`,
  );
  t.throws(() => capture(() => Promise.resolve()), { message: /fn must be synchronous/ });
  if (device !== 'cpu') {
    t.throws(() => capture(() => ops.toDevice(x, 'cpu')), CAPTURING);
    const y = full([2], 1, { device: 'cpu' }).keep();
    const { graph, result } = capture(() => ops.add(y, 1).dataSync()); // on another device than the captured one
    t.deepEqual([...result], [2, 2]);
    t.is(graph.state().tasks, 0);
    graph.replay();
    graph.dispose();
    y.dispose();
  }
  t.deepEqual([...(await x.data())], [1, 2]);
  x.dispose();
});

onEach('an error within a replay surfaces at the next wait and names the op; the graph is sound afterwards', async (t) => {
  const table = tensor([[1], [2], [3]]).keep();
  const ids = tensor(Int32Array.of(0, 1)).keep();
  const { graph, result } = capture(() => ops.embedding(table, ids));
  graph.replay();
  t.deepEqual([...(await result.data())], [1, 2]);
  ids.set(Int32Array.of(0, 7));
  graph.replay();
  await t.throwsAsync(result.data(), { message: 'embedding: ids[1] must be within [0, 3), got 7' });
  ids.set(Int32Array.of(2, 0));
  graph.replay();
  t.deepEqual([...(await result.data())], [3, 1]);
  graph.dispose();
  for (const v of [table, ids, result]) v.dispose();
});

onEach('what a device cannot capture runs task by task: the same numbers', async (t, device) => {
  const x = tensor([1, 2, 3]).keep();
  native.setGuarded(device, true); // canaries are read back, which a CUDA graph cannot
  let made: { graph: CapturedGraph; result: Tensor };
  try {
    made = capture(() => ops.exp(ops.log(ops.mul(x, 2))));
  } finally {
    native.setGuarded(device, false);
  }
  const { graph, result } = made;
  for (const values of [
    [1, 2, 3],
    [4, 5, 6],
  ]) {
    x.set(values);
    graph.replay();
    t.deepEqual(
      [...(await result.data())].map((v) => Math.round(v)),
      values.map((v) => 2 * v),
    );
  }
  const { captured, problem } = graph.state();
  t.false(captured);
  t.is(problem, device === 'cpu' ? '' : 'a copy between host and device cannot be captured');
  graph.dispose();
  for (const v of [x, result]) v.dispose();
  await synchronize(device);
});
