// Names of kernels for people: `matmul_mma_kernel<bf16,128,1,1,1>` of an Itanium-mangled symbol, its last name with its template arguments.

const TYPES: Record<string, string> = { f: 'float', d: 'double', i: 'int', j: 'uint', b: 'bool', h: 'u8', t: 'u16', l: 'i64', m: 'u64' };
const SHORT: Record<string, string> = { __nv_bfloat16: 'bf16', __half: 'f16' };

// `13__nv_bfloat16...` -> its name and what follows.
function sourceName(text: string): [name: string, rest: string] | undefined {
  const digits = /^\d+/.exec(text)?.[0];
  if (!digits) return undefined;
  const end = digits.length + Number(digits);
  return [text.slice(digits.length, end), text.slice(end)];
}

// The list after an I up to its E, and what follows; undefined where something in it is not understood.
function templateArguments(text: string): [args: string[], rest: string] | undefined {
  const args: string[] = [];
  let rest = text;
  while (rest !== '' && !rest.startsWith('E')) {
    const literal = /^L[a-z](n?)(\d+)E/.exec(rest) ?? /^L(?:\d+\w*?|S\w*?_)(n?)(\d+)E/.exec(rest);
    const named = sourceName(rest);
    if (literal) {
      args.push((literal[1] ? '-' : '') + literal[2]);
      rest = rest.slice(literal[0].length);
    } else if (/^LN/.test(rest)) {
      const [all, value] = /^LN.*?E(\d+)E/.exec(rest) ?? []; // an enumerator
      if (all === undefined || value === undefined) return undefined;
      args.push(value);
      rest = rest.slice(all.length);
    } else if (named) {
      args.push(SHORT[named[0]] ?? named[0]);
      rest = named[1];
    } else if (rest.startsWith('N')) {
      let last: string | undefined;
      let inner = rest.slice(1).replace(/^(?:S\d*_|St)/, '');
      for (let n = sourceName(inner); n; n = sourceName(inner)) [last, inner] = n;
      const own = inner.startsWith('I') ? templateArguments(inner.slice(1)) : undefined;
      if (own) [last, inner] = [`${last}<${own[0].join(',')}>`, own[1]];
      if (last === undefined || !inner.startsWith('E')) return undefined;
      args.push(last);
      rest = inner.slice(1);
    } else if (TYPES[rest[0] as string]) {
      args.push(TYPES[rest[0] as string] as string);
      rest = rest.slice(1);
    } else return undefined;
  }
  return rest.startsWith('E') ? [args, rest.slice(1)] : undefined;
}

export function demangle(symbol: string): string {
  if (!symbol.startsWith('_Z')) return symbol;
  let rest = symbol.slice(symbol.startsWith('_ZN') ? 3 : 2);
  let last = symbol;
  for (let n = sourceName(rest); n; n = sourceName(rest)) [last, rest] = n;
  const args = rest.startsWith('I') ? templateArguments(rest.slice(1)) : undefined;
  return args ? `${last}<${args[0].join(',')}>` : last;
}

/** What stands between the commas that are in no brackets. */
function listed(text: string): string[] {
  const parts = [''];
  let depth = 0;
  for (const c of text) {
    depth += Number(c === '<') - Number(c === '>');
    if (c === ',' && depth === 0) parts.push('');
    else parts.push(parts.pop() + c);
  }
  return parts;
}

/** The same of a name that a tool has demangled: `void heddle::cuda::norm_warp<__nv_bfloat16, true, 8, 3>(NormArgs)`. */
export function shortName(name: string): string {
  if (/^_Z/.test(name)) return demangle(name);
  const plain = name.replace(/\(anonymous namespace\)::/g, '').replace(/\([\w: ]+\)(?=-?\d)/g, '');
  const [, head = plain, args] = /^(?:[\w ]+ )?([\w:]+)(?:<(.*)>)?/.exec(plain) ?? [];
  const last = (text: string): string => text.trim().split('::').at(-1) as string;
  if (args === undefined) return last(head);
  const value = (text: string): string => ({ true: '1', false: '0' })[text] ?? SHORT[text] ?? text;
  return `${last(head)}<${listed(args)
    .map((a) => (a.includes('<') ? shortName(a.trim()) : value(last(a))))
    .join(',')}>`;
}
