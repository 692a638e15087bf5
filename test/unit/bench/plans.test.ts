// The static report asks the backend's own functions which tile a product takes: they are compiled on the way.
import { spawnSync } from 'node:child_process';
import test from 'ava';
import { plansOf, planTile } from '../../../bench/static/plans.ts';
import { GPT2_PRODUCTS, type Kind } from '../../../bench/static/products.ts';

// Where a prebuilt binary was taken there may be no compiler; what it would show does not depend on the machine.
const compiles = spawnSync(process.env.CXX ?? 'c++', ['--version']).status === 0;
const plans = new Map((compiles ? [80, 90] : []).map((sm) => [sm, plansOf(sm, GPT2_PRODUCTS)]));
const plan = (sm: number, kind: Kind, name: string): string => {
  const [, p] = [...(plans.get(sm) ?? [])].find(([product]) => product.kind === kind && product.name === name) ?? [];
  return p ? `${planTile(p)} ${p.chunks}x${p.chunkK}` : '';
};

(compiles ? test : test.skip)("GPT-2's products on an A100 and an H100", (t) => {
  t.is(plan(80, 'forward', 'qkv'), '128x128 1x768');
  t.is(plan(80, 'dW', 'proj'), '128x128 12x5504');
  t.is(plan(90, 'forward', 'qkv'), '128x256 1x768');
  t.is(plan(90, 'dX', 'head'), '128x256 1x50304');
  t.is(plan(90, 'dW', 'proj'), '128x256 12x5504');
  t.is(plansOf(90, []).size, 0);
});
