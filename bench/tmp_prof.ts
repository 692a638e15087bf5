import { backward } from '../lib/autograd/index.ts';
import { native } from '../lib/native/addon.ts';
import { GPT } from '../lib/models/index.ts';
import { AdamW } from '../lib/optim/index.ts';
import { scope, setThreads, tensor } from '../lib/tensor/index.ts';
import { TRAIN_JOBS } from './configs.ts';
const [name = 'cpu', threads = '2', reps='20'] = process.argv.slice(2);
const job = TRAIN_JOBS[name]!;
setThreads(Number(threads));
const { batch: B, length: T, model: config } = job;
const model = new GPT(config, { seed: 1337 });
const optimizer = new AdamW(model, { lr: 1e-3, betas: [0.9, 0.99], weightDecay: 0.1 });
const ids = Int32Array.from({length:B*T},(_, i)=>i*7919%config.vocabSize);
async function step() {
  const s = performance.now();
  const loss = scope(() => {
    const l = model.loss(tensor(ids, { shape: [B, T] }), tensor(ids, { shape: [B, T] }));
    backward(l); optimizer.step(); optimizer.zeroGrad();
    return l.detach().keep();
  });
  const enq = performance.now()-s;
  await loss.item(); loss.dispose();
  return [performance.now()-s, enq];
}
await step(); await step();
const med=(a:number[])=>a.toSorted((x,y)=>x-y)[a.length>>1]!;
const peak = Math.max(...[0,1,2].map(()=>native.probe('fma', Number(threads), 0)));
let r=[]; for (let i=0;i<Number(reps);i++) r.push(await step());
const N = model.parameterCount(); const C=config.width,L=config.layers;
const flops = (6*N + 6*L*C*T)*B*T;
const ms=med(r.map(x=>x[0]!));
console.log(`${name} T=${threads} median ${ms.toFixed(2)} ms min ${Math.min(...r.map(x=>x[0]!)).toFixed(2)} enqueue ${med(r.map(x=>x[1]!)).toFixed(2)}; peak ${peak.toFixed(0)}; share ${(flops/ms/1e6/peak*100).toFixed(1)}% best ${(flops/Math.min(...r.map(x=>x[0]!))/1e6/peak*100).toFixed(1)}%`);
native.timeOps('cpu'); for (let i=0;i<Number(reps);i++) await step();
const ops=native.takeOpTimes('cpu'); let tot=0; for(const o of ops) tot+=o.ms;
for (const o of ops.toSorted((a,b)=>b.ms-a.ms).slice(0,18)) console.log(o.op.padEnd(22), String(o.count/Number(reps)).padStart(5), (o.ms/Number(reps)).toFixed(3).padStart(9), 'ms', (100*o.ms/tot).toFixed(1)+'%');
console.log('sum', (tot/Number(reps)).toFixed(2));
native.setHollow('cpu',true); r=[]; for (let i=0;i<200;i++) r.push(await step()); console.log('hollow', med(r.map(x=>x[0]!)).toFixed(3));
process.exit(0);
