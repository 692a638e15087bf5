// What finetuning GPT-2 124M takes of memory: counted, so the whole model is used without computing anything.
import test from 'ava';
import { benchFinetune } from '../../../bench/finetuning.ts';

test('LoRA and QLoRA stay within their shares of the memory of finetuning all of GPT-2, with block recompute too', (t) => {
  const rows = benchFinetune({ threads: 1, rounds: 0 });
  t.deepEqual(
    rows.map(({ method, recompute, target }) => [method, recompute, target]),
    [
      ...[['full', 'none', 1] as const, ['LoRA', 'none', 0.48] as const, ['QLoRA', 'none', 0.37] as const],
      ...[['full', 'block', 1] as const, ['LoRA', 'block', 0.38] as const, ['QLoRA', 'block', 0.25] as const],
    ],
  );
  for (const { method, recompute, share, target, peakBytes, parameters, learned } of rows) {
    t.true(share <= target, `${method}, ${recompute}: ${share} of full`);
    t.true(peakBytes > 4e8, 'the model was there');
    t.is(parameters - (method === 'full' ? 0 : learned), 124_475_904, 'frozen matrices are counted, and the rows that pad the vocabulary');
  }
});
