// A program, the end of `npm run resources`: the hot loops of recorded.json that these architectures have, compiled anew and compared. Exact
// facts alone. Without a disassembler nobody can tell whether other machine code is worse: then it must be the recorded one. gate.ts ARCH ...
import { DISASSEMBLER_REMEDY, findDisassembler } from './disassembler.ts';
import { codeHash, compilerVersion, findKernel, nvcc } from './ours.ts';
import { type RecordedLoop, readRecorded, regressions } from './recorded.ts';

const sms = process.argv.slice(2).map((arch) => Number.parseInt(arch, 10));
const compiler = nvcc();
const { compiler: version, loops } = readRecorded();
const asked = loops.filter((l) => sms.includes(l.sm));
const skip = (why: string): void => console.log(`hot loops: not compared with bench/static/recorded.json: ${why}`);

const gone = ({ source }: RecordedLoop): string[] => [`is not in ${source} any more`];

/** What is worse than recorded. */
async function worse(compiler: string, nvdisasm: string, was: RecordedLoop): Promise<string[]> {
  const o = { compiler, nvdisasm, sm: was.sm, sources: [was.source], schedule: false };
  const found = await findKernel(o, was.kernel, was);
  return found ? regressions(was, found.loop) : gone(was);
}

async function other(compiler: string, was: RecordedLoop): Promise<string[]> {
  const hash = await codeHash(compiler, was.kernel, was.source, was.sm);
  if (hash === undefined) return gone(was);
  return hash === was.code ? [] : ['other machine code than recorded'];
}

async function compare(check: (was: RecordedLoop) => Promise<string[]>, good: string): Promise<void> {
  const problems: string[] = [];
  for (const was of asked) problems.push(...(await check(was)).map((p) => `sm_${was.sm} ${was.job}, ${was.kernel}: ${p}`));
  for (const problem of problems) console.error(problem);
  if (problems.length > 0)
    console.error('if that is meant, npm run bench -- --static --record (with an nvdisasm) records the present state');
  console.log(
    `hot loops: ${asked.length} compared with bench/static/recorded.json, ${problems.length === 0 ? good : `${problems.length} problems`}`,
  );
  process.exitCode = problems.length > 0 ? 1 : 0;
}

if (!compiler) skip('no CUDA compiler here');
else if (compilerVersion(compiler) !== version) skip(`it is of nvcc ${version}, here is ${compilerVersion(compiler)}`);
else if (asked.length === 0) skip(`it has nothing for ${process.argv.slice(2).join(', ')}`);
else {
  const nvdisasm = findDisassembler(compiler);
  if (nvdisasm) await compare((was) => worse(compiler, nvdisasm, was), 'none is worse');
  else {
    await compare((was) => other(compiler, was), 'the machine code is the recorded one');
    console.log(`not compared instruction by instruction: ${DISASSEMBLER_REMEDY}`);
  }
}
