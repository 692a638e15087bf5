// What keeps the time from `import 'heddle'` to the first op short, as facts about what is loaded. The time itself: npm run bench -- start.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import * as heddle from '../../lib/index.ts';
import { packageRoot } from '../../lib/native/load.ts';

const entry = path.join(packageRoot(), 'dist/index.js');
const url = pathToFileURL(entry).href;

/** Runs a module script in a fresh process, with the built package's address as its argument. */
function fresh(script: string): unknown {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script, url], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

test('no module imports a package before it is needed', (t) => {
  const files = readdirSync('lib', { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'));
  t.true(files.length > 100);
  const found = files.flatMap((name) => {
    const statements = readFileSync(path.join('lib', name), 'utf8').matchAll(/^(?:import|export)\s[^;]*?from '([^']+)'/gm);
    return [...statements].flatMap(([text, from = '']) =>
      /^(?:import|export) type\b/.test(text) || /^(node:|\.)/.test(from) ? [] : [`${name}: ${from}`],
    );
  });
  t.deepEqual(found, []);
});

test('the built package is one file, with a few chunks that all of it needs, and loads nothing but the addon', (t) => {
  t.true(existsSync(entry), 'npm test builds it');
  const { packages, builtins, files } = fresh(`
    import { createRequire } from 'node:module';
    import { readFileSync } from 'node:fs';
    const { ones } = await import(process.argv[1]);
    const x = ones([4, 4], { device: 'cpu' });
    await x.matmul(x).data();
    const files = new Set();
    const follow = (url) => {
      if (files.has(url)) return;
      files.add(url);
      const text = readFileSync(new URL(url), 'utf8');
      for (const [, to] of text.matchAll(/^(?:import|\\} from|export \\* from)[^;]*?"(\\.[^"]+)";/gm)) follow(new URL(to, url).href);
    };
    follow(process.argv[1]);
    const packages = Object.keys(createRequire(import.meta.url).cache);
    const builtins = process.moduleLoadList.filter((m) => m.startsWith('NativeModule ')).map((m) => m.slice(13));
    console.log(JSON.stringify({ packages, builtins, files: [...files] }));
  `) as { packages: string[]; builtins: string[]; files: string[] };
  const known = /[/\\](node-gyp-build[/\\][\w-]+\.js|heddle[\w.-]*\.node|package\.json)$/;
  t.deepEqual(
    packages.filter((file) => !known.test(file)),
    [],
  );
  t.true(packages.some((file) => file.endsWith('.node')));
  t.true(files.length >= 1 && files.length <= 4, files.join());
  t.false(builtins.includes('child_process') || builtins.includes('http') || builtins.includes('https'), builtins.join());
});

test('what needs a package loads it: a configuration, a Hugging Face tokenizer', (t) => {
  const loaded = fresh(`
    import { createRequire } from 'node:module';
    const { parseRunConfig, formatRunConfig } = await import(process.argv[1]);
    const config = parseRunConfig('train: { steps: 7 }', 'x.yaml');
    const packages = Object.keys(createRequire(import.meta.url).cache);
    console.log(JSON.stringify({ steps: config.train.steps, yaml: formatRunConfig(config).includes('steps: 7'), packages }));
  `) as { steps: number; yaml: boolean; packages: string[] };
  t.is(loaded.steps, 7);
  t.true(loaded.yaml);
  for (const name of ['zod', 'yaml'])
    t.true(
      loaded.packages.some((file) => file.includes(`node_modules${path.sep}${name}${path.sep}`)),
      name,
    );
});

test('the built package exports what the sources export, under the same names', (t) => {
  const names = (namespace: object): string[] =>
    Object.entries(namespace).flatMap(([key, value]: [string, unknown]) => {
      if (typeof value === 'object' && value !== null && Object.prototype.toString.call(value) === '[object Module]')
        return names(value).map((inner) => `${key}.${inner}`);
      return [`${key} ${typeof value === 'function' ? value.name : typeof value}`]; // errors show the names of their classes
    });
  const built = fresh(`
    const names = (namespace) =>
      Object.entries(namespace).flatMap(([key, value]) => {
        if (typeof value === 'object' && value !== null && Object.values(Object.getOwnPropertyDescriptors(value)).every((d) => d.get) && Object.keys(value).length > 3)
          return names(value).map((inner) => key + '.' + inner);
        return [key + ' ' + (typeof value === 'function' ? value.name : typeof value)];
      });
    console.log(JSON.stringify(names(await import(process.argv[1])).sort()));
  `) as string[];
  t.deepEqual(built, names(heddle).sort());
});
