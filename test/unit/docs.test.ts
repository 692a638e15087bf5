// The documentation names what exists: its links lead somewhere, and paths in code spans are files of this repository.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';

const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...readdirSync('docs').flatMap((n) => (n.endsWith('.md') ? [`docs/${n}`] : [])),
];
const FOLDERS = ['lib', 'native', 'cuda', 'sim', 'cmake', 'test', 'scripts', 'configs', 'examples', 'bench'];

/** Targets of links within the repository, relative to the page; code in a block has none. */
function links(text: string): string[] {
  return [...text.replace(/^```[\s\S]*?^```/gm, '').matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].flatMap(([, to = '']) =>
    /^\w+:/.test(to) ? [] : [to],
  );
}

/** Code spans that look like a path of a file: `lib/nn/module.ts`, without placeholders or wildcards. */
function paths(text: string): string[] {
  const spans = [...text.matchAll(/`([\w./-]+\.\w+)`/g)].map(([, span = '']) => span);
  return spans.filter((span) => FOLDERS.includes(span.split('/')[0] ?? '') && span.includes('/'));
}

test('links and paths are found, and what is none is left alone', (t) => {
  t.deepEqual(links('[a](docs/a.md#part) [b](https://b.example/x) [c](#here)\n```cpp\n[&](int x) {}\n```\n'), ['docs/a.md']);
  t.deepEqual(paths('`lib/a/b.ts` `lib/<x>/b.ts` `configs/` `model.safetensors` `native/cpu/*.cc`'), ['lib/a/b.ts']);
});

for (const page of PAGES)
  test(page, (t) => {
    const text = readFileSync(page, 'utf8');
    const wanted = [...links(text).map((to) => path.posix.join(path.posix.dirname(page), to)), ...paths(text)];
    t.deepEqual(
      wanted.filter((file) => !existsSync(file)),
      [],
    );
  });
