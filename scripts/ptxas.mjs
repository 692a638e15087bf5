// What ptxas -v says of the kernels of a .cu file, and what is wrong with them: for scripts/resources.mjs.

const REGISTERS = 65536; // of a multiprocessor, on every architecture that we compile for
// What ptxas says when it has given up on something that the source relies on: wgmma one at a time, registers not handed over.
const COMPLAINT = /Potential Performance Loss|setmaxnreg ignored|C75\d\d/;

// One entry per kernel of ptxas' report, with the block size that its PTX states.
export function examine(report, ptx) {
  const problems = report.split('\n').filter((text) => COMPLAINT.test(text));
  const kernels = [];
  const pattern =
    /Compiling entry function '(\w+)'[\s\S]*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads[\s\S]*?Used (\d+) registers/g;
  for (const [, name, stack, stores, loads, registers] of report.matchAll(pattern)) {
    const entry = new RegExp(`\\.entry ${name}\\([^{]*\\{`).exec(ptx)?.[0] ?? '';
    const threads = (/\.maxntid (\d+)(?:, (\d+), (\d+))?/.exec(entry)?.slice(1) ?? []).reduce((n, d) => n * Number(d ?? 1), 1);
    const bounded = /\.maxntid/.test(entry);
    const kernel = {
      name,
      registers: Number(registers),
      stack: Number(stack),
      spills: Number(stores) + Number(loads),
      threads: bounded ? threads : 0,
    };
    kernels.push(kernel);
    if (kernel.spills) problems.push(`${name} spills ${kernel.spills} bytes of registers`);
    if (kernel.stack) problems.push(`${name} has a stack frame of ${kernel.stack} bytes`);
    if (!bounded) problems.push(`${name} has no __launch_bounds__: nothing says how many registers a thread may have`);
    else if (Math.ceil(kernel.registers / 8) * 8 * threads > REGISTERS)
      problems.push(`${name} needs ${kernel.registers} registers for ${threads} threads, a multiprocessor has ${REGISTERS}`);
  }
  // A ptxas that words its report otherwise must not pass for one without complaints.
  const compiled = report.split('Compiling entry function').length - 1;
  const entries = ptx.split('.entry ').length - 1;
  if (kernels.length !== compiled || compiled !== entries)
    problems.push(`the report of ptxas is not understood: ${kernels.length} kernels read, ${compiled} reported, ${entries} in the PTX`);
  return { kernels, problems };
}

// The loops of an entry's PTX: [start, end) of the text from a label to the last branch back to it.
function loopsOf(body) {
  const labels = new Map([...body.matchAll(/^(\$\w+):/gm)].map((m) => [m[1], m.index]));
  const ends = new Map();
  for (const m of body.matchAll(/\bbra(?:\.uni)?\s+(\$\w+);/g)) if (labels.get(m[1]) < m.index) ends.set(m[1], m.index);
  return [...ends].map(([label, end]) => body.slice(labels.get(label), end));
}

// What makes a loop with matrix products slow and can be read in the PTX: one message per kernel and fault.
export function loopProblems(ptx, source) {
  const problems = [];
  for (const body of ptx.split('.entry ').slice(1)) {
    const [name] = /^\w+/.exec(body) ?? [''];
    const hot = loopsOf(body).filter((text) => /\b(?:mma\.sync|wgmma\.mma_async)/.test(text));
    const narrow = hot.flatMap((text) => text.match(/\bldmatrix\.sync\.aligned\.m8n8\.x[12]\b/g) ?? []);
    if (narrow.length) problems.push(`${name}: ldmatrix narrower than .x4 in a loop with products`);
    if (source.endsWith('_sm90.cu') && hot.some((text) => text.includes('mma.sync')))
      problems.push(`${name}: mma.sync in a loop of a kernel for Hopper alone, which has wgmma`);
  }
  return problems;
}
