// A program, the end of `npm run resources`: the hot loops of recorded.json that these architectures have, compiled anew and compared. Exact
// facts alone. gate.ts ARCH ...
import { DISASSEMBLER_REMEDY, findDisassembler } from './disassembler.ts';
import { compilerVersion, findKernel, nvcc } from './ours.ts';
import { readRecorded, regressions } from './recorded.ts';

const sms = process.argv.slice(2).map((arch) => Number.parseInt(arch, 10));
const compiler = nvcc();
const { compiler: version, loops } = readRecorded();
const asked = loops.filter((l) => sms.includes(l.sm));
const skip = (why: string): void => console.log(`hot loops: not compared with bench/static/recorded.json: ${why}`);

async function compare(nvcc: string, nvdisasm: string): Promise<void> {
  const problems: string[] = [];
  for (const was of asked) {
    const o = { compiler: nvcc, nvdisasm, sm: was.sm, sources: [was.source], schedule: false };
    const found = await findKernel(o, was.kernel, was);
    const name = `sm_${was.sm} ${was.job}, ${was.kernel}`;
    if (found) problems.push(...regressions(was, found.loop).map((p) => `${name}: ${p}`));
    else problems.push(`${name} is not in ${was.source} any more`);
  }
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) console.error('if that is meant, npm run bench -- --static --record records the present state');
  console.log(
    `hot loops: ${asked.length} compared with bench/static/recorded.json, ${problems.length === 0 ? 'none is worse' : `${problems.length} problems`}`,
  );
  process.exitCode = problems.length > 0 ? 1 : 0;
}

if (!compiler) skip('no CUDA compiler here');
else if (compilerVersion(compiler) !== version) skip(`it is of nvcc ${version}, here is ${compilerVersion(compiler)}`);
else if (asked.length === 0) skip(`it has nothing for ${process.argv.slice(2).join(', ')}`);
else {
  const nvdisasm = findDisassembler(compiler);
  if (nvdisasm) await compare(compiler, nvdisasm);
  else skip(DISASSEMBLER_REMEDY);
}
